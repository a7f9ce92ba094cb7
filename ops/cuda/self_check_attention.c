#include "ops/cuda/self_check_rig.h"

#include <math.h>

enum { SAMPLED = 7 }; /* one of so many queries is computed on the host too: all of them take a few ms */

static const float SCALE = 0.5f; /* of the scores: some keys then have most of the weight */

typedef struct attention_case {
    const char *what;
    int d, q_tokens, kv_tokens;
    bool wide; /* a kernel for all devices */
} attention_case;

/* Each kernel has two blocks of queries, and the second is not full.  It has more tiles of keys than a
 * ring holds, and the last tile is not full. */
static const attention_case cases[] = {
    { "attention of 40 channels", 40, 200, 425, false },
    { "attention of 64 channels", 64, 200, 340, false },
    { "attention of 80 channels", 80, 140, 425, false },
    { "attention of 160 channels", 160, 140, 340, false },
    { "attention of 512 channels", 512, 40, 80, true },
};

/* Computes the output of one query, a head of d channels, by plain loops.  Tokens are ld values apart. */
static void attend(const float *q, const float *k, const float *v, int ld, const attention_case *c,
                   float *scores, float *y)
{
    float most = -INFINITY, sum = 0.0f;

    for (int t = 0; t < c->kv_tokens; t++) {
        scores[t] = 0.0f;
        for (int i = 0; i < c->d; i++)
            scores[t] += q[i] * k[t * ld + i];
        most = fmaxf(most, scores[t]);
    }
    for (int i = 0; i < c->d; i++)
        y[i] = 0.0f;
    for (int t = 0; t < c->kv_tokens; t++) {
        const float p = expf((scores[t] - most) * SCALE);

        sum += p;
        for (int i = 0; i < c->d; i++)
            y[i] += p * v[t * ld + i];
    }
    for (int i = 0; i < c->d; i++)
        y[i] /= sum;
}

/* Values are at most 1.  Rounding p to half a unit changes their mean by half a unit, and rounding the
 * mean by another half.  exp is off by 2 units of float32.  The tolerance is twice that. */
static float tolerance(const self_check_rig *rig)
{
    return rig->storage == DR_F16 ? 0x1p-10f : 0x1p-7f;
}

static dr_status compare_attention(self_check_rig *rig, const attention_case *c, const made *q, const made *k,
                                   const made *v, const made *y, dr_error *err)
{
    const int heads = c->wide ? 1 : 2, ld = heads * c->d;
    float *scores = self_check_host_room(rig, (size_t)c->kv_tokens),
          *wanted = self_check_host_room(rig, (size_t)c->d);

    for (int token = 0; token < c->q_tokens; token += SAMPLED)
        for (int head = 0; head < heads; head++) {
            const int at = token * ld + head * c->d;

            attend(q->host + at, k->host + head * c->d, v->host + head * c->d, ld, c, scores, wanted);
            for (int i = 0; i < c->d; i++)
                if (!(fabsf(y->host[at + i] - wanted[i]) <= tolerance(rig)))
                    return self_check_wrong(rig, c->what, (size_t)(at + i), y->host[at + i], wanted[i], err);
        }
    return DR_OK;
}

static dr_status check_case(self_check_rig *rig, const attention_case *c, dr_error *err)
{
    const int heads = c->wide ? 1 : 2, ld = heads * c->d;
    const size_t q_values = (size_t)(c->q_tokens * ld), kv_values = (size_t)(c->kv_tokens * ld);
    made q, k, v, y;
    dr_status rc = self_check_made_up(rig, &q, q_values, rig->storage, 1, err);

    if (!rc)
        rc = self_check_made_up(rig, &k, kv_values, rig->storage, 1234567, err);
    if (!rc)
        rc = self_check_made_up(rig, &v, kv_values, rig->storage, 7654321, err);
    if (rc)
        return rc;
    y.device = self_check_device_room(rig, q_values * sizeof(uint16_t));
    dr_cuda_attention(rig->d->stream[DR_LANE_DENOISE], &(dr_cuda_attention_args){ .dtype = rig->storage,
                                                                                  .q = q.device,
                                                                                  .k = k.device,
                                                                                  .v = v.device,
                                                                                  .y = y.device,
                                                                                  .q_ld = ld,
                                                                                  .k_ld = ld,
                                                                                  .v_ld = ld,
                                                                                  .y_ld = ld,
                                                                                  .n = 1,
                                                                                  .heads = heads,
                                                                                  .d = c->d,
                                                                                  .q_tokens = c->q_tokens,
                                                                                  .kv_tokens = c->kv_tokens,
                                                                                  .scale = SCALE,
                                                                                  .wgmma = rig->wgmma });
    rc = self_check_fetch(rig, &y, q_values, c->what, err);
    return rc ? rc : compare_attention(rig, c, &q, &k, &v, &y, err);
}

dr_status self_check_attention(self_check_rig *rig, dr_error *err)
{
    dr_status rc = DR_OK;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]) && !rc; i++) {
        rig->device_used = rig->host_used = 0;
        if (!rig->wgmma || !cases[i].wide)
            rc = check_case(rig, &cases[i], err);
    }
    return rc;
}

#include "model/prompts.h"

#include <string.h>

static size_t ids_bytes(int prompts)
{
    return (size_t)prompts * DR_TOKENS * sizeof(int32_t);
}

int dr_prompts_entries(const dr_model *model, int samples)
{
    return (dr_device_has_lanes(model->device) ? 3 : 2) * samples;
}

size_t dr_prompts_bytes(const dr_model *model, int entries)
{
    return dr_unet_context_bytes(model->unet, entries) + ids_bytes(DR_PROMPTS_PER_PASS);
}

dr_status dr_prompts_init(dr_prompts *s, const dr_model *model, int entries, dr_error *err)
{
    void *ids = NULL;
    dr_status rc;

    dr_assert(entries >= 1 && entries <= DR_PROMPTS_MAX);
    memset(s, 0, sizeof(*s));
    s->model = model;
    s->context.rows = entries;
    rc = dr_device_alloc(&s->context.data, model->device, dr_unet_context_bytes(model->unet, entries), err);
    if (!rc)
        rc = dr_device_alloc(&ids, model->device, ids_bytes(DR_PROMPTS_PER_PASS), err);
    s->device_ids = ids;
    return rc;
}

void dr_prompts_free(dr_prompts *s)
{
    if (!s->model)
        return;
    dr_device_free(s->model->device, s->device_ids);
    dr_device_free(s->model->device, s->context.data);
}

/* Which of two free entries is to be overwritten: one that is not encoded, or the one that was read
 * longest ago. */
static bool is_better(const dr_prompts *s, int entry, int than)
{
    if (s->entry[entry].encoded != s->entry[than].encoded)
        return s->entry[than].encoded;
    return s->entry[entry].read < s->entry[than].read;
}

/* The entry with these ids, in use or not.  If there is none, the free entry that is to be overwritten. */
static int find_entry(const dr_prompts *s, const int32_t ids[DR_TOKENS])
{
    int best = -1;

    for (int i = 0; i < s->context.rows; i++) {
        const bool known = s->entry[i].users > 0 || s->entry[i].encoded;

        if (known && !memcmp(s->entry[i].ids, ids, sizeof(s->entry[i].ids)))
            return i;
        if (s->entry[i].users == 0 && (best < 0 || is_better(s, i, best)))
            best = i;
    }
    return best;
}

int dr_prompts_users(const dr_prompts *s)
{
    int users = 0;

    for (int i = 0; i < s->context.rows; i++)
        users += s->entry[i].users;
    return users;
}

/* Assert what holds between any two calls of this file. */
static void check(const dr_prompts *s)
{
    int pending = 0;

    for (int i = 0; i < s->context.rows; i++) {
        dr_assert(s->entry[i].users >= 0);
        pending += s->entry[i].users > 0 && !s->entry[i].encoded;
    }
    dr_assert(s->pending == pending);
}

int dr_prompts_acquire(dr_prompts *s, const int32_t ids[DR_TOKENS])
{
    const int i = find_entry(s, ids);

    dr_assert(i >= 0);
    if (memcmp(s->entry[i].ids, ids, sizeof(s->entry[i].ids)) != 0) {
        memcpy(s->entry[i].ids, ids, sizeof(s->entry[i].ids));
        s->entry[i].encoded = false;
    }
    if (s->entry[i].users++ == 0 && !s->entry[i].encoded)
        s->pending++;
    check(s);
    return i;
}

void dr_prompts_release(dr_prompts *s, int entry)
{
    dr_assert(entry >= 0 && entry < s->context.rows && s->entry[entry].users > 0);
    if (--s->entry[entry].users == 0 && !s->entry[entry].encoded)
        s->pending--;
    check(s);
}

/* --- the pass ------------------------------------------------------------------------ */

typedef struct encode_args {
    const dr_prompts *prompts;
    int entry[DR_PROMPTS_PER_PASS];
} encode_args;

static void encode_body(dr_pass *p, void *arg, dr_pass_size size)
{
    const encode_args *a = arg;
    const dr_model *m = a->prompts->model;
    dr_tensor embeds = dr_text_encoder_forward(p, m->text_encoder, a->prompts->device_ids, size.rows);

    for (int i = 0; i < size.rows; i++)
        dr_unet_context_forward(p, m->unet, dr_tensor_rows(embeds, i, 1), &a->prompts->context, a->entry[i]);
    dr_release(p, &embeds);
}

dr_status dr_prompts_plan(dr_prompts *s, dr_passes *passes, dr_error *err)
{
    const int most = s->context.rows < DR_PROMPTS_PER_PASS ? s->context.rows : DR_PROMPTS_PER_PASS;
    encode_args a = { .prompts = s };

    return dr_passes_plan(passes, DR_PASS_TEXT, (dr_pass_size){ .rows = most }, encode_body, &a, err);
}

/* Encode up to DR_PROMPTS_PER_PASS of the pending entries. */
static dr_status encode_some(dr_prompts *s, dr_passes *passes, uint64_t calls_done, dr_error *err)
{
    const dr_lane lane = dr_passes_lane(passes, DR_PASS_TEXT);
    int32_t ids[DR_PROMPTS_PER_PASS][DR_TOKENS];
    encode_args a = { .prompts = s };
    bool is_read = false;
    int n = 0;
    dr_status rc = DR_OK;

    for (int i = 0; i < s->context.rows && n < DR_PROMPTS_PER_PASS; i++)
        if (s->entry[i].users > 0 && !s->entry[i].encoded) {
            memcpy(ids[n], s->entry[i].ids, sizeof(ids[n]));
            is_read |= s->entry[i].read > calls_done;
            a.entry[n++] = i;
        }
    dr_assert(n > 0);
    if (is_read)
        rc = dr_lane_wait(s->model->device, lane, dr_passes_lane(passes, DR_PASS_UNET), err);
    if (!rc)
        rc = dr_lane_upload(s->model->device, lane, s->device_ids, ids, ids_bytes(n), err);
    if (rc)
        return rc;
    rc = dr_passes_play(passes, DR_PASS_TEXT, (dr_pass_size){ .rows = n }, encode_body, &a, err);
    if (rc)
        return rc;
    for (int i = 0; i < n; i++)
        s->entry[a.entry[i]].encoded = true;
    s->pending -= n;
    check(s);
    return DR_OK;
}

dr_status dr_prompts_encode(dr_prompts *s, dr_passes *passes, uint64_t calls_done, dr_error *err)
{
    dr_status rc = DR_OK;

    while (!rc && s->pending > 0)
        rc = encode_some(s, passes, calls_done, err);
    return rc;
}

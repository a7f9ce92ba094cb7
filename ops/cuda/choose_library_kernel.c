#include "ops/cuda/choose_library_kernel.h"

#include "ops/cuda/check.h"
#include "ops/cuda/hash.h"
#include "ops/cuda/memory.h"

#include <math.h>
#include <stdlib.h>

/* The data on which candidates are tried, and the memory in which the data lies. */
typedef struct trial_rig {
    cuda_device *d;
    const cuda_trial *trial;
    size_t units; /* as many as memory was found for */
    size_t alone; /* how many of the last units are also tried alone */
    void *memory; /* holds everything below */
    char *weight, *bias, *x, *added, *y;
    size_t weight_bytes, bias_bytes, x_bytes, added_bytes, y_bytes;
    cudaEvent_t begin, end;
    char *piece; /* host, PIECE_BYTES */
} trial_rig;

enum {
    X_PERIOD = 61, /* lines after which the values repeat: primes, so that the values meet tiles everywhere */
    ADDED_PERIOD = 59,
    WEIGHT_PERIOD = 67,
    PIECE_BYTES = 1 << 20,
    PIECES = 8, /* how many pieces of a result are compared: each has thousands of sums, so some are enough */
};

/* --- values ---------------------------------------------------------------------------- */

static uint32_t next_random(uint64_t *state) /* Knuth's MMIX, upper half */
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 32);
}

/* A value of either sign, of magnitude 1 to 256, or down to 2^-wider.  There are as many values between 1
 * and 2 as between 128 and 256. */
static float random_value(uint64_t *state, unsigned wider)
{
    const uint32_t bits = next_random(state);
    const int exponent = (int)((bits & 0xff) % (8 + wider)) - (int)wider;
    const float value = ldexpf(1.0f + (float)(bits >> 8 & 0xffff) * 0x1p-16f, exponent);

    return bits >> 31 ? -value : value;
}

/* Draws the pairs of values of a line that belong together: order[2 i] and order[2 i + 1]. */
static void shuffle(int *order, int count, uint64_t *state)
{
    for (int i = 0; i < count; i++)
        order[i] = i;
    for (int i = count - 1; i > 0; i--) {
        const int j = (int)(next_random(state) % (uint32_t)(i + 1)), kept = order[i];
        order[i] = order[j];
        order[j] = kept;
    }
}

/* Fills a line of `count` values.  Two values that belong together are equal, or opposite if `opposed`.
 * If one value is left over, it is 0. */
static void fill_pairs(float *line, const int *order, int count, int32_t dtype, bool opposed, uint64_t *state)
{
    const unsigned wider = dtype == DR_E4M3 ? 6 : 0; /* the smallest value with all bits is 2^-6 */

    for (int i = 0; i + 1 < count; i += 2) {
        const float value = random_value(state, wider);
        line[order[i]] = value;
        line[order[i + 1]] = opposed ? -value : value;
    }
    if (count % 2)
        line[order[count - 1]] = 0.0f;
}

/* Repeats the first `there` bytes until `bytes` bytes are filled. */
static dr_status repeat(cuda_device *d, char *memory, size_t there, size_t bytes, dr_error *err)
{
    dr_status rc = DR_OK;

    for (size_t n; there < bytes && !rc; there += n) {
        n = there < bytes - there ? there : bytes - there;
        rc = cuda_check(d,
                        cudaMemcpyAsync(memory + there, memory, n, cudaMemcpyDeviceToDevice,
                                        d->stream[DR_LANE_DENOISE]),
                        "copying on the device", err);
    }
    return rc;
}

/* Fills a token: query, key and value.  The period is twice X_PERIOD.  Token i belongs together with the
 * token half a period later.  The two have the same key and opposite values.  Something small is added to
 * the values. */
static void fill_token(float *line, int values, int i, uint64_t *state)
{
    const int part = values / 3;
    const bool opposed = i >= X_PERIOD;
    uint64_t shared = (uint64_t)(i % X_PERIOD) + 1;

    for (int k = 0; k < part; k++)
        line[k] = 0x1p-30f * (float)next_random(state) - 2.0f; /* -2 to 2 */
    for (int k = part; k < 2 * part; k++)
        line[k] = 0x1p-30f * (float)next_random(&shared) - 2.0f;
    for (int k = 2 * part; k < 3 * part; k++) {
        const float value = random_value(&shared, 0);
        line[k] = (opposed ? -value : value) + 0x1p-6f * random_value(state, 0);
    }
}

typedef enum filling { SMALL, ALIKE, OPPOSED, TOKENS } filling;

typedef struct lines {
    char *to;
    size_t bytes; /* of the matrix */
    int32_t dtype;
    int period, ld, values; /* each line has `values` of its ld */
    filling with;
} lines;

static void fill_line(const lines *l, float *line, int i, const int *order, uint64_t *state)
{
    if (l->with == TOKENS)
        fill_token(line, l->values, i, state);
    else if (l->with != SMALL)
        fill_pairs(line, order, l->values, l->dtype, l->with == OPPOSED, state);
    for (int k = 0; l->with == SMALL && k < l->values; k++)
        line[k] = 0x1p-6f * random_value(state, 0);
}

/* Fills a matrix. order: which values are pairs. */
static dr_status fill(cuda_device *d, const lines *l, const int *order, dr_error *err)
{
    const size_t line_bytes = (size_t)l->ld * dr_dtype_bytes((dr_dtype)l->dtype);
    const size_t all = l->bytes / line_bytes, count = all < (size_t)l->period ? all : (size_t)l->period;
    uint64_t state = (uint64_t)l->period;
    float *host = calloc(count * (size_t)l->ld, sizeof(*host));
    dr_status rc;

    if (!host)
        return dr_fail(err, DR_ENOMEM, "no memory for made-up values");
    for (size_t i = 0; i < count; i++)
        fill_line(l, host + i * (size_t)l->ld, (int)i, order, &state);
    rc = cuda_put(d, l->to, host, count * (size_t)l->ld, (dr_dtype)l->dtype, err);
    free(host);
    return rc ? rc : repeat(d, l->to, count * line_bytes, l->bytes, err);
}

static dr_status fill_all(trial_rig *rig, dr_error *err)
{
    const cuda_trial *t = rig->trial;
    const lines x = { rig->x,
                      rig->x_bytes,
                      t->storage,
                      t->attends ? 2 * X_PERIOD : X_PERIOD,
                      t->x_ld,
                      t->in,
                      t->attends ? TOKENS : OPPOSED };
    const lines weight = { rig->weight, rig->weight_bytes, t->storage, WEIGHT_PERIOD, t->in, t->in, ALIKE };
    const lines added = {
        rig->added, rig->added_bytes, t->y_dtype, ADDED_PERIOD, t->added_ld, t->out, SMALL
    };
    const lines bias = { rig->bias, rig->bias_bytes, t->y_dtype, 1, t->out, t->out, SMALL };
    int *order = calloc((size_t)t->in, sizeof(*order));
    uint64_t state = (uint64_t)t->in;
    dr_status rc;

    if (!order)
        return dr_fail(err, DR_ENOMEM, "no memory for made-up values");
    shuffle(order, t->in, &state);
    rc = fill(rig->d, &x, order, err);
    if (!rc && t->weight_lines)
        rc = fill(rig->d, &weight, order, err);
    if (!rc && t->added_ld)
        rc = fill(rig->d, &added, order, err);
    if (!rc && t->has_bias)
        rc = fill(rig->d, &bias, order, err);
    free(order);
    return rc;
}

/* --- memory ------------------------------------------------------------------------------ */

static char *place(size_t *used, const void *memory, size_t bytes)
{
    char *at = (char *)((uintptr_t)memory + *used);

    *used += (bytes + 255) / 256 * 256;
    return at;
}

/* Says where everything lies for rig->units.  Returns how many bytes that takes. */
static size_t lay_out(trial_rig *rig)
{
    const cuda_trial *t = rig->trial;
    const size_t size = dr_dtype_bytes((dr_dtype)t->storage), y_size = dr_dtype_bytes((dr_dtype)t->y_dtype);
    const size_t x_lines = rig->units * t->x_lines, y_lines = rig->units * t->y_lines;
    size_t used = 0;

    rig->weight_bytes = t->weight_lines * (size_t)t->in * size;
    rig->bias_bytes = t->has_bias ? (size_t)t->out * y_size : 0;
    rig->x_bytes = x_lines * (size_t)t->x_ld * size;
    rig->added_bytes = y_lines * (size_t)t->added_ld * y_size;
    rig->y_bytes = y_lines * (size_t)t->y_ld * y_size;
    rig->weight = place(&used, rig->memory, rig->weight_bytes);
    rig->bias = place(&used, rig->memory, rig->bias_bytes);
    rig->x = place(&used, rig->memory, rig->x_bytes);
    rig->added = place(&used, rig->memory, rig->added_bytes);
    rig->y = place(&used, rig->memory, rig->y_bytes);
    return used;
}

/* Takes memory for as many units as are wanted.  If there is not enough, tries half as many, then a
 * quarter, and so on. */
static dr_status find_room(trial_rig *rig, dr_error *err)
{
    const cuda_trial *t = rig->trial;
    dr_status rc = DR_ENOMEM;

    for (rig->units = t->units; rig->units >= t->units_min; rig->units /= 2) {
        const size_t bytes = lay_out(rig);
        if (bytes > DR_CUDA_TRIAL_BYTES_MAX && rig->units / 2 >= t->units_min)
            continue;
        rc = cuda_alloc(&rig->memory, &rig->d->base, bytes, err);
        if (rc != DR_ENOMEM)
            break;
    }
    if (rc)
        return rc;
    lay_out(rig);
    rig->alone = t->alone <= rig->units / 2 ? t->alone : rig->units / 2;
    return DR_OK;
}

static void rig_close(trial_rig *rig)
{
    if (rig->begin)
        cuda_check(rig->d, cudaEventDestroy(rig->begin), "ending an event", NULL);
    if (rig->end)
        cuda_check(rig->d, cudaEventDestroy(rig->end), "ending an event", NULL);
    cuda_free(&rig->d->base, rig->memory);
    free(rig->piece);
}

static dr_status rig_open(trial_rig *rig, cuda_device *d, const cuda_trial *trial, dr_error *err)
{
    dr_status rc;

    *rig = (trial_rig){ .d = d, .trial = trial };
    rig->piece = malloc(PIECE_BYTES);
    if (!rig->piece)
        return dr_fail(err, DR_ENOMEM, "no memory to compare results in");
    rc = find_room(rig, err);
    if (!rc)
        rc = fill_all(rig, err);
    if (!rc)
        rc = cuda_check(d, cudaEventCreateWithFlags(&rig->begin, cudaEventDefault), "creating an event", err);
    if (!rc)
        rc = cuda_check(d, cudaEventCreateWithFlags(&rig->end, cudaEventDefault), "creating an event", err);
    if (rc)
        rig_close(rig);
    return rc;
}

/* --- candidates -------------------------------------------------------------------------- */

/* Starts a candidate on the units from `first` to the end. */
static dr_status start(const trial_rig *rig, int candidate, size_t first, dr_error *err)
{
    const cuda_trial *t = rig->trial;
    const char *added = rig->added + rig->added_bytes / rig->units * first;

    return t->start(t->self, candidate,
                    &(cuda_trial_data){ .weight = rig->weight,
                                        .x = rig->x + rig->x_bytes / rig->units * first,
                                        .bias = t->has_bias ? rig->bias : NULL,
                                        .added = t->added_ld ? added : NULL,
                                        .y = rig->y + rig->y_bytes / rig->units * first,
                                        .units = rig->units - first },
                    err);
}

/* Hashes a result on the device: all of it, or pieces that are spread from its begin to its end. */
static dr_status hash_pieces(const trial_rig *rig, const char *from, size_t bytes, uint64_t *hash,
                             dr_error *err)
{
    const bool all = bytes <= (size_t)PIECES * PIECE_BYTES;
    const size_t pieces = all ? (bytes + PIECE_BYTES - 1) / PIECE_BYTES : PIECES;
    dr_status rc = DR_OK;

    *hash = bytes;
    for (size_t i = 0; i < pieces && !rc; i++) {
        const size_t begin = all ? i * PIECE_BYTES : (bytes - PIECE_BYTES) * i / (PIECES - 1);
        const size_t length = bytes - begin < PIECE_BYTES ? bytes - begin : PIECE_BYTES;
        rc = cuda_download(&rig->d->base, rig->piece, from + begin, length, err);
        *hash = cuda_hash(*hash, rig->piece, length);
    }
    return rc;
}

/* *hash: of the result of all units.  *same: whether the last units, computed alone, have the same bits. */
static dr_status try_candidate(const trial_rig *rig, int candidate, uint64_t *hash, bool *same, dr_error *err)
{
    const size_t last = rig->units - rig->alone, tail_bytes = rig->y_bytes / rig->units * rig->alone;
    const char *tail = rig->y + rig->y_bytes - tail_bytes;
    uint64_t in_company = 0, alone = 0;
    dr_status rc = cuda_zero(&rig->d->base, rig->y, rig->y_bytes, err);

    if (!rc)
        rc = start(rig, candidate, 0, err);
    if (!rc)
        rc = hash_pieces(rig, rig->y, rig->y_bytes, hash, err);
    if (!rc)
        rc = hash_pieces(rig, tail, tail_bytes, &in_company, err);
    if (!rc)
        rc = cuda_zero(&rig->d->base, rig->y, rig->y_bytes, err);
    if (!rc)
        rc = start(rig, candidate, last, err);
    if (!rc)
        rc = hash_pieces(rig, tail, tail_bytes, &alone, err);
    *same = in_company == alone;
    return rc;
}

/* The time of a run: the shortest of a few, because disturbances only make a run longer. */
static dr_status measure(const trial_rig *rig, int candidate, float *shortest_ms, dr_error *err)
{
    cuda_device *d = rig->d;
    dr_status rc = DR_OK;

    *shortest_ms = INFINITY;
    for (int i = 0; i < DR_CUDA_MEASURED_RUNS && !rc; i++) {
        float ms = 0.0f;
        rc =
            cuda_check(d, cudaEventRecord(rig->begin, d->stream[DR_LANE_DENOISE]), "recording an event", err);
        if (!rc)
            rc = start(rig, candidate, 0, err);
        if (!rc)
            rc = cuda_check(d, cudaEventRecord(rig->end, d->stream[DR_LANE_DENOISE]), "recording an event",
                            err);
        if (!rc)
            rc = cuda_check(d, cudaEventSynchronize(rig->end), "waiting for a kernel", err);
        if (!rc)
            rc = cuda_check(d, cudaEventElapsedTime(&ms, rig->begin, rig->end), "measuring a kernel", err);
        if (!rc && ms < *shortest_ms)
            *shortest_ms = ms;
    }
    return rc;
}

/* A candidate that refuses is passed over.  If memory or the device failed, nothing is chosen, because
 * otherwise another candidate would become the reference. */
static dr_status choose_among(const trial_rig *rig, int *chosen, dr_error *err)
{
    const bool any_bits = rig->trial->speed_only;
    uint64_t reference = 0, hash = 0;
    float shortest_ms = INFINITY, ms = 0.0f;
    bool same = false;
    dr_error refusal;

    for (int i = 0; i < rig->trial->candidates; i++) {
        dr_status rc = any_bits ? DR_OK : try_candidate(rig, i, &hash, &same, &refusal);
        if (!rc && !any_bits && (!same || (*chosen >= 0 && hash != reference)))
            continue;
        if (!rc)
            rc = measure(rig, i, &ms, &refusal);
        if (rc == DR_ENOMEM || (rc && cuda_check_alive(rig->d, NULL)))
            return dr_fail(err, rc, "%s", refusal.text);
        if (rc)
            continue;
        if (*chosen < 0)
            reference = hash;
        if (*chosen < 0 || ms < shortest_ms) {
            *chosen = i;
            shortest_ms = ms;
        }
    }
    return DR_OK;
}

dr_status cuda_choose(cuda_device *d, const cuda_trial *trial, int *chosen, dr_error *err)
{
    dr_error why;
    trial_rig rig;
    dr_status rc = rig_open(&rig, d, trial, &why);

    *chosen = -1;
    if (rc)
        return dr_fail(err, rc, "%s", why.text); /* only now: fewer units may have been enough */
    rc = choose_among(&rig, chosen, err);
    rig_close(&rig);
    return rc ? rc : cuda_check_alive(d, err);
}

/* Compares the CUDA attention, run on the host, with the CPU backend's: each of its kernels, at its edges. */
#include "tests/kernels/cuda_operator.h"

typedef struct shape {
    int n, kv_rows; /* kv_rows 0: k and v are q's rows; else kv_row picks from so many */
    int heads, d, q_tokens, kv_tokens;
    bool causal;
    bool views; /* q, k and v are thirds of one tensor, y is a view too */
} shape;

static const shape shapes[] = {
    /* attention.cu: head sizes of each kernel, exact and between; tokens around the tiles */
    { 1, 0, 1, 8, 1, 1, false, false },
    { 2, 0, 2, 40, 130, 77, false, false },
    { 1, 0, 2, 40, 77, 77, true, true },
    { 2, 0, 1, 24, 20, 127, false, false },
    { 3, 2, 2, 64, 33, 77, false, false },
    { 1, 0, 1, 64, 130, 130, true, true },
    { 1, 0, 2, 48, 65, 64, false, false },
    { 2, 0, 1, 80, 129, 65, false, true },
    { 1, 0, 1, 72, 31, 31, true, false },
    { 1, 0, 2, 128, 65, 66, false, true },
    { 1, 0, 1, 104, 129, 129, true, false },
    { 2, 3, 1, 160, 64, 77, false, false },
    { 1, 0, 2, 136, 63, 63, true, true },
    /* attention_wgmma.cu: one to seven tiles of 80 keys, or of 64, one to three warpgroups, and blocks of
     * them */
    { 1, 0, 1, 40, 64, 80, false, false },
    { 1, 0, 1, 40, 65, 160, false, false },
    { 1, 0, 1, 32, 150, 161, false, false },
    { 2, 0, 1, 40, 193, 320, false, false },
    { 1, 0, 2, 40, 20, 401, false, true },
    { 1, 0, 1, 40, 500, 500, true, true },
    { 1, 0, 1, 64, 200, 257, false, false },
    { 1, 0, 1, 56, 330, 330, true, false },
    { 1, 0, 1, 80, 140, 330, false, false },
    { 1, 0, 1, 128, 150, 250, false, false },
    { 1, 0, 1, 160, 140, 260, false, false },
    /* attention_wide.cu */
    { 2, 0, 1, 168, 33, 45, false, false },
    { 1, 0, 2, 256, 32, 32, true, true },
    { 2, 1, 1, 512, 40, 70, false, false },
    { 1, 0, 1, 504, 65, 65, true, false },
    /* attention_any.cu, whatever the dtype */
    { 1, 0, 1, 1, 1, 1, false, false },
    { 2, 0, 3, 3, 35, 77, false, true },
    { 3, 2, 2, 9, 5, 33, false, false },
    { 1, 0, 2, 70, 40, 40, true, true },
    { 1, 0, 1, 509, 3, 34, false, false },
};

static const int32_t kv_rows[] = { 1, 0, 1 }; /* modulo the shape's kv_rows */

/* The error that is allowed beyond the rounding of the result.  The weights are rounded to 16 bits before
 * they are multiplied with the values.  The values are below 1, so their weighted mean is off by at most one
 * rounding.  In float, scores of up to 40 carry an error of some 40 x 2^-24, which is the relative error of a
 * weight. */
static double tolerance_of(dr_dtype dtype)
{
    return (dtype == DR_F32 ? 0.0 : rounding_of(dtype)) + 5e-6;
}

typedef struct problem {
    const shape *s;
    dr_dtype dtype;
    dr_tensor q_all, kv_all; /* float32, as the dtype left them; kv_all is q_all where rows are shared */
    dr_tensor q, k, v, y;    /* views of them, and the CPU's result */
    void *q_memory, *kv_memory, *y_memory;
    int32_t kv_row[COUNT(kv_rows)];
    float scale;
    bool wgmma;
} problem;

static size_t y_ld(const problem *p)
{
    return (size_t)p->y.c + (p->s->views ? 8 : 0);
}

/* Scores with a spread of some +-6: weights of all sizes. */
static void spread(dr_tensor *t, int c)
{
    float *values = t->data;

    for (size_t i = 0; i < tensor_values(t); i++)
        if ((int)(i % (size_t)t->c) < c)
            values[i] *= 2.0f;
}

static problem new_problem(const shape *s, dr_dtype dtype)
{
    const int c = s->heads * s->d, kv_n = s->kv_rows ? s->kv_rows : s->n;
    const bool fused = s->views && !s->kv_rows && s->q_tokens == s->kv_tokens;
    problem p = { .s = s, .dtype = dtype, .scale = 1.0f / sqrtf((float)s->d) };

    p.q_all = random_tensor(s->n, 1, s->q_tokens, fused ? 3 * c : c, 1);
    spread(&p.q_all, fused ? 2 * c : c);
    p.kv_all = fused ? p.q_all : random_tensor(kv_n, 1, s->kv_tokens, 2 * c, 2);
    if (!fused)
        spread(&p.kv_all, c);
    p.q_memory = store_tensor(dtype, &p.q_all);
    p.kv_memory = fused ? p.q_memory : store_tensor(dtype, &p.kv_all);
    p.q = dr_tensor_channels(p.q_all, 0, c);
    p.k = dr_tensor_channels(p.kv_all, fused ? c : 0, c);
    p.v = dr_tensor_channels(p.kv_all, fused ? 2 * c : c, c);
    p.y = new_tensor(s->n, 1, s->q_tokens, c);
    p.y_memory = new_stored(dtype, dr_tensor_pixels(&p.y) * y_ld(&p));
    for (int i = 0; i < s->n && s->kv_rows; i++)
        p.kv_row[i] = kv_rows[i] % s->kv_rows;
    return p;
}

static void free_problem(problem *p)
{
    if (p->kv_all.data != p->q_all.data) {
        free(p->kv_all.data);
        free(p->kv_memory);
    }
    free(p->q_all.data);
    free(p->q_memory);
    free(p->y.data);
    free(p->y_memory);
}

/* The address of the stored values that `view` covers in `all`. */
static const void *stored_view(const problem *p, void *memory, const dr_tensor *all, const dr_tensor *view)
{
    return stored_at(p->dtype, memory, (size_t)((const float *)view->data - (const float *)all->data));
}

/* Runs rows [first, first + n) of q, and the same rows of k and v if these have q's rows. */
static void attention(const problem *p, void *y, int first, int n)
{
    const size_t q = (size_t)first * (size_t)p->q.w * (size_t)p->q.ld;
    const size_t kv = p->s->kv_rows ? 0 : (size_t)first * (size_t)p->k.w * (size_t)p->k.ld;
    const size_t bytes = dr_dtype_bytes(p->dtype);

    dr_cuda_attention(NULL,
                      &(dr_cuda_attention_args){
                          .dtype = p->dtype,
                          .q = (const char *)stored_view(p, p->q_memory, &p->q_all, &p->q) + q * bytes,
                          .k = (const char *)stored_view(p, p->kv_memory, &p->kv_all, &p->k) + kv * bytes,
                          .v = (const char *)stored_view(p, p->kv_memory, &p->kv_all, &p->v) + kv * bytes,
                          .y = y,
                          .q_ld = p->q.ld,
                          .k_ld = p->k.ld,
                          .v_ld = p->v.ld,
                          .y_ld = (int)y_ld(p),
                          .kv_row = p->s->kv_rows ? p->kv_row + first : NULL,
                          .n = n,
                          .heads = p->s->heads,
                          .d = p->s->d,
                          .q_tokens = p->s->q_tokens,
                          .kv_tokens = p->s->kv_tokens,
                          .scale = p->scale,
                          .causal = p->s->causal,
                          .wgmma = p->wgmma,
                      });
    assert_shim_is_content();
}

static void check(const problem *p)
{
    const float *want = p->y.data;
    const size_t c = (size_t)p->y.c, gap = y_ld(p) - c;
    double error = 0.0;

    for (size_t t = 0; t < dr_tensor_pixels(&p->y); t++) {
        const char *got = stored_at(p->dtype, p->y_memory, t * y_ld(p));
        const dr_tensor token = {
            .data = (void *)(want + t * c), .dtype = DR_F32, .n = 1, .h = 1, .w = 1, .c = p->y.c, .ld = p->y.c
        };

        error = worse(error, worst_error(p->dtype, got, &token));
        for (size_t i = 0; i < gap * dr_dtype_bytes(p->dtype); i++) /* not y's */
            assert_int_equal((unsigned char)got[c * dr_dtype_bytes(p->dtype) + i], 0xff);
    }
    if (!(error <= tolerance_of(p->dtype)))
        fail_msg("%d rows, %d heads of %d, %d queries, %d keys, %s%s%s%s: off by %g, allowed %g", p->s->n,
                 p->s->heads, p->s->d, p->s->q_tokens, p->s->kv_tokens, dtype_name(p->dtype),
                 p->s->causal ? ", causal" : "", p->s->views ? ", views" : "", p->wgmma ? ", wgmma" : "",
                 error, tolerance_of(p->dtype));
}

static void check_rows(const problem *p)
{
    const size_t row = (size_t)p->q.w * y_ld(p);

    for (int n = 0; n < p->s->n; n++) {
        void *alone = new_stored(p->dtype, row);

        attention(p, alone, n, 1);
        assert_memory_equal(alone, stored_at(p->dtype, p->y_memory, (size_t)n * row),
                            row * dr_dtype_bytes(p->dtype));
        free(alone);
    }
}

static void run_and_check(const problem *p, size_t seed)
{
    shim_seed(seed);
    memset(p->y_memory, 0xff, dr_tensor_pixels(&p->y) * y_ld(p) * dr_dtype_bytes(p->dtype));
    attention(p, p->y_memory, 0, p->s->n);
    check(p);
    if (p->s->n > 1)
        check_rows(p);
}

static void agrees_with_cpu(void **state)
{
    for (size_t i = 0; i < COUNT(shapes); i++)
        for (size_t d = 0; d < COUNT(float_dtypes); d++) {
            problem p = new_problem(&shapes[i], float_dtypes[d]);

            OPERATE(*state, dr_attention,
                    &(dr_attention_args){ .q = p.q,
                                          .k = p.k,
                                          .v = p.v,
                                          .kv_row = p.s->kv_rows ? p.kv_row : NULL,
                                          .y = p.y,
                                          .heads = p.s->heads,
                                          .scale = p.scale,
                                          .causal = p.s->causal });
            run_and_check(&p, i);
            p.wgmma = true;
            if (p.dtype != DR_F32 && p.s->d <= 160 && p.s->d % 8 == 0)
                run_and_check(&p, i);
            free_problem(&p);
        }
}

/* Scores of tens of thousands: no exponent may overflow, and one key has all the weight.  Its maximum
 * times the scale is rounded, so its weight is near 1, not 1; the weight is rounded, and so is the result. */
static void large_scores_pick_one_key(void **state)
{
    enum { TOKENS = 70 };
    static const int sizes[] = { 40, 64, 80, 128, 160, 200, 37 };
    uint32_t seed = 1;

    (void)state;
    for (size_t i = 0; i < 2 * COUNT(sizes); i++)
        for (size_t d = 1; d < COUNT(float_dtypes); d++) {
            const shape s = { 1, 0, 1, sizes[i / 2], TOKENS, TOKENS, false, false };
            problem p = new_problem(&s, float_dtypes[d]);
            const void *v;

            for (int t = 0; t < TOKENS; t++) /* query t is key t, and of its signs no other key has all */
                for (int c = 0; c < s.d; c++) {
                    const float sign = random_value(&seed) < 0.0f ? -1.0f : 1.0f;

                    ((float *)p.q_all.data)[t * s.d + c] = 64.0f * sign;
                    ((float *)p.kv_all.data)[t * 2 * s.d + c] = 64.0f * sign;
                }
            free(p.q_memory);
            free(p.kv_memory);
            p.q_memory = store_tensor(p.dtype, &p.q_all);
            p.kv_memory = store_tensor(p.dtype, &p.kv_all);
            p.wgmma = i % 2;
            shim_seed(i);
            attention(&p, p.y_memory, 0, 1);
            v = stored_view(&p, p.kv_memory, &p.kv_all, &p.v);
            for (int t = 0; t < TOKENS * s.d; t++) {
                const float want = stored_value(p.dtype, v, (size_t)(t / s.d * 2 * s.d + t % s.d));
                const float got = stored_value(p.dtype, p.y_memory, (size_t)t);

                assert_true(fabsf(got - want) <= 2.01 * rounding_of(p.dtype) * fabsf(want));
            }
            free_problem(&p);
        }
}

int main(void)
{
    RUN_WITH_CPU("cuda attention", cmocka_unit_test_prestate(agrees_with_cpu, device),
                 cmocka_unit_test_prestate(large_scores_pick_one_key, device));
}

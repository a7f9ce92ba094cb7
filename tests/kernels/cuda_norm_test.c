/* Compares the CUDA group norm and layer norm, run on the host, with the CPU backend's.  Tests also that a
 * row's bits depend on nothing but the row. */
#include "tests/kernels/cuda_operator.h"

/* Beyond the rounding of the result.  Results lie within about +-4, where a float's grid is 2.4e-7: up to
 * four such steps from each side's statistics, and two each from the product, the sum and SiLU. */
#define TOLERANCE 3e-6

typedef struct shape {
    int n, h, w, c, groups;
    float mean, spread; /* values are mean + spread * [-1, 1) */
    bool silu;
} shape;

static const shape group_shapes[] = {
    { 1, 1, 1, 1, 1, 0, 1, false }, /* a group of one value: beta */
    { 2, 1, 1, 32, 4, 0, 1, true },
    { 2, 1, 7, 16, 16, 0, 1, false }, /* one channel a group: vectors over several */
    { 2, 3, 5, 21, 3, 0, 1, false },  /* no vectors */
    { 1, 7, 9, 33, 3, 0, 1, false },
    { 1, 4, 4, 300, 30, 0, 1, true }, /* in 16 bits no vectors, and more channels than threads */
    { 2, 8, 8, 40, 4, 0, 1, true },   /* vectors over two groups */
    { 3, 16, 16, 320, 32, 0, 1, true },
    { 1, 40, 41, 64, 32, 3, 1, false },
    { 1, 40, 41, 64, 32, 500, 1, false }, /* bf16 leaves two or three values of it */
    { 2, 24, 24, 21, 3, -1e4f, 1, true },
    { 1, 24, 24, 40, 4, 1e-4f, 1e-4f, false }, /* eps counts */
    /* maps that no slab holds: runs of pixels, the last one shorter */
    { 2, 36, 37, 320, 32, 0, 1, true },
    { 2, 91, 61, 21, 3, 7, 1, false },
    { 1, 85, 63, 33, 3, 0, 1, true },
    { 1, 60, 52, 300, 30, 0, 1, true },    /* more channels than threads */
    { 1, 25, 24, 2560, 32, 0, 1, true },   /* more vectors than threads */
    { 1, 160, 161, 48, 12, -1, 1, false }, /* more pixels than SPLITS_MAX times the least run */
};

static const shape layer_shapes[] = {
    { 1, 1, 1, 1, 0, 0, 1, false },        { 3, 1, 1, 2, 0, 0, 1, false },
    { 2, 1, 7, 17, 0, 0, 1, false },       { 2, 1, 7, 8, 0, 0, 1, false },
    { 2, 1, 7, 320, 0, 0, 1, false },      { 2, 1, 77, 768, 0, 0, 1, false },
    { 1, 1, 9, 1280, 0, 3, 1, false },     { 1, 1, 10, 320, 0, 500, 1, false },
    { 1, 1, 10, 321, 0, -1e4f, 1, false }, { 1, 1, 5, 4096, 0, -1, 1, false },
    { 1, 1, 5, 1032, 0, 0, 1, false },     { 1, 1, 6, 2048, 0, 0, 1, false },
};

typedef struct problem {
    dr_dtype dtype, y_dtype;     /* the same, if nobody changes it */
    dr_tensor x, y, gamma, beta; /* float32; x as the dtype left it */
    dr_norm norm;
    void *stored_x, *stored_y;
    void *workspace;
} problem;

static problem new_problem(const shape *s, dr_dtype dtype)
{
    problem p = {
        .dtype = dtype,
        .y_dtype = dtype,
        .x = random_tensor(s->n, s->h, s->w, s->c, 1),
        .y = new_tensor(s->n, s->h, s->w, s->c),
        .gamma = random_tensor(1, 1, 1, s->c, 2),
        .beta = random_tensor(1, 1, 1, s->c, 3),
    };
    float *x = p.x.data;

    for (size_t i = 0; i < tensor_values(&p.x); i++)
        x[i] = s->mean + s->spread * x[i];
    p.stored_x = store_tensor(dtype, &p.x);
    p.stored_y = new_stored(dtype, tensor_values(&p.x));
    p.norm = (dr_norm){ p.gamma.data, p.beta.data, s->c, s->groups, 1e-5f };
    return p;
}

static void free_problem(problem *p)
{
    free(p->x.data);
    free(p->y.data);
    free(p->gamma.data);
    free(p->beta.data);
    free(p->stored_x);
    free(p->stored_y);
}

/* A group norm with known moments of x: [n, groups, part_count], or NULL. */
static void group_norm_of(const problem *p, const void *x, void *y, int n, bool silu,
                          const dr_cuda_moments *parts, int part_count)
{
    dr_cuda_group_norm_args a = {
        .dtype = p->dtype,
        .y_dtype = p->y_dtype,
        .x = x,
        .y = y,
        .gamma = p->norm.gamma,
        .beta = p->norm.beta,
        .eps = p->norm.eps,
        .n = n,
        .pixels = p->x.h * p->x.w,
        .c = p->x.c,
        .groups = p->norm.groups,
        .silu = silu,
        .parts = parts,
        .part_count = part_count,
    };
    const size_t bytes = dr_cuda_group_norm_workspace(&a);

    a.workspace = bytes ? new_stored(DR_F32, bytes / sizeof(float)) : NULL;
    dr_cuda_group_norm(NULL, &a);
    free(a.workspace);
    assert_shim_is_content();
}

static void group_norm(const problem *p, const void *x, void *y, int n, bool silu)
{
    group_norm_of(p, x, y, n, silu, NULL, 0);
}

static void layer_norm_as(const problem *p, dr_dtype y_dtype, const void *x, void *y, size_t pixels)
{
    dr_cuda_layer_norm(NULL, &(dr_cuda_layer_norm_args){ .dtype = p->dtype,
                                                         .y_dtype = y_dtype,
                                                         .x = x,
                                                         .y = y,
                                                         .gamma = p->norm.gamma,
                                                         .beta = p->norm.beta,
                                                         .eps = p->norm.eps,
                                                         .pixels = pixels,
                                                         .c = p->x.c });
    assert_shim_is_content();
}

static void layer_norm(const problem *p, const void *x, void *y, size_t pixels)
{
    layer_norm_as(p, p->dtype, x, y, pixels);
}

static void check(const problem *p, const shape *s, const char *what)
{
    const double error = worst_error(p->dtype, p->stored_y, &p->y);

    if (!(error <= TOLERANCE))
        fail_msg("%s of [%d, %d, %d, %d], %s, mean %g: off by %g, allowed %g", what, s->n, s->h, s->w, s->c,
                 dtype_name(p->dtype), (double)s->mean, error, TOLERANCE);
}

/* Each row alone, in place, against the same row in the batch. */
static void check_rows(problem *p, const shape *s)
{
    const size_t row = tensor_values(&p->x) / (size_t)s->n, bytes = row * dr_dtype_bytes(p->dtype);

    for (int n = 0; n < s->n; n++) {
        void *alone = new_stored(p->dtype, row);

        memcpy(alone, stored_at(p->dtype, p->stored_x, (size_t)n * row), bytes);
        if (p->norm.groups)
            group_norm(p, alone, alone, 1, s->silu);
        else
            layer_norm(p, alone, alone, row / (size_t)s->c);
        assert_memory_equal(alone, stored_at(p->dtype, p->stored_y, (size_t)n * row), bytes);
        free(alone);
    }
}

static void group_norm_agrees_with_cpu(void **state)
{
    for (size_t i = 0; i < COUNT(group_shapes); i++)
        for (size_t d = 0; d < COUNT(float_dtypes); d++) {
            const shape *s = &group_shapes[i];
            problem p = new_problem(s, float_dtypes[d]);

            shim_seed(i);
            group_norm(&p, p.stored_x, p.stored_y, s->n, s->silu);
            OPERATE(*state, dr_group_norm,
                    &(dr_group_norm_args){ .x = p.x, .y = p.y, .norm = &p.norm, .silu = s->silu });
            check(&p, s, "group norm");
            check_rows(&p, s);
            free_problem(&p);
        }
}

/* --- a norm of what is known ---------------------------------------------------------------- */

/* The moments of pixels [begin, end) of a row's group, as the kernel that wrote the pixels would compute
 * them. */
static dr_cuda_moments moments_of(const problem *p, int row, int group, int begin, int end)
{
    const int width = p->x.c / p->norm.groups, values = (end - begin) * width;
    const float *x = (const float *)p->x.data +
                     ((size_t)row * (size_t)(p->x.h * p->x.w) + (size_t)begin) * (size_t)p->x.c +
                     (size_t)(group * width);
    double mean = 0, spread = 0;

    for (int i = 0; i < values; i++)
        mean += ((double)x[i / width * p->x.c + i % width] - (double)x[0]) / values;
    for (int i = 0; i < values; i++) {
        const double away = (double)x[i / width * p->x.c + i % width] - (double)x[0] - mean;

        spread += away * away;
    }
    if (values == 0)
        return (dr_cuda_moments){ 0 };
    return (dr_cuda_moments){ (float)values, x[0], (float)mean, (float)spread };
}

/* Runs of pixels; where there are more parts than pixels some are empty. */
static dr_cuda_moments *new_parts(const problem *p, int count)
{
    const int pixels = p->x.h * p->x.w;
    dr_cuda_moments *parts = new_stored(DR_F32, (size_t)(p->x.n * p->norm.groups * count) * 4);

    for (int i = 0; i < p->x.n * p->norm.groups * count; i++) {
        const int group = i / count, k = i % count;

        parts[i] = moments_of(p, group / p->norm.groups, group % p->norm.groups,
                              (k * pixels + count - 1) / count, ((k + 1) * pixels + count - 1) / count);
    }
    return parts;
}

static void known_moments_replace_reading(void **state)
{
    static const int counts[] = { 1, 2, 33, 64, 65, 700 }; /* 65 parts or more are joined first */

    for (size_t i = 0; i < COUNT(group_shapes); i++)
        for (size_t k = 0; k < COUNT(counts); k++) {
            const shape *s = &group_shapes[i];
            problem p = new_problem(s, float_dtypes[(i + k) % COUNT(float_dtypes)]);
            const size_t row = tensor_values(&p.x) / (size_t)s->n, bytes = row * dr_dtype_bytes(p.dtype);
            dr_cuda_moments *parts = new_parts(&p, counts[k]);

            shim_seed(i);
            group_norm_of(&p, p.stored_x, p.stored_y, s->n, s->silu, parts, counts[k]);
            OPERATE(*state, dr_group_norm,
                    &(dr_group_norm_args){ .x = p.x, .y = p.y, .norm = &p.norm, .silu = s->silu });
            check(&p, s, "group norm of what is known");
            for (int n = 0; n < s->n; n++) { /* alone, in place */
                void *alone = new_stored(p.dtype, row);

                memcpy(alone, stored_at(p.dtype, p.stored_x, (size_t)n * row), bytes);
                group_norm_of(&p, alone, alone, 1, s->silu, parts + n * s->groups * counts[k], counts[k]);
                assert_memory_equal(alone, stored_at(p.dtype, p.stored_y, (size_t)n * row), bytes);
                free(alone);
            }
            free(parts);
            free_problem(&p);
        }
}

/* The result is rounded once, from the float32 value, in each way to compute the norm.  Each row has the same
 * bits alone. */
static void check_eight_bits(dr_device *device, const shape *s, dr_dtype dtype, int part_count)
{
    problem p = new_problem(s, dtype);
    const size_t row = tensor_values(&p.x) / (size_t)s->n;
    uint8_t *y = new_stored(DR_E4M3, tensor_values(&p.x)), *alone = new_stored(DR_E4M3, row);
    dr_cuda_moments *parts = part_count ? new_parts(&p, part_count) : NULL;

    p.y_dtype = DR_E4M3;
    group_norm_of(&p, p.stored_x, y, s->n, s->silu, parts, part_count);
    OPERATE(device, dr_group_norm,
            &(dr_group_norm_args){ .x = p.x, .y = p.y, .norm = &p.norm, .silu = s->silu });
    assert_e4m3(y, &p.y, TOLERANCE, "group norm");
    for (int n = 0; n < s->n; n++) {
        void *x = new_stored(dtype, row);

        memcpy(x, stored_at(dtype, p.stored_x, (size_t)n * row), row * dr_dtype_bytes(dtype));
        group_norm_of(&p, x, alone, 1, s->silu, parts ? parts + n * s->groups * part_count : NULL,
                      part_count);
        assert_memory_equal(alone, y + (size_t)n * row, row);
        free(x);
    }
    free(parts);
    free(y);
    free(alone);
    free_problem(&p);
}

static void a_group_norm_may_leave_eight_bits(void **state)
{
    static const int part_counts[] = { 0, 33, 700 };

    for (size_t i = 0; i < COUNT(group_shapes); i++)
        for (size_t d = 0; d < COUNT(float_dtypes); d++) {
            shim_seed(i);
            check_eight_bits(*state, &group_shapes[i], float_dtypes[d],
                             part_counts[(i + d) % COUNT(part_counts)]);
        }
}

/* The norm takes the moments from the parts, and does not compute them from the values. */
static void known_moments_are_believed(void **state)
{
    const shape s = { 1, 4, 4, 16, 2, 0, 1, false };
    problem p = new_problem(&s, DR_F32);
    const dr_cuda_moments parts[2] = { { 4, 3, 1, 16 }, { 1, 0, 0, 0 } }; /* mean 4, deviation 2; 0 and 0 */
    const float *x = p.x.data, *y = p.stored_y;

    (void)state;
    p.norm.eps = 1e-5f;
    shim_seed(0);
    group_norm_of(&p, p.stored_x, p.stored_y, 1, false, parts, 1);
    for (int i = 0; i < 16 * 16; i++) {
        const int c = i % 16;
        const double mean = c < 8 ? 4 : 0, variance = c < 8 ? 4 : 0;
        const double want = (x[i] - mean) / sqrt(variance + 1e-5) * (double)((float *)p.gamma.data)[c] +
                            (double)((float *)p.beta.data)[c];

        assert_true(fabs(y[i] - want) <= 1e-6 * (1 + fabs(want))); /* a few roundings of 2^-24 of each term */
    }
    free_problem(&p);
}

static void layer_norm_agrees_with_cpu(void **state)
{
    for (size_t i = 0; i < COUNT(layer_shapes); i++)
        for (size_t d = 0; d < COUNT(float_dtypes); d++) {
            const shape *s = &layer_shapes[i];
            problem p = new_problem(s, float_dtypes[d]);

            shim_seed(i);
            layer_norm(&p, p.stored_x, p.stored_y, dr_tensor_pixels(&p.x));
            OPERATE(*state, dr_layer_norm, &(dr_layer_norm_args){ .x = p.x, .y = p.y, .norm = &p.norm });
            check(&p, s, "layer norm");
            check_rows(&p, s);
            free_problem(&p);
        }
}

/* The result is rounded once, from the float32 value.  Each row has the same bits alone. */
static void a_layer_norm_may_leave_eight_bits(void **state)
{
    for (size_t i = 0; i < COUNT(layer_shapes); i++)
        for (size_t d = 0; d < COUNT(float_dtypes); d++) {
            const shape *s = &layer_shapes[i];
            problem p = new_problem(s, float_dtypes[d]);
            const size_t row = tensor_values(&p.x) / (size_t)s->n;
            uint8_t *y = new_stored(DR_E4M3, tensor_values(&p.x)), *alone = new_stored(DR_E4M3, row);

            shim_seed(i);
            layer_norm_as(&p, DR_E4M3, p.stored_x, y, dr_tensor_pixels(&p.x));
            OPERATE(*state, dr_layer_norm, &(dr_layer_norm_args){ .x = p.x, .y = p.y, .norm = &p.norm });
            assert_e4m3(y, &p.y, TOLERANCE, "layer norm");
            for (int n = 0; n < s->n; n++) {
                void *x = new_stored(p.dtype, row);

                memcpy(x, stored_at(p.dtype, p.stored_x, (size_t)n * row), row * dr_dtype_bytes(p.dtype));
                layer_norm_as(&p, DR_E4M3, x, alone, row / (size_t)s->c);
                assert_memory_equal(alone, y + (size_t)n * row, row);
                free(x);
            }
            free(y);
            free(alone);
            free_problem(&p);
        }
}

/* A variance of 0 leaves beta, exactly: no rounding of the mean may come through 1 / sqrt(eps). */
static void constant_input_gives_beta(void **state)
{
    static const shape shapes[] = { { 2, 9, 11, 42, 6, 1234.567f, 0, false },
                                    { 1, 40, 36, 320, 32, 1234.567f, 0, false } };

    (void)state;
    for (size_t i = 0; i < COUNT(shapes); i++) {
        problem p = new_problem(&shapes[i], DR_F32);
        const float *y = p.stored_y;

        shim_seed(i);
        group_norm(&p, p.stored_x, p.stored_y, shapes[i].n, false);
        for (size_t j = 0; j < tensor_values(&p.x); j++)
            assert_true(y[j] == p.norm.beta[j % (size_t)p.x.c]);
        layer_norm(&p, p.stored_x, p.stored_y, dr_tensor_pixels(&p.x));
        for (size_t j = 0; j < tensor_values(&p.x); j++)
            assert_true(y[j] == p.norm.beta[j % (size_t)p.x.c]);
        free_problem(&p);
    }
}

/* A NaN reaches its own group and no other. */
static void nan_stays_in_its_group(void **state)
{
    static const shape shapes[] = { { 2, 10, 10, 12, 3, 0, 1, true }, { 2, 60, 60, 24, 3, 0, 1, true } };

    (void)state;
    for (size_t i = 0; i < COUNT(shapes); i++) {
        problem p = new_problem(&shapes[i], DR_F32);
        const float *y = p.stored_y;
        const size_t c = (size_t)p.x.c, row = tensor_values(&p.x) / 2, width = c / 3;

        ((float *)p.stored_x)[row + 25 * c + width + 1] = NAN; /* row 1, group 1 */
        shim_seed(i);
        group_norm(&p, p.stored_x, p.stored_y, 2, true);
        for (size_t j = 0; j < 2 * row; j++)
            assert_int_equal(isnan(y[j]) != 0, j >= row && j % c / width == 1);
        free_problem(&p);
    }
}

int main(void)
{
    RUN_WITH_CPU("cuda norm", cmocka_unit_test_prestate(group_norm_agrees_with_cpu, device),
                 cmocka_unit_test_prestate(a_group_norm_may_leave_eight_bits, device),
                 cmocka_unit_test_prestate(known_moments_replace_reading, device),
                 cmocka_unit_test_prestate(known_moments_are_believed, device),
                 cmocka_unit_test_prestate(layer_norm_agrees_with_cpu, device),
                 cmocka_unit_test_prestate(a_layer_norm_may_leave_eight_bits, device),
                 cmocka_unit_test_prestate(constant_input_gives_beta, device),
                 cmocka_unit_test_prestate(nan_stays_in_its_group, device));
}

/* Tests the moments that a CUDA convolution, run on the host, leaves for the group norm after it.  Compares
 * them with the moments of the values that it stored, and compares a row alone with the same row among
 * others.  Asserts that they change nothing in the convolution's result. */
#include "tests/kernels/cuda_operator.h"

/* A group's mean may be off by this many of its standard deviations, and its variance by this fraction of
 * itself.  A channel's sums have at most 64 terms about one of its values, which lies at most some five
 * deviations from the mean: float32 roundings of 2^-24 that walk at random, 8 x 25 x 2^-24 = 1.2e-5 of a
 * channel's variance, and less of a group's.  The mean's are those of terms that are smaller. */
#define MEAN_TOLERANCE 4e-6
#define VARIANCE_TOLERANCE 1.2e-5

typedef struct shape {
    int n, h, w, in, out, kernel, stride; /* h, w: of y */
    int groups;
    int parts; /* of a row's group */
    bool residual, row_bias, upsample;
    float mean; /* added to all values */
} shape;

static const shape shapes[] = {
    /* small tiles, [64, 64]: few pixels, or x value by value */
    { 2, 8, 8, 16, 64, 3, 1, 8, 1, true, true, false, 0 },
    { 3, 8, 8, 16, 40, 3, 1, 4, 1 * 2, true, false, false, 0 }, /* groups of 10: 64 is no multiple */
    { 2, 16, 12, 5, 80, 3, 1, 8, 3 * 2, false, false, false, 0 },
    { 2, 8, 8, 9, 320, 3, 1, 1, 6, false, false, false, 0 }, /* over five tiles: the sixth cut is empty */
    { 2, 8, 16, 4, 320, 3, 1, 32, 2 * 2, false, false, false, 0 },
    { 2, 8, 8, 16, 96, 3, 2, 3, 1, true, true, false, 0 },
    /* thin ones, [128, 32] */
    { 2, 16, 8, 8, 24, 3, 1, 3, 1, true, false, false, 0 },
    { 2, 16, 16, 5, 30, 1, 1, 3, 2 * 2, true, true, false, 0 },
    /* square ones, [128, 128] */
    { 2, 16, 16, 16, 256, 1, 1, 32, 2, true, false, false, 0 },
    { 2, 16, 8, 8, 192, 3, 1, 2, 2, false, true, false, 0 },
    /* wide ones, [128, 160] */
    { 2, 16, 16, 16, 320, 3, 1, 32, 2, true, true, false, 0 },
    { 3, 8, 32, 8, 160, 1, 1, 4, 2, true, true, false, 0 },
    { 2, 16, 8, 8, 160, 1, 1, 16, 1, true, false, false, 500 }, /* bf16 leaves two or three values of it */
    { 1, 16, 8, 8, 160, 1, 1, 16, 1, false, false, false, -1e4f },
    /* after an upsampling, a phase after the other */
    { 2, 16, 16, 8, 64, 3, 1, 8, 4, true, true, true, 0 },
    { 2, 32, 16, 8, 160, 3, 1, 16, 4, false, false, true, 0 },
    /* Hopper's: [256, 160], [256, 128], [128, 160], [128, 128]; [128, 80] has pixels of two rows */
    { 2, 32, 32, 64, 160, 1, 1, 32, 4, true, true, false, 0 },
    { 1, 32, 40, 64, 136, 1, 1, 8, 5 * 2, true, true, false, 0 },
    { 2, 16, 16, 64, 320, 1, 1, 32, 2, true, false, false, 0 },
    { 2, 16, 16, 64, 256, 3, 1, 2, 2, false, true, false, 500 },
    { 2, 32, 16, 64, 160, 3, 1, 16, 4, false, false, true, 0 },
    { 2, 8, 8, 64, 160, 1, 1, 16, 0, true, true, false, 0 },
    /* tiles would have pixels of two rows */
    { 2, 9, 7, 16, 64, 3, 1, 8, 0, true, true, false, 0 },
    { 2, 12, 12, 16, 160, 3, 1, 16, 0, true, true, false, 0 },
    { 2, 24, 24, 8, 64, 3, 1, 8, 0, true, true, true, 0 },
    { 2, 15, 16, 8, 64, 3, 1, 8, 0, true, true, true, 0 }, /* no phases: one line less */
};

static const dr_dtype dtypes[] = { DR_F16, DR_BF16 };
static const int32_t row_index[] = { 2, 0, 1 };

typedef struct problem {
    dr_cuda_conv_args args; /* of all rows */
    void *x, *weight, *phases, *residual, *y;
    dr_tensor bias, table;
    dr_cuda_moments *parts;
    size_t y_values, x_values; /* of a row */
} problem;

static void *random_stored(dr_dtype dtype, size_t values, uint32_t seed)
{
    dr_tensor t = random_tensor(1, 1, 1, (int)values, seed);
    void *stored = store_tensor(dtype, &t);

    free(t.data);
    return stored;
}

static void *packed(dr_dtype dtype, const float *weight, int in, int out, int kernel)
{
    void *to = new_stored(dtype, (size_t)out * (size_t)dr_cuda_conv_weight_ld(dtype, in, kernel));

    dr_cuda_conv_pack(dtype, to, 1.0f, weight, in, out, kernel, dr_cuda_conv_slice(in));
    return to;
}

static void *packed_phases(dr_dtype dtype, const float *weight, int in, int out)
{
    const size_t filters = (size_t)in * (size_t)out;
    const size_t values = (size_t)out * (size_t)dr_cuda_conv_weight_ld(dtype, in, 2);
    void *to = new_stored(dtype, DR_CUDA_CONV_PHASES * values);
    float *sums = malloc(4 * filters * sizeof(*sums));

    assert_non_null(sums);
    for (int i = 0; i < DR_CUDA_CONV_PHASES; i++) {
        dr_cuda_conv_phase(sums, weight, filters, i);
        dr_cuda_conv_pack(dtype, stored_at(dtype, to, (size_t)i * values), 1.0f, sums, in, out, 2,
                          dr_cuda_conv_slice(in));
    }
    free(sums);
    return to;
}

static problem new_problem(const shape *s, dr_dtype dtype)
{
    const int x_h = s->upsample ? (s->h + 1) / 2 : s->h * s->stride;
    const int x_w = s->upsample ? (s->w + 1) / 2 : s->w * s->stride;
    dr_tensor weight = random_tensor(s->out, s->in, s->kernel, s->kernel, 3);
    problem p = {
        .y_values = (size_t)(s->h * s->w * s->out),
        .x_values = (size_t)(x_h * x_w * s->in),
        .bias = random_tensor(1, 1, 1, s->out, 4),
        .table = random_tensor(1, 1, 3, s->out, 5),
    };

    for (int i = 0; i < s->out; i++)
        ((float *)p.bias.data)[i] += s->mean;
    p.x = random_stored(dtype, (size_t)s->n * p.x_values, 1);
    p.residual = random_stored(dtype, (size_t)s->n * p.y_values, 2);
    p.y = new_stored(dtype, (size_t)s->n * p.y_values);
    p.weight = packed(dtype, weight.data, s->in, s->out, s->kernel);
    p.phases = s->upsample ? packed_phases(dtype, weight.data, s->in, s->out) : NULL;
    p.parts = new_stored(DR_F32, (size_t)(s->n * s->groups * s->parts) * 4);
    p.args = (dr_cuda_conv_args){
        .dtype = dtype,
        .y_dtype = dtype,
        .x = p.x,
        .weight = p.weight,
        .phases = p.phases,
        .bias = p.bias.data,
        .row_table = s->row_bias ? p.table.data : NULL,
        .row_index = row_index,
        .row_stride = (size_t)s->out,
        .residual = s->residual ? p.residual : NULL,
        .y = p.y,
        .x_ld = s->in,
        .y_ld = s->out,
        .residual_ld = s->out,
        .n = s->n,
        .x_h = x_h,
        .x_w = x_w,
        .y_h = s->h,
        .y_w = s->w,
        .in = s->in,
        .out = s->out,
        .kernel = s->kernel,
        .slice = dr_cuda_conv_slice(s->in),
        .wgmma = s->in % 64 == 0,
        .stride = s->stride,
        .before = s->kernel / 2,
        .upsample = s->upsample,
        .groups = s->groups,
        .parts = s->parts ? p.parts : NULL,
    };
    free(weight.data);
    return p;
}

static void free_problem(problem *p)
{
    free(p->x), free(p->weight), free(p->phases), free(p->residual), free(p->y), free(p->parts);
    free(p->bias.data), free(p->table.data);
}

static void convolve(const dr_cuda_conv_args *a)
{
    dr_cuda_conv(NULL, a);
    assert_shim_is_content();
}

/* --- against what was stored ------------------------------------------------------------------ */

typedef struct exact {
    double count, mean, spread;
} exact;

static exact joined(const dr_cuda_moments *parts, int count)
{
    exact e = { 0 };

    for (int i = 0; i < count; i++)
        if (parts[i].count > 0) {
            e.count += (double)parts[i].count;
            e.mean += (double)parts[i].count * ((double)parts[i].reference + (double)parts[i].mean);
        }
    e.mean /= e.count;
    for (int i = 0; i < count; i++)
        if (parts[i].count > 0) {
            const double away = (double)parts[i].reference + (double)parts[i].mean - e.mean;

            e.spread += (double)parts[i].spread + (double)parts[i].count * away * away;
        }
    return e;
}

/* The moments of channels [first, first + width) of one stored row. */
static exact stored_moments(const shape *s, dr_dtype dtype, const void *y, int first, int width)
{
    exact e = { .count = (double)(s->h * s->w * width) };
    const double reference = stored_value(dtype, y, (size_t)first); /* values may all be this */

    for (int k = 0; k < 2; k++)
        for (int i = 0; i < s->h * s->w * width; i++) {
            const size_t at = (size_t)(i / width * s->out + first + i % width);
            const double v = stored_value(dtype, y, at) - reference;

            if (k == 0)
                e.mean += v / e.count;
            else
                e.spread += (v - e.mean) * (v - e.mean);
        }
    e.mean += reference;
    return e;
}

static void check_group(const shape *s, const exact *got, const exact *want)
{
    const double deviation = sqrt(want->spread / want->count);

    if (got->count != want->count || !(fabs(got->mean - want->mean) <= MEAN_TOLERANCE * deviation) ||
        !(fabs(got->spread - want->spread) <= VARIANCE_TOLERANCE * want->spread))
        fail_msg("[%d, %d, %d] to %d: %g values, mean off by %g deviations, variance by %g of itself", s->n,
                 s->h, s->w, s->out, got->count, fabs(got->mean - want->mean) / deviation,
                 fabs(got->spread - want->spread) / want->spread);
}

static void moments_are_of_what_was_stored(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(shapes); i++)
        for (size_t d = 0; d < COUNT(dtypes); d++) {
            const shape *s = &shapes[i];
            const int width = s->out / s->groups;
            problem p = new_problem(s, dtypes[d]);

            assert_int_equal(dr_cuda_conv_parts(&p.args), s->parts);
            shim_seed(i);
            convolve(&p.args);
            for (int g = 0; g < s->n * s->groups && s->parts; g++) {
                const exact got = joined(p.parts + g * s->parts, s->parts);
                const void *row = stored_at(dtypes[d], p.y, (size_t)(g / s->groups) * p.y_values);
                const exact want = stored_moments(s, dtypes[d], row, g % s->groups * width, width);

                assert_true(p.parts[g * s->parts].count > 0);
                for (int k = 0; k < s->parts; k++) /* the empty ones are said to be */
                    assert_true(p.parts[g * s->parts + k].count >= 0);
                check_group(s, &got, &want);
            }
            free_problem(&p);
        }
}

static void nothing_else_changes(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(shapes); i++)
        for (size_t d = 0; d < COUNT(dtypes); d++) {
            problem p = new_problem(&shapes[i], dtypes[d]);
            const size_t values = (size_t)shapes[i].n * p.y_values;
            void *y = new_stored(dtypes[d], values);
            dr_cuda_conv_args a = p.args;

            shim_seed(i);
            convolve(&a);
            a.y = y;
            a.parts = NULL;
            convolve(&a);
            assert_memory_equal(y, p.y, values * sizeof(uint16_t));
            free(y);
            free_problem(&p);
        }
}

static void rows_alone_have_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(shapes); i++)
        for (size_t d = 0; d < COUNT(dtypes); d++) {
            const shape *s = &shapes[i];
            const size_t parts = (size_t)(s->groups * s->parts), bytes = parts * sizeof(dr_cuda_moments);
            problem p = new_problem(s, dtypes[d]);

            shim_seed(i);
            convolve(&p.args);
            for (int n = 0; n < s->n && parts; n++) {
                dr_cuda_conv_args a = p.args;
                dr_cuda_moments *alone = new_stored(DR_F32, 4 * parts);

                a.n = 1;
                a.x = stored_at(dtypes[d], p.x, (size_t)n * p.x_values);
                a.residual = s->residual ? stored_at(dtypes[d], p.residual, (size_t)n * p.y_values) : NULL;
                a.y = stored_at(dtypes[d], p.y, (size_t)n * p.y_values);
                a.row_index = row_index + n;
                a.parts = alone;
                assert_int_equal(dr_cuda_conv_parts(&a), s->parts);
                convolve(&a);
                assert_memory_equal(alone, p.parts + (size_t)n * parts, bytes);
                free(alone);
            }
            free_problem(&p);
        }
}

/* Values that are all the same have no spread, and their mean is exact. */
static void constants_are_exact(void **state)
{
    const shape s = { 2, 16, 16, 8, 320, 1, 1, 32, 2, false, false, false, 0 };

    (void)state;
    for (size_t d = 0; d < COUNT(dtypes); d++) {
        problem p = new_problem(&s, dtypes[d]);

        memset(p.x, 0, 2 * p.x_values * sizeof(uint16_t));
        for (int i = 0; i < s.out; i++)
            ((float *)p.bias.data)[i] = 1234.567f;
        shim_seed(d);
        convolve(&p.args);
        for (int i = 0; i < s.n * s.groups * s.parts; i++) {
            assert_true(p.parts[i].reference == stored_value(dtypes[d], p.y, 0));
            assert_true(p.parts[i].mean == 0.0f && p.parts[i].spread == 0.0f);
        }
        free_problem(&p);
    }
}

/* A NaN in a channel reaches only those parts of its row's group that contain its pixel. */
static void nan_stays_in_its_group(void **state)
{
    const shape s = { 2, 16, 16, 8, 320, 1, 1, 32, 2, true, false, false, 0 };
    problem p = new_problem(&s, DR_BF16);

    (void)state;
    ((uint16_t *)p.residual)[p.y_values + 200 * 320 + 57] = 0x7fc0; /* row 1, run 1, group 5 */
    shim_seed(0);
    convolve(&p.args);
    for (int i = 0; i < s.n * s.groups * s.parts; i++) {
        const bool hit = i == (1 * 32 + 5) * 2 + 1;

        assert_int_equal(isnan(p.parts[i].mean) != 0, hit);
        assert_int_equal(isnan(p.parts[i].spread) != 0, hit);
    }
    free_problem(&p);
}

/* --- two maps side by side ------------------------------------------------------------------------ */

typedef struct concat_shape {
    int n, pixels, a_c, b_c, groups, parts;
    float b_mean; /* b's values lie about this, a's about 0 */
} concat_shape;

static const concat_shape concats[] = {
    { 2, 1300, 320, 160, 32, 21, 0 },  /* groups of 15: one has channels of both, and vectors are in two */
    { 1, 2100, 64, 64, 4, 9, 300 },    /* 16 lanes */
    { 2, 2104, 21, 33, 2, 33, 0 },     /* no vectors */
    { 1, 260, 1280, 1280, 8, 17, -5 }, /* more vectors than threads */
    { 1, 65, 8, 8, 4, 0, 0 },          /* the norm reads it once anyway */
};

static void *about(dr_dtype dtype, size_t values, float mean, uint32_t seed)
{
    dr_tensor t = random_tensor(1, 1, 1, (int)values, seed);
    void *stored;

    for (size_t i = 0; i < values; i++)
        ((float *)t.data)[i] += mean;
    stored = store_tensor(dtype, &t);
    free(t.data);
    return stored;
}

/* Asserts that y is a and b side by side, that the parts are the moments of y, and that each row gives the
 * same alone. */
static void check_concat(const concat_shape *q, dr_dtype dtype)
{
    const size_t size = dr_dtype_bytes(dtype), c = (size_t)(q->a_c + q->b_c), pixels = (size_t)q->pixels;
    const size_t row = pixels * c, parts = (size_t)(q->groups * q->parts);
    const shape s = { .n = q->n, .h = 1, .w = q->pixels, .out = (int)c };
    void *a = about(dtype, (size_t)q->n * pixels * (size_t)q->a_c, 0, 1);
    void *b = about(dtype, (size_t)q->n * pixels * (size_t)q->b_c, q->b_mean, 2);
    void *y = new_stored(dtype, (size_t)q->n * row);
    dr_cuda_moments *got = new_stored(DR_F32, (size_t)q->n * parts * 4),
                    *alone = new_stored(DR_F32, parts * 4);
    dr_cuda_concat_moments_args k = { .dtype = dtype,
                                      .a = a,
                                      .b = b,
                                      .y = y,
                                      .n = q->n,
                                      .pixels = q->pixels,
                                      .a_c = q->a_c,
                                      .b_c = q->b_c,
                                      .groups = q->groups,
                                      .parts = got };

    assert_int_equal(dr_cuda_concat_parts(&k), q->parts);
    if (q->parts)
        dr_cuda_concat_moments(NULL, &k);
    assert_shim_is_content();
    for (size_t i = 0; i < (size_t)q->n * pixels && q->parts; i++) {
        assert_memory_equal(stored_at(dtype, y, i * c), stored_at(dtype, a, i * (size_t)q->a_c),
                            (size_t)q->a_c * size);
        assert_memory_equal(stored_at(dtype, y, i * c + (size_t)q->a_c),
                            stored_at(dtype, b, i * (size_t)q->b_c), (size_t)q->b_c * size);
    }
    for (int g = 0; g < q->n * q->groups && q->parts; g++) {
        const int width = (int)c / q->groups;
        const exact have = joined(got + g * q->parts, q->parts);
        const exact want = stored_moments(&s, dtype, stored_at(dtype, y, (size_t)(g / q->groups) * row),
                                          g % q->groups * width, width);

        check_group(&s, &have, &want);
    }
    k.n = 1;
    k.parts = alone;
    for (int n = 0; n < q->n && q->parts; n++) {
        k.a = stored_at(dtype, a, (size_t)n * pixels * (size_t)q->a_c);
        k.b = stored_at(dtype, b, (size_t)n * pixels * (size_t)q->b_c);
        k.y = stored_at(dtype, y, (size_t)n * row);
        dr_cuda_concat_moments(NULL, &k);
        assert_memory_equal(alone, got + (size_t)n * parts, parts * sizeof(*alone));
    }
    free(a), free(b), free(y), free(got), free(alone);
}

static void a_concatenation_leaves_them(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(concats); i++)
        for (size_t d = 0; d < COUNT(dtypes); d++) {
            shim_seed(i);
            check_concat(&concats[i], dtypes[d]);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moments_are_of_what_was_stored), cmocka_unit_test(nothing_else_changes),
        cmocka_unit_test(rows_alone_have_the_same),       cmocka_unit_test(constants_are_exact),
        cmocka_unit_test(nan_stays_in_its_group),         cmocka_unit_test(a_concatenation_leaves_them),
    };

    return cmocka_run_group_tests_name("cuda moments", tests, NULL, NULL);
}

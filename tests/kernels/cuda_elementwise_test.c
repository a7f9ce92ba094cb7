/* The CUDA kernels that pass over values (elementwise.cu) or move them (copy.cu), on the host, against the
 * CPU backend's operators.  A row's bits cannot depend on the others here: a value depends on its own
 * place. */
#include "tests/kernels/cuda_operator.h"

/* Values within +-6, where a float's half step is 2.4e-7: four roundings on each side, two for the
 * exponential. */
#define TOLERANCE 3e-6

/* None, one, less than a vector, whole vectors, a tail, more than a block. */
static const size_t counts[] = { 0, 1, 7, 8, 64, 67, 2048, 4099 };

/* `count` values of +-6, `offset` values into memory that malloc aligned: the kernels see base + offset. */
typedef struct problem {
    dr_dtype dtype;
    size_t count, offset;
    dr_tensor x, y; /* float32, [1, 1, 1, count] */
    void *x_memory;
} problem;

static problem new_problem(dr_dtype dtype, size_t count, size_t offset)
{
    const int values = (int)(count + offset);
    problem p = { .dtype = dtype, .count = count, .offset = offset, .x = random_tensor(1, 1, 1, values, 1) };

    for (int i = 0; i < values; i++)
        ((float *)p.x.data)[i] *= 6.0f;
    p.x_memory = store_tensor(dtype, &p.x);
    p.y = new_tensor(1, 1, 1, values);
    return p;
}

static void free_problem(problem *p)
{
    free(p->x.data);
    free(p->y.data);
    free(p->x_memory);
}

/* What lies before the offset must be as it was: all ones. */
static void check(const problem *p, dr_dtype y_dtype, void *y_memory, const char *what)
{
    const dr_tensor want = dr_tensor_channels(p->y, (int)p->offset, (int)p->count);
    const double error = worst_error(y_dtype, stored_at(y_dtype, y_memory, p->offset), &want);
    const unsigned char *before = y_memory;

    assert_shim_is_content();
    if (!(error <= TOLERANCE))
        fail_msg("%s of %zu %s at %zu to %s: off by %g, allowed %g", what, p->count, dtype_name(p->dtype),
                 p->offset, dtype_name(y_dtype), error, TOLERANCE);
    for (size_t i = 0; i < p->offset * dr_dtype_bytes(y_dtype); i++)
        assert_int_equal(before[i], 0xff);
}

static void check_activate(dr_device *cpu, dr_dtype dtype, size_t count, size_t offset)
{
    for (dr_activation act = DR_ACT_NONE; act <= DR_ACT_QUICK_GELU; act++) {
        problem p = new_problem(dtype, count, offset);
        void *y = new_stored(dtype, count + offset);

        OPERATE(cpu, dr_activate, &(dr_activate_args){ .x = p.x, .y = p.y, .activation = act });
        dr_cuda_activate(NULL, &(dr_cuda_activate_args){ .dtype = dtype,
                                                         .x = stored_at(dtype, p.x_memory, offset),
                                                         .y = stored_at(dtype, y, offset),
                                                         .values = count,
                                                         .activation = act });
        check(&p, dtype, y, "activation");
        free(y);
        free_problem(&p);
    }
}

static void check_scale(dr_device *cpu, dr_dtype x_dtype, dr_dtype y_dtype, float factor, size_t count,
                        size_t offset)
{
    problem p = new_problem(x_dtype, count, offset);
    void *y = new_stored(y_dtype, count + offset);

    OPERATE(cpu, dr_scale, &(dr_scale_args){ .x = p.x, .y = p.y, .factor = factor });
    dr_cuda_scale(NULL, &(dr_cuda_scale_args){ .x_dtype = x_dtype,
                                               .y_dtype = y_dtype,
                                               .x = stored_at(x_dtype, p.x_memory, offset),
                                               .y = stored_at(y_dtype, y, offset),
                                               .values = count,
                                               .factor = factor });
    check(&p, y_dtype, y, factor == 1.0f ? "conversion" : "scale");
    free(y);
    free_problem(&p);
}

static void check_to_rgb8(dr_device *cpu, dr_dtype dtype, size_t count, size_t offset)
{
    problem p = new_problem(dtype, count, offset);
    uint8_t *y = calloc(count + offset + 1, 1), *want = calloc(count + offset + 1, 1);
    dr_tensor to = p.x;
    int32_t broken = 0;

    to.dtype = DR_U8;
    to.data = want;
    for (size_t i = 0; i < count + offset; i++)
        ((float *)p.x.data)[i] /= 4.0f; /* some beyond black and white */
    free(p.x_memory);
    p.x_memory = store_tensor(dtype, &p.x);
    OPERATE(cpu, dr_to_rgb8, &(dr_to_rgb8_args){ .x = p.x, .y = to });
    dr_cuda_to_rgb8(NULL, &(dr_cuda_to_rgb8_args){ .dtype = dtype,
                                                   .x = stored_at(dtype, p.x_memory, offset),
                                                   .y = y + offset,
                                                   .values = count,
                                                   .broken = &broken });
    assert_shim_is_content();
    assert_memory_equal(y + offset, want + offset, count);
    assert_int_equal(broken, 0);
    if (count > 0) { /* a value of all ones is NaN in each of the three dtypes */
        memset(stored_at(dtype, p.x_memory, offset + count - 1), 0xff, dr_dtype_bytes(dtype));
        dr_cuda_to_rgb8(NULL, &(dr_cuda_to_rgb8_args){ .dtype = dtype,
                                                       .x = stored_at(dtype, p.x_memory, offset),
                                                       .y = y + offset,
                                                       .values = count,
                                                       .broken = &broken });
        assert_shim_is_content();
        assert_int_equal(broken, 1);
    }
    free(y);
    free(want);
    free_problem(&p);
}

static void values_agree_with_cpu(void **state)
{
    for (size_t i = 0; i < COUNT(counts); i++)
        for (size_t d = 0; d < COUNT(float_dtypes); d++)
            for (size_t offset = 0; offset < 2; offset++) {
                shim_seed(i);
                check_activate(*state, float_dtypes[d], counts[i], offset);
                check_to_rgb8(*state, float_dtypes[d], counts[i], offset);
                for (size_t to = 0; to < COUNT(float_dtypes); to++) {
                    check_scale(*state, float_dtypes[d], float_dtypes[to], 1.0f, counts[i], offset);
                    check_scale(*state, float_dtypes[d], float_dtypes[to], 0.18215f, counts[i], offset);
                }
            }
}

/* One value for each thread, or one vector; written to new memory, added to values that are there, or in
 * place. */
static void a_row_bias_is_at_every_pixel(void **state)
{
    enum { N = 3, PIXELS = 45, STRIDE = 700, ENTRIES = 4, FIRST = 101 };
    static const int32_t index[N] = { 3, 0, 3 };
    static const int channels[] = { 1, 7, 8, 40, 67, 320 };
    const dr_tensor table = random_tensor(1, 1, ENTRIES, STRIDE, 1);
    (void)state;

    for (size_t i = 0; i < COUNT(channels); i++)
        for (size_t d = 0; d < COUNT(float_dtypes); d++)
            for (int how = 0; how < 3; how++) {
                const int c = channels[i];
                const dr_tensor added = random_tensor(N, 1, PIXELS, c, 2), want = new_tensor(N, 1, PIXELS, c);
                void *stored = store_tensor(float_dtypes[d], &added);
                void *y = how == 2 ? stored : new_stored(float_dtypes[d], tensor_values(&want));

                for (int at = 0; at < N * PIXELS * c; at++) {
                    const float *entry = (const float *)table.data + index[at / PIXELS / c] * STRIDE + FIRST;
                    ((float *)want.data)[at] = entry[at % c] + (how ? ((const float *)added.data)[at] : 0.0f);
                }
                shim_seed(i + d);
                dr_cuda_row_bias(NULL, &(dr_cuda_row_bias_args){ .dtype = float_dtypes[d],
                                                                 .table = (const float *)table.data + FIRST,
                                                                 .index = index,
                                                                 .stride = STRIDE,
                                                                 .added = how ? stored : NULL,
                                                                 .y = y,
                                                                 .n = N,
                                                                 .pixels = PIXELS,
                                                                 .c = c });
                assert_shim_is_content();
                assert_true(worst_error(float_dtypes[d], y, &want) <= TOLERANCE);
                if (how < 2)
                    free(y);
                free(stored);
                free(added.data);
                free(want.data);
            }
    free(table.data);
}

static void geglu_agrees_with_cpu(void **state)
{
    static const int shapes[][2] = { { 1, 1 },   { 3, 7 },    { 5, 8 }, { 9, 36 },
                                     { 77, 40 }, { 2, 1280 }, { 0, 8 } };

    for (size_t i = 0; i < COUNT(shapes); i++)
        for (size_t d = 0; d < COUNT(float_dtypes); d++) {
            const dr_dtype dtype = float_dtypes[d];
            dr_tensor x = random_tensor(1, 1, shapes[i][0], 2 * shapes[i][1], 1);
            dr_tensor want = new_tensor(1, 1, shapes[i][0], shapes[i][1]);
            void *from = store_tensor(dtype, &x), *y = new_stored(dtype, tensor_values(&want));

            shim_seed(i);
            if (shapes[i][0])
                OPERATE(*state, dr_geglu, &(dr_geglu_args){ .x = x, .y = want });
            dr_cuda_geglu(NULL, &(dr_cuda_geglu_args){ .dtype = dtype,
                                                       .y_dtype = dtype,
                                                       .x = from,
                                                       .y = y,
                                                       .pixels = (size_t)shapes[i][0],
                                                       .c = shapes[i][1] });
            assert_shim_is_content();
            assert_true(worst_error(dtype, y, &want) <= TOLERANCE);
            free(x.data);
            free(want.data);
            free(from);
            free(y);
        }
}

/* The result is rounded once.  Values go up to 1600, and the tolerance is larger by the same factor.  8 bits
 * cut off what is beyond 448. */
static void geglu_may_leave_eight_bits(void **state)
{
    static const int shapes[][2] = { { 1, 1 }, { 3, 7 }, { 5, 8 }, { 9, 36 }, { 2, 1280 } };

    for (size_t i = 0; i < COUNT(shapes); i++)
        for (size_t d = 0; d < COUNT(float_dtypes); d++) {
            const dr_dtype dtype = float_dtypes[d];
            dr_tensor x = random_tensor(1, 1, shapes[i][0], 2 * shapes[i][1], 1);
            dr_tensor want = new_tensor(1, 1, shapes[i][0], shapes[i][1]);
            uint8_t *y = new_stored(DR_E4M3, tensor_values(&want));
            void *from;

            for (size_t k = 0; k < tensor_values(&x); k++)
                ((float *)x.data)[k] *= 40.0f;
            from = store_tensor(dtype, &x);
            shim_seed(i);
            OPERATE(*state, dr_geglu, &(dr_geglu_args){ .x = x, .y = want });
            dr_cuda_geglu(NULL, &(dr_cuda_geglu_args){ .dtype = dtype,
                                                       .y_dtype = DR_E4M3,
                                                       .x = from,
                                                       .y = y,
                                                       .pixels = (size_t)shapes[i][0],
                                                       .c = shapes[i][1] });
            assert_shim_is_content();
            assert_e4m3(y, &want, 1600 / 6.0 * TOLERANCE, "GEGLU");
            if (shapes[i][1] == 1280)
                assert_non_null(memchr(y, 0x7e, 2 * 1280));
            free(x.data);
            free(want.data);
            free(from);
            free(y);
        }
}

/* --- copies: the same bytes ----------------------------------------------------------------- */

static void assert_stored(dr_dtype dtype, const void *got, const dr_tensor *want)
{
    void *bytes = stored_from(dtype, want->data, tensor_values(want));

    assert_shim_is_content();
    assert_memory_equal(got, bytes, tensor_values(want) * dr_dtype_bytes(dtype));
    free(bytes);
}

static void concat_agrees_with_cpu(void **state)
{
    static const int shapes[][3] = { { 1, 1, 1 },    { 5, 3, 4 },   { 7, 8, 16 },
                                     { 33, 40, 24 }, { 4, 320, 8 }, { 6, 4, 2 } };

    for (size_t i = 0; i < COUNT(shapes); i++)
        for (size_t d = 0; d < COUNT(float_dtypes); d++) {
            const dr_dtype dtype = float_dtypes[d];
            const int pixels = shapes[i][0], ca = shapes[i][1], cb = shapes[i][2];
            dr_tensor a = random_tensor(1, 1, pixels, ca, 1), b = random_tensor(1, 1, pixels, cb, 2);
            dr_tensor want = new_tensor(1, 1, pixels, ca + cb);
            void *from_a = store_tensor(dtype, &a), *from_b = store_tensor(dtype, &b);
            void *y = new_stored(dtype, tensor_values(&want));

            shim_seed(i);
            OPERATE(*state, dr_concat, &(dr_concat_args){ .a = a, .b = b, .y = want });
            dr_cuda_concat(NULL, &(dr_cuda_concat_args){ .dtype = dtype,
                                                         .a = from_a,
                                                         .b = from_b,
                                                         .y = y,
                                                         .pixels = (size_t)pixels,
                                                         .a_c = ca,
                                                         .b_c = cb });
            assert_stored(dtype, y, &want);
            free(a.data);
            free(b.data);
            free(want.data);
            free(from_a);
            free(from_b);
            free(y);
        }
}

static void gather_copies_rows(void **state)
{
    enum { ROWS = 4, N = 6 };
    static const int32_t row[N] = { 3, 3, 0, 1, 2, 0 };
    static const size_t row_bytes[] = { 0, 1, 2, 6, 16, 36, 4096, 8200 };

    (void)state;
    for (size_t i = 0; i < COUNT(row_bytes); i++) {
        const size_t bytes = row_bytes[i];
        uint8_t *x = malloc(ROWS * bytes + 1), *y = malloc(N * bytes + 1);

        for (size_t j = 0; j < ROWS * bytes; j++)
            x[j] = (uint8_t)(j * 37 + j / 256);
        shim_seed(i);
        dr_cuda_gather(NULL,
                       &(dr_cuda_gather_args){ .x = x, .y = y, .row = row, .n = N, .row_bytes = bytes });
        assert_shim_is_content();
        for (int n = 0; n < N; n++)
            assert_memory_equal(y + (size_t)n * bytes, x + (size_t)row[n] * bytes, bytes);
        free(x);
        free(y);
    }
}

int main(void)
{
    RUN_WITH_CPU("cuda elementwise", cmocka_unit_test_prestate(values_agree_with_cpu, device),
                 cmocka_unit_test_prestate(geglu_agrees_with_cpu, device),
                 cmocka_unit_test_prestate(geglu_may_leave_eight_bits, device),
                 cmocka_unit_test(a_row_bias_is_at_every_pixel),
                 cmocka_unit_test_prestate(concat_agrees_with_cpu, device),
                 cmocka_unit_test_prestate(gather_copies_rows, device));
}

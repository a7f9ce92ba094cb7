/* Tests the operators in which a value depends only on its own place, and the functions that they use, on
 * every instruction set and over the whole range of float. */
#include "tests/ops/operator.h"
#include "tests/support/machines.h"

#include "kernels/math.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h> /* needs the above */

/* The distance between neighbouring floats near `exact`. */
static double ulp(double exact)
{
    const double size = fmax(fabs(exact), FLT_MIN);

    return ldexp(1.0, ilogb(size) - 23);
}

/* This file is compiled without FMA, which is the worse case for these functions.  Tests every 307th float,
 * of both signs. */
static void exp_is_within_two_ulp(void **state)
{
    double worst = 0.0;
    (void)state;

    for (uint64_t bits = 0; bits < 0x7f800000u; bits += 307) {
        const float size = dr_bits_float((uint32_t)bits);

        for (int sign = -1; sign <= 1; sign += 2) {
            const double exact = exp(fmin(fmax(sign * (double)size, -87.0), 88.0));

            worst = worse(worst, fabs(dr_exp((float)sign * size) - exact) / ulp(exact));
        }
    }
    assert_true(worst <= 2.0);
    assert_true(dr_exp(0.0f) == 1.0f && dr_exp(-0.0f) == 1.0f && isnan(dr_exp(NAN)));
    assert_true(dr_exp(-INFINITY) == dr_exp(-87.0f) && dr_exp(INFINITY) == dr_exp(88.0f));
}

static void normal_tail_is_within_a_float_s_grid(void **state)
{
    double worst = 0.0;
    (void)state;

    for (uint64_t bits = 0; bits < 0x7f800000u; bits += 307) {
        const float x = dr_bits_float((uint32_t)bits);

        worst = worse(worst, fabs(dr_normal_tail(x) - 0.5 * erfc((double)x * 0.70710678118654752)));
    }
    assert_true(worst <= 0x1p-24);
    assert_true(dr_normal_tail(0.0f) == 0.5f && isnan(dr_normal_tail(NAN)));
}

static double silu(double x)
{
    return x / (1.0 + exp(-x));
}

static double quick_gelu(double x)
{
    return x / (1.0 + exp(-1.702 * x));
}

static double gelu(double x)
{
    return 0.5 * x * erfc(-x * 0.70710678118654752);
}

/* The tolerance has a part relative to the result, and a part relative to x, because Phi is known to 2^-24.
 * In quick gelu, 1.702 x is rounded before exp, by up to 90 * 2^-24.  Below -87 the results are those of -87:
 * nothing. */
#define UNDERFLOW 1e-36

static const struct {
    dr_activation activation;
    double (*exact)(double);
    double of_result, of_x;
} activations[] = {
    { DR_ACT_SILU, silu, 4e-7, 0 },
    { DR_ACT_GELU, gelu, 3e-7, 2e-7 },
    { DR_ACT_QUICK_GELU, quick_gelu, 6e-6, 0 },
};

/* The number is odd, so that every vector width has a tail. */
enum { VALUES = 70001 };

/* Values of every size that does not round to zero.  The ends of the range are tested separately. */
static dr_tensor values_of_all_sizes(void)
{
    dr_tensor t = random_tensor(1, 1, 1, VALUES, 7);
    float *x = t.data;

    for (int i = 0; i < VALUES; i++)
        x[i] *= exp2f((float)(i % 40 - 33));
    x[0] = -0.0f;
    x[VALUES - 1] = 0.0f;
    return t;
}

static void activations_agree_with_double(void **state)
{
    dr_tensor x = values_of_all_sizes(), y = new_tensor(1, 1, 1, VALUES);
    const float *in = x.data, *out = y.data;

    for (size_t k = 0; k < sizeof(activations) / sizeof(activations[0]); k++) {
        OPERATE(*state, dr_activate,
                &(dr_activate_args){ .x = x, .y = y, .activation = activations[k].activation });
        for (int i = 0; i < VALUES; i++) {
            const double exact = activations[k].exact(in[i]), error = fabs(out[i] - exact);

            if (!(error <= activations[k].of_result * fabs(exact) +
                               activations[k].of_x * fabs((double)in[i]) + UNDERFLOW))
                fail_msg("activation %zu of %g: %g, not %g", k, (double)in[i], (double)out[i], exact);
        }
        assert_true(signbit(out[0]) && !signbit(out[VALUES - 1]));
    }
    free(x.data);
    free(y.data);
}

/* Computing in place and in parts gives the same bits as computing all at once into other memory. */
static void activations_know_no_place(void **state)
{
    for (size_t k = 0; k < sizeof(activations) / sizeof(activations[0]); k++) {
        const dr_activation activation = activations[k].activation;
        dr_tensor x = values_of_all_sizes(), y = new_tensor(1, 1, 1, VALUES);

        OPERATE(*state, dr_activate, &(dr_activate_args){ .x = x, .y = y, .activation = activation });
        for (int first = 0, count = 1; first < VALUES; first += count, count = count * 2 + 1) {
            dr_tensor part = dr_tensor_channels(x, first, count < VALUES - first ? count : VALUES - first);

            part.ld = part.c;
            OPERATE(*state, dr_activate,
                    &(dr_activate_args){ .x = part, .y = part, .activation = activation });
        }
        assert_memory_equal(x.data, y.data, VALUES * sizeof(float));
        free(x.data);
        free(y.data);
    }
}

static void activations_survive_the_extremes(void **state)
{
    static float x[] = { 1e4f, -1e4f, FLT_MAX, -FLT_MAX, INFINITY, NAN };
    const dr_tensor t = { .data = x, .dtype = DR_F32, .n = 1, .h = 1, .w = 1, .c = 6, .ld = 6 };

    for (size_t k = 0; k < sizeof(activations) / sizeof(activations[0]); k++) {
        float y[6];
        const dr_tensor out = { .data = y, .dtype = DR_F32, .n = 1, .h = 1, .w = 1, .c = 6, .ld = 6 };

        OPERATE(*state, dr_activate,
                &(dr_activate_args){ .x = t, .y = out, .activation = activations[k].activation });
        assert_true(y[0] == 1e4f && fabsf(y[1]) < 1e-30f && y[2] == FLT_MAX && fabsf(y[3]) < 4.0f);
        assert_true(y[4] == INFINITY && isnan(y[5]));
    }
}

static void geglu_gates_by_the_second_half(void **state)
{
    static const int widths[] = { 1, 3, 15, 16, 17, 33, 160 };

    for (size_t k = 0; k < sizeof(widths) / sizeof(widths[0]); k++) {
        const int c = widths[k];
        dr_tensor x = random_tensor(2, 3, 5, 2 * c, 3), y = new_tensor(2, 3, 5, c);
        const float *in = x.data, *out = y.data;

        OPERATE(*state, dr_geglu, &(dr_geglu_args){ .x = x, .y = y });
        for (int i = 0; i < 30; i++)
            for (int j = 0; j < c; j++) {
                const double exact = in[i * 2 * c + j] * gelu(in[i * 2 * c + c + j]);

                assert_true(fabs(out[i * c + j] - exact) <= 2e-7); /* one step of float near 1, and a half */
            }
        free(x.data);
        free(y.data);
    }
}

static void scale_is_one_product(void **state)
{
    dr_tensor x = values_of_all_sizes(), y = new_tensor(1, 1, 1, VALUES);
    const float *in = x.data, *out = y.data;

    OPERATE(*state, dr_scale, &(dr_scale_args){ .x = x, .y = y, .factor = 1.0f / 0.18215f });
    for (int i = 0; i < VALUES; i++)
        assert_true(out[i] == in[i] * (1.0f / 0.18215f));
    assert_true(signbit(out[0]));
    free(x.data);
    free(y.data);
}

static void concat_puts_channels_side_by_side(void **state)
{
    dr_tensor a = random_tensor(2, 3, 5, 7, 1), b = random_tensor(2, 3, 5, 12, 2),
              y = new_tensor(2, 3, 5, 19);
    const float *out = y.data;

    OPERATE(*state, dr_concat, &(dr_concat_args){ .a = a, .b = b, .y = y });
    for (int i = 0; i < 30; i++) {
        assert_memory_equal(out + i * 19, (const float *)a.data + i * 7, 7 * sizeof(float));
        assert_memory_equal(out + i * 19 + 7, (const float *)b.data + i * 12, 12 * sizeof(float));
    }
    free(a.data);
    free(b.data);
    free(y.data);
}

static void gather_repeats_and_reorders_rows(void **state)
{
    static const int32_t rows[] = { 2, 0, 0, 1, 2 };
    const size_t row_values = 3 * 5 * 7;
    dr_tensor x = random_tensor(3, 3, 5, 7, 1), y = new_tensor(5, 3, 5, 7);

    OPERATE(*state, dr_gather, &(dr_gather_args){ .x = x, .row = rows, .y = y });
    for (size_t i = 0; i < 5; i++)
        assert_memory_equal((const float *)y.data + i * row_values,
                            (const float *)x.data + (size_t)rows[i] * row_values, row_values * sizeof(float));
    free(x.data);
    free(y.data);
}

static void to_rgb8_is_exact(void **state)
{
    /* 0 becomes 127.5, which rounds half to even.  Then both ends, values beyond them, and values that are
     * not finite. */
    static const float edge[] = { 0.0f, -0.0f, -1.0f, 1.0f, -1.5f, 1e9f, -INFINITY, INFINITY, NAN, 0.99608f };
    static const uint8_t expected[] = { 128, 128, 0, 255, 0, 255, 0, 255, 0, 255 };
    enum { EDGES = sizeof(expected) };
    dr_tensor x = random_tensor(1, 1, VALUES / 3, 3, 5);
    dr_tensor y = {
        .data = malloc(VALUES), .dtype = DR_U8, .n = 1, .h = 1, .w = VALUES / 3, .c = 3, .ld = 3
    };
    float *in = x.data;
    const uint8_t *out = y.data;
    const size_t last = tensor_values(&x) - 1;
    int32_t broken = -1;

    memcpy(in, edge, sizeof(edge));
    for (int k = 0; k < 255; k++) /* each boundary between two colours, and its neighbours */
        for (int side = -1; side <= 1; side++)
            in[100 + 3 * k + side] = (float)((k + 0.5) / 255.0 * 2.0 - 1.0) + (float)side * 0x1p-24f;
    OPERATE(*state, dr_to_rgb8, &(dr_to_rgb8_args){ .x = x, .y = y, .broken = &broken });
    assert_memory_equal(out, expected, EDGES);
    assert_int_equal(broken, 1);
    for (size_t i = EDGES; i < tensor_values(&x); i++) {
        const float half = in[i] / 2.0f + 0.5f;

        assert_int_equal(out[i], (int)rintf(fminf(fmaxf(half, 0.0f), 1.0f) * 255.0f));
    }
    for (int i = 6; i < 9; i++) { /* each of the three that are no finite numbers, as the last value of all */
        memset(in, 0, sizeof(edge));
        in[last] = 1e38f;
        OPERATE(*state, dr_to_rgb8, &(dr_to_rgb8_args){ .x = x, .y = y, .broken = &broken });
        assert_int_equal(broken, 0);
        in[last] = edge[i];
        OPERATE(*state, dr_to_rgb8, &(dr_to_rgb8_args){ .x = x, .y = y, .broken = &broken });
        assert_int_equal(broken, 1);
    }
    free(x.data);
    free(y.data);
}

static int run(const machine *m)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(activations_agree_with_double, m->device),
        cmocka_unit_test_prestate(activations_know_no_place, m->device),
        cmocka_unit_test_prestate(activations_survive_the_extremes, m->device),
        cmocka_unit_test_prestate(geglu_gates_by_the_second_half, m->device),
        cmocka_unit_test_prestate(scale_is_one_product, m->device),
        cmocka_unit_test_prestate(concat_puts_channels_side_by_side, m->device),
        cmocka_unit_test_prestate(gather_repeats_and_reorders_rows, m->device),
        cmocka_unit_test_prestate(to_rgb8_is_exact, m->device),
    };

    return cmocka_run_group_tests_name(m->name, tests, NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest bodies[] = {
        cmocka_unit_test(exp_is_within_two_ulp),
        cmocka_unit_test(normal_tail_is_within_a_float_s_grid),
    };
    return on_each_machine(run) + cmocka_run_group_tests_name("math", bodies, NULL, NULL);
}

/* The random stream is torch's: same numbers, same consumption. */
#include "model/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* torch's CPU builds differ among themselves by this much: their log, sin and cos are approximations. */
#define TOLERANCE 1e-6f

static void check(dr_rng *rng, const float *expected, size_t n)
{
    float out[64];

    assert_true(n <= 64);
    dr_rng_randn(rng, out, n);
    for (size_t i = 0; i < n; i++)
        assert_float_equal(out[i], expected[i], TOLERANCE);
}

/* torch.Generator("cpu").manual_seed(42), then randn(3), randn(17), randn(2): the short draws
 * keep half a pair between them, and the long one does not touch it; its tail is drawn anew. */
static void mixed_lengths_follow_torch(void **state)
{
    static const float three[] = { 0.336690366f, 0.128809407f, 0.234462366f };
    static const float seventeen[] = {
        1.78778934f,   -0.686622977f,  -0.493356347f, 0.241487786f,  -1.11090386f, 0.0915456563f,
        -2.31692266f,  -0.216804728f,  -1.38467371f,  -0.395710498f, 0.803409338f, -0.621595383f,
        -0.592000544f, -0.0630743802f, -0.828554273f, 0.330898434f,  -1.55757248f,
    };
    static const float two[] = { 0.23033303f, 1.12144279f };
    dr_rng rng;
    (void)state;

    dr_rng_seed(&rng, 42);
    check(&rng, three, 3);
    check(&rng, seventeen, 17);
    check(&rng, two, 2);
}

static void only_the_low_word_of_a_seed_counts(void **state)
{
    static const float zero[] = { 1.54099607f };
    static const float above_double[] = { 0.661352158f, 0.266924113f }; /* 2^53 + 1 is no double */
    dr_rng rng;
    (void)state;

    dr_rng_seed(&rng, 0);
    check(&rng, zero, 1);
    dr_rng_seed(&rng, UINT64_C(1) << 32);
    check(&rng, zero, 1);
    dr_rng_seed(&rng, (UINT64_C(1) << 53) + 1);
    check(&rng, above_double, 2);
}

static void a_copy_is_a_fork(void **state)
{
    float a[33], b[33];
    dr_rng rng, fork;
    (void)state;

    dr_rng_seed(&rng, 7);
    dr_rng_randn(&rng, a, 3);
    fork = rng;
    dr_rng_randn(&rng, a, 33);
    dr_rng_randn(&fork, b, 33);
    assert_memory_equal(a, b, sizeof(a));
}

static void numbers_are_finite_and_normal(void **state)
{
    enum { N = 100000 };
    static float x[N];
    double sum = 0, squares = 0;
    dr_rng rng;
    (void)state;

    dr_rng_seed(&rng, 1);
    dr_rng_randn(&rng, x, N);
    for (int i = 0; i < N; i++) {
        assert_true(isfinite(x[i]));
        sum += x[i];
        squares += (double)x[i] * x[i];
    }
    /* 5 standard errors of the mean and of the variance */
    assert_true(fabs(sum / N) < 5 / sqrt(N));
    assert_true(fabs(squares / N - 1) < 5 * sqrt(2.0 / N));
}

static void nothing_draws_nothing(void **state)
{
    dr_rng rng, before;
    (void)state;

    dr_rng_seed(&rng, 3);
    before = rng;
    dr_rng_randn(&rng, NULL, 0);
    assert_int_equal(rng.next, before.next);
    assert_memory_equal(rng.state, before.state, sizeof(rng.state));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mixed_lengths_follow_torch), cmocka_unit_test(only_the_low_word_of_a_seed_counts),
        cmocka_unit_test(a_copy_is_a_fork),           cmocka_unit_test(numbers_are_finite_and_normal),
        cmocka_unit_test(nothing_draws_nothing),
    };
    return cmocka_run_group_tests_name("rng", tests, NULL, NULL);
}

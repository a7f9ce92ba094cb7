/* The random stream is torch's: same numbers, same consumption. */
#include "kernels/rng.h"
#include "tests/support/support.h"

#include <math.h>
#include <stdlib.h>

/* torch's CPU builds differ among themselves by this much: their log, sin and cos are approximations. */
#define TOLERANCE 1e-6f

/* One golden: its calls in order, from one generator. */
static void check_case(const json_t *one, const dr_weights *tensors)
{
    const char *tensor = json_string_value(json_object_get(one, "tensor"));
    const json_t *counts = json_object_get(one, "counts"), *count;
    static float expected[4096], out[4096];
    dr_error err = { 0 };
    size_t i, total = 0;
    dr_rng rng;

    json_array_foreach(counts, i, count)
    {
        total += (size_t)json_integer_value(count);
    }
    assert_in_range(total, 1, 4096);
    if (dr_weights_read(tensors, tensor, (int64_t[]){ (int64_t)total }, 1, expected, &err))
        fail_msg("%s", err.text);
    dr_rng_seed(&rng, strtoull(json_string_value(json_object_get(one, "seed")), NULL, 10));
    total = 0;
    json_array_foreach(counts, i, count)
    {
        dr_rng_randn(&rng, out + total, (size_t)json_integer_value(count));
        total += (size_t)json_integer_value(count);
    }
    for (i = 0; i < total; i++)
        if (!(fabsf(out[i] - expected[i]) <= TOLERANCE))
            fail_msg("%s: number %zu is %.9g, not %.9g", tensor, i, (double)out[i], (double)expected[i]);
}

static void numbers_are_torchs(void **state)
{
    json_t *golden = golden_json("randn.json"), *cases = json_object_get(golden, "cases"), *one;
    dr_weights *tensors = golden_weights("randn.safetensors");
    size_t i;
    (void)state;

    assert_true(json_array_size(cases) > 40);
    json_array_foreach(cases, i, one)
    {
        check_case(one, tensors);
    }
    dr_weights_close(tensors);
    json_decref(golden);
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
        cmocka_unit_test(numbers_are_torchs),
        cmocka_unit_test(a_copy_is_a_fork),
        cmocka_unit_test(numbers_are_finite_and_normal),
        cmocka_unit_test(nothing_draws_nothing),
    };
    return cmocka_run_group_tests_name("rng", tests, NULL, NULL);
}

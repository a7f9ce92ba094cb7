/* The shim on which the CUDA kernels' tests stand: that what a GPU would do is done, and that mistakes show. */
#include "tests/cuda_operator.h"
#include "tests/cuda_shim_kernels.h"

enum { THREADS = 128, SEEDS = 8 };

static void run(shim_sample sample, uint64_t seed, float out[THREADS])
{
    memset(out, 0xff, THREADS * sizeof(*out));
    shim_seed(seed);
    shim_run_sample(NULL, sample, out, THREADS);
}

static void right_kernels_are_right(void **state)
{
    float out[THREADS];

    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        run(SAMPLE_REVERSE, seed, out);
        assert_shim_is_content();
        for (int i = 0; i < THREADS; i++)
            assert_true(out[i] == (float)(THREADS - 1 - i));
        run(SAMPLE_COPY, seed, out);
        assert_shim_is_content();
        for (int i = 0; i < THREADS; i++)
            assert_true(out[i] == (float)i);
        run(SAMPLE_SUM, seed, out);
        assert_shim_is_content();
        for (int i = 0; i < THREADS; i++)
            assert_true(out[i] == (float)(i / 32 * 32 * 32 + 31 * 16));
    }
}

/* What races shows in the values, for any order: NaN, or a neighbour's. */
static void races_show(void **state)
{
    static const shim_sample wrong[] = { SAMPLE_MISSING_BARRIER, SAMPLE_REUSED_TOO_SOON, SAMPLE_UNINITIALISED,
                                         SAMPLE_COPY_NO_WAIT, SAMPLE_COPY_ONE_GROUP_SHORT };
    float out[THREADS];

    (void)state;
    for (size_t s = 0; s < COUNT(wrong); s++)
        for (uint64_t seed = 0; seed < SEEDS; seed++) {
            int right = 0;

            run(wrong[s], seed, out);
            assert_shim_is_content();
            for (int i = 0; i < THREADS; i++)
                right += out[i] == (float)(wrong[s] <= SAMPLE_REUSED_TOO_SOON ? THREADS - 1 - i : i);
            assert_true(right < THREADS);
        }
}

static void mistakes_are_named(void **state)
{
    static const struct {
        shim_sample sample;
        const char *says;
    } wrong[] = {
        { SAMPLE_DIVERGENT_BARRIER, "stands at __syncthreads in line" },
        { SAMPLE_EARLY_EXIT, "thread 5 has left the kernel" },
        { SAMPLE_DIVERGENT_SHUFFLE, "thread 3 has left the kernel" },
        { SAMPLE_COPY_MISALIGNED, "not aligned" },
        { SAMPLE_COPY_LEFT_BEHIND, "did not wait" },
        { SAMPLE_MISALIGNED_LOAD, "not aligned" },
    };
    float out[THREADS];

    (void)state;
    for (size_t i = 0; i < COUNT(wrong); i++)
        for (uint64_t seed = 0; seed < SEEDS; seed++) {
            run(wrong[i].sample, seed, out);
            assert_non_null(shim_error());
            if (!strstr(shim_error(), wrong[i].says) ||
                !strstr(shim_error(), "sample_kernel, block (0, 0, 0)"))
                fail_msg("expected \"%s\" in \"%s\"", wrong[i].says, shim_error());
        }
}

/* Whole numbers, so that every order of the sum is the same sum. */
static void product_is_a_product(void **state)
{
    uint16_t stored_a[16 * 16], stored_b[16 * 8];
    float a[16 * 16], b[16 * 8], d[16 * 8];
    uint32_t seed = 1;

    (void)state;
    for (int bf16 = 0; bf16 < 2; bf16++) {
        for (int i = 0; i < 16 * 16; i++) {
            a[i] = floorf(16.0f * random_value(&seed));
            stored_a[i] = bf16 ? dr_bf16_from_float(a[i]) : dr_f16_from_float(a[i]);
        }
        for (int i = 0; i < 16 * 8; i++) {
            b[i] = floorf(16.0f * random_value(&seed));
            stored_b[i] = bf16 ? dr_bf16_from_float(b[i]) : dr_f16_from_float(b[i]);
        }
        shim_seed(seed);
        shim_run_product(d, stored_a, stored_b, bf16);
        assert_shim_is_content();
        for (int i = 0; i < 16; i++)
            for (int j = 0; j < 8; j++) {
                float sum = 0.0f;

                for (int k = 0; k < 16; k++)
                    sum += a[i * 16 + k] * b[k * 8 + j];
                assert_true(d[i * 8 + j] == sum);
            }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(right_kernels_are_right),
        cmocka_unit_test(races_show),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(product_is_a_product),
    };
    return cmocka_run_group_tests_name("cuda shim", tests, NULL, NULL);
}

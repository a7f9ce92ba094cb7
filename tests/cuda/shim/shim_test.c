/* Tests the shim that the tests of the CUDA kernels use: that it does what a GPU would do, and that mistakes
 * show. */
#include "tests/cuda/shim/kernels.h"
#include "tests/kernels/cuda_operator.h"

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

/* A race shows in the values in any order: as NaN, or as a neighbour's value. */
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
        { SAMPLE_LARGE, "102400 bytes of shared memory" },
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

/* --- products of a warpgroup ---------------------------------------------------------------- */

enum { IMAGE_VALUES_MAX = 2 * (WGMMA_N_MAX + WGMMA_M) * WGMMA_K + 8192 };

/* Where value (mn, k) of a matrix of `all` rows or columns stands, as the PTX ISA's pictures of the
 * layouts draw it.  A swizzle of W bytes: what has 8 neighbours in a chunk of 16 bytes is laid in rows of
 * W bytes, as many as the other dimension is long; and of each 128 bytes, the chunks stand where the
 * number of those 128 bytes, exclusive-or, puts them.  None: columns of chunks, and here 16 bytes after
 * each. */
static size_t value_at(int swizzle, bool mn_major, int all, int mn, int k)
{
    const int along = mn_major ? mn : k,
              across = mn_major ? k : mn; /* in a chunk's direction, and the other */
    const int length = mn_major ? WGMMA_K : all, chunk = along / 8;
    int row_chunks, panel, line;

    if (!swizzle)
        return (size_t)(chunk * (length + 1) * 8 + across * 8 + along % 8);
    row_chunks = swizzle / 16;
    panel = chunk / row_chunks;
    line = across * swizzle / 128;
    return (size_t)((panel * length + across) * swizzle / 2 + (chunk % row_chunks ^ line % row_chunks) * 8 +
                    along % 8);
}

/* Multiples of 1/4 below 4: their products and sums are exact. */
static float simple_value(uint32_t *seed)
{
    return floorf(16.0f * random_value(seed)) / 4.0f;
}

typedef struct wgmma_case {
    int n, swizzle;
    bool a_in_registers, mn_major;
    shim_format format;
} wgmma_case;

/* Returns 16 bits: one value of 16 bits, or two of 8. */
static uint16_t stored_as(shim_format format, const float *values)
{
    return format == SHIM_F16 ? dr_f16_from_float(values[0])
           : format == SHIM_BF16
               ? dr_bf16_from_float(values[0])
               : (uint16_t)(dr_e4m3_from_float(values[0]) | dr_e4m3_from_float(values[1]) << 8);
}

/* Whether the product is right. */
static bool run_wgmma(const wgmma_case *c, wgmma_mistake mistake, uint64_t seed)
{
    static uint16_t image[IMAGE_VALUES_MAX], a_rows[WGMMA_M * WGMMA_K];
    static float a[WGMMA_M][2 * WGMMA_K], b[WGMMA_N_MAX][2 * WGMMA_K], d[WGMMA_M * WGMMA_N_MAX];
    const int each = c->format == SHIM_E4M3 ? 2 : 1;
    const size_t b_at = 20 << 10; /* bytes, behind A and at the start of a pattern */
    shim_wgmma_run r = { .shared = image, .a = a_rows, .d = d, .b_at = b_at, .mistake = mistake };
    uint32_t random = (uint32_t)seed + 1;

    memset(image, 0xff, sizeof(image));
    memset(d, 0xff, sizeof(d));
    for (int k = 0; k < WGMMA_K; k++) {
        for (int i = 0; i < WGMMA_M; i++) {
            for (int v = 0; v < each; v++)
                a[i][each * k + v] = simple_value(&random);
            a_rows[i * WGMMA_K + k] = stored_as(c->format, &a[i][each * k]);
            image[value_at(c->swizzle, c->mn_major, WGMMA_M, i, k)] = a_rows[i * WGMMA_K + k];
        }
        for (int j = 0; j < c->n; j++) {
            const size_t at = b_at / 2 + value_at(c->swizzle, c->mn_major, c->n, j, k);

            for (int v = 0; v < each; v++)
                b[j][each * k + v] = simple_value(&random);
            image[at] = stored_as(c->format, &b[j][each * k]);
            if (r.shared_bytes < at * 2 + 2)
                r.shared_bytes = (at * 2 + 2 + 15) / 16 * 16;
        }
    }
    assert_true(r.shared_bytes <= sizeof(image));
    shim_seed(seed);
    shim_run_wgmma(&r, c->n, c->swizzle, c->a_in_registers, c->mn_major, c->format);
    for (int i = 0; i < WGMMA_M; i++)
        for (int j = 0; j < c->n; j++) {
            float sum = 0.0f;

            for (int k = 0; k < each * WGMMA_K; k++)
                sum += a[i][k] * b[j][k];
            if (d[i * c->n + j] != sum)
                return false;
        }
    return true;
}

static void warpgroup_products_are_products(void **state)
{
    static const int sizes[] = { 8, 40, 256 }, swizzles[] = { 0, 32, 64, 128 };
    static const char *const formats[] = { "f16", "bf16", "e4m3" };

    (void)state;
    for (size_t n = 0; n < COUNT(sizes); n++)
        for (size_t s = 0; s < COUNT(swizzles); s++)
            for (unsigned i = 0; i < 9; i++) {
                const wgmma_case c = { sizes[n], swizzles[s], i & 1, i & 2,
                                       i & 8   ? SHIM_E4M3
                                       : i & 4 ? SHIM_BF16
                                               : SHIM_F16 };

                if (!run_wgmma(&c, WGMMA_RIGHT, i))
                    fail_msg("64 x %d, swizzle %d, A %s, %s-major, %s: wrong: %s", c.n, c.swizzle,
                             c.a_in_registers ? "in registers" : "in memory", c.mn_major ? "MN" : "K",
                             formats[c.format], shim_error() ? shim_error() : "values");
                assert_shim_is_content();
            }
}

static void mistakes_with_warpgroups_show(void **state)
{
    static const struct {
        wgmma_mistake mistake;
        const char *says; /* NULL: the values are wrong */
    } wrong[] = {
        { WGMMA_NO_WAIT, NULL },
        { WGMMA_MEMORY_TOO_SOON, NULL },
        { WGMMA_A_TOO_SOON, NULL },
        { WGMMA_SUMS_TOO_SOON, "wrote to the sums" },
        { WGMMA_NO_FENCE, "no wgmma.fence" },
        { WGMMA_NO_PROXY_FENCE, "without a fence.proxy.async" },
        { WGMMA_NO_COMMIT, "did not wait for" },
        { WGMMA_WARP_MISSING, "has left the kernel" },
        { WGMMA_OUTSIDE, "reads shared memory at" },
        { WGMMA_MISALIGNED, "takes the address" },
        { WGMMA_IN_PATTERN, "within a pattern" },
    };
    const wgmma_case c = { 40, 128, true, false, SHIM_BF16 };

    (void)state;
    for (size_t i = 0; i < COUNT(wrong); i++) {
        int right = 0;

        for (uint64_t seed = 0; seed < SEEDS; seed++) {
            right += run_wgmma(&c, wrong[i].mistake, seed);
            if (!wrong[i].says)
                assert_shim_is_content();
            else if (!shim_error() || !strstr(shim_error(), wrong[i].says))
                fail_msg("expected \"%s\" in \"%s\"", wrong[i].says, shim_error() ? shim_error() : "");
        }
        /* data that was changed too soon may have been read before the change */
        assert_true(right == 0 || (!wrong[i].says && wrong[i].mistake != WGMMA_NO_WAIT && right < SEEDS));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(right_kernels_are_right),
        cmocka_unit_test(races_show),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(product_is_a_product),
        cmocka_unit_test(warpgroup_products_are_products),
        cmocka_unit_test(mistakes_with_warpgroups_show),
    };
    return cmocka_run_group_tests_name("cuda shim", tests, NULL, NULL);
}

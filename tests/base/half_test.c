/* Every 16-bit pattern, against the definition of the format. */
#include "base/half.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h> /* wants the four standard headers before it */

/* sign * fraction * 2^exponent, as IEEE 754 has it for a format of these widths. */
static float by_definition(unsigned pattern, int exponent_bits, int fraction_bits)
{
    const int bias = (1 << (exponent_bits - 1)) - 1;
    const int exponent = (int)(pattern >> fraction_bits) & ((1 << exponent_bits) - 1);
    const int fraction = (int)pattern & ((1 << fraction_bits) - 1);
    const float sign = pattern >> 15 ? -1.0f : 1.0f;

    if (exponent == (1 << exponent_bits) - 1)
        return fraction ? NAN : sign * INFINITY;
    if (exponent == 0)
        return sign * (float)ldexp(fraction, 1 - bias - fraction_bits);
    return sign * (float)ldexp(fraction + (1 << fraction_bits), exponent - bias - fraction_bits);
}

static void check(uint16_t pattern, float got, float want)
{
    if (isnan(want)) {
        assert_true(isnan(got));
        assert_int_equal(dr_bits_from_float(got) >> 31, pattern >> 15);
    } else {
        assert_int_equal(dr_bits_from_float(got), dr_bits_from_float(want)); /* -0 is not 0 */
    }
}

static void every_f16(void **state)
{
    (void)state;
    for (unsigned p = 0; p < 65536; p++)
        check((uint16_t)p, dr_float_from_f16((uint16_t)p), by_definition(p, 5, 10));
}

static void every_bf16(void **state)
{
    (void)state;
    for (unsigned p = 0; p < 65536; p++)
        check((uint16_t)p, dr_float_from_bf16((uint16_t)p), by_definition(p, 8, 7));
}

/* In e4m3 the largest exponent has values like others, and NaN where the fraction is all ones. */
static void every_e4m3(void **state)
{
    (void)state;
    for (unsigned p = 0; p < 256; p++) {
        const float want = (p & 0x7f) == 0x7f ? NAN
                           : (p & 0x78) == 0x78
                               ? (p & 0x80 ? -1.0f : 1.0f) * (float)ldexp(8 + (p & 7), 15 - 7 - 3)
                               : by_definition((p & 0x80) << 8 | (p & 0x7f), 4, 3);

        check((uint16_t)(p << 8), dr_float_from_e4m3((uint8_t)p), want);
    }
}

/* Loops over many values, from even and odd addresses, give the same bits as one value at a time. */
static void runs_of_any_length_and_address(void **state)
{
    enum { COUNT = 65536 };
    unsigned char *bytes = malloc(2 * COUNT + 1);
    float *f16 = malloc(COUNT * sizeof(float)), *bf16 = malloc(COUNT * sizeof(float));
    (void)state;

    for (size_t odd = 0; odd < 2; odd++)
        for (size_t count = 0; count <= COUNT; count = count < 40 ? count + 1 : count + 65496) {
            for (size_t i = 0; i < count; i++) {
                const uint16_t p = (uint16_t)(i * 40503u + 31744u);
                memcpy(bytes + odd + 2 * i, &p, sizeof(p));
            }
            dr_floats_from_f16(f16, bytes + odd, count);
            dr_floats_from_bf16(bf16, bytes + odd, count);
            for (size_t i = 0; i < count; i++) {
                const uint16_t p = (uint16_t)(i * 40503u + 31744u);
                assert_int_equal(dr_bits_from_float(f16[i]), dr_bits_from_float(dr_float_from_f16(p)));
                assert_int_equal(dr_bits_from_float(bf16[i]), dr_bits_from_float(dr_float_from_bf16(p)));
            }
        }
    free(bytes);
    free(f16);
    free(bf16);
}

/* Round each value, the middle between it and the next larger (which goes to the even one), and the floats
 * on either side of the middle.  `top` is the pattern of infinity: values above the last middle go there. */
static void check_rounding(uint16_t (*round)(float), float (*widen)(uint16_t), uint16_t top)
{
    for (uint16_t p = 0; p < top; p++) {
        const uint16_t even = p & 1 ? (uint16_t)(p + 1) : p;
        /* infinity counts as the value that would come next */
        const float low = widen(p),
                    step = p + 1 < top ? widen((uint16_t)(p + 1)) - low : low - widen((uint16_t)(p - 1));
        const float middle = low + step / 2;

        for (int negative = 0; negative < 2; negative++) {
            const uint16_t sign = negative ? 0x8000 : 0;
            const float s = negative ? -1.0f : 1.0f;

            assert_int_equal(round(s * low), sign | p);
            assert_int_equal(round(s * middle), sign | even);
            assert_int_equal(round(s * nextafterf(middle, 0.0f)), sign | p);
            assert_int_equal(round(s * nextafterf(middle, INFINITY)), sign | (p + 1));
        }
    }
    assert_int_equal(round(INFINITY), top);
    assert_true(isnan(widen(round(NAN))));
    assert_true(isnan(widen(round(dr_float_from_bits(0x7f800001)))));
    assert_true(isnan(widen(round(dr_float_from_bits(0xffffffff)))));
}

static void floats_go_to_the_nearest_half(void **state)
{
    (void)state;
    check_rounding(dr_f16_from_float, dr_float_from_f16, 0x7c00);
    check_rounding(dr_bf16_from_float, dr_float_from_bf16, 0x7f80);
}

static void floats_go_to_the_nearest_e4m3(void **state)
{
    (void)state;
    for (unsigned p = 0; p < 0x7e; p++) {
        const float low = dr_float_from_e4m3((uint8_t)p), high = dr_float_from_e4m3((uint8_t)(p + 1));
        const float middle = (low + high) / 2;

        for (unsigned sign = 0; sign <= 0x80; sign += 0x80) {
            const float s = sign ? -1.0f : 1.0f;

            assert_int_equal(dr_e4m3_from_float(s * low), sign | p);
            assert_int_equal(dr_e4m3_from_float(s * middle), sign | (p + (p & 1)));
            assert_int_equal(dr_e4m3_from_float(s * nextafterf(middle, 0.0f)), sign | p);
            assert_int_equal(dr_e4m3_from_float(s * nextafterf(middle, INFINITY)), sign | (p + 1));
        }
    }
    assert_int_equal(dr_e4m3_from_float(DR_E4M3_MAX), 0x7e);
    assert_int_equal(dr_e4m3_from_float(1e30f), 0x7e);
    assert_int_equal(dr_e4m3_from_float(-INFINITY), 0xfe);
    assert_true(isnan(dr_float_from_e4m3(dr_e4m3_from_float(NAN))));
}

static void a_weight_has_one_scale(void **state)
{
    (void)state;
    assert_true(dr_e4m3_scale((float[]){ 0.5f, -2.0f }, 2) == 0x1p-7f); /* 256 */
    assert_true(dr_e4m3_scale((float[]){ 448.0f, 1.0f }, 2) == 1.0f);   /* just the largest */
    assert_true(dr_e4m3_scale((float[]){ -449.0f }, 1) == 2.0f);
    assert_true(dr_e4m3_scale((float[]){ 3e-9f, NAN }, 2) == 0x1p-37f);
    assert_true(dr_e4m3_scale((float[]){ 0.0f }, 1) == 1.0f);
    assert_true(dr_e4m3_scale((float[]){ -INFINITY, 1.0f }, 2) == INFINITY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_f16),
        cmocka_unit_test(every_bf16),
        cmocka_unit_test(runs_of_any_length_and_address),
        cmocka_unit_test(floats_go_to_the_nearest_half),
        cmocka_unit_test(every_e4m3),
        cmocka_unit_test(floats_go_to_the_nearest_e4m3),
        cmocka_unit_test(a_weight_has_one_scale),
    };
    return cmocka_run_group_tests_name("half", tests, NULL, NULL);
}

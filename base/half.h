/* half.h - 16-bit and 8-bit floats to float32 and back.
 *
 *     f16    s eeeee ffffffffff      IEEE binary16
 *     bf16   s eeeeeeee fffffff      the upper half of a float32
 *     e4m3   s eeee fff              up to 448; no infinity, one NaN of either sign.  OCP 8-bit Floating
 *                                    Point Specification 1.0; also called e4m3fn
 *
 * To float32: every value of these types is also a float32, so nothing is rounded.  Subnormals, infinities
 * and NaNs with their payload stay what they are.  No step makes a subnormal float32, so this also holds
 * in threads that flush those to zero.
 *
 * From float32: values are rounded to nearest, half to even, as the GPU's conversions do.  In e4m3, larger
 * values than 448 become 448 (cvt.rn.satfinite).
 *
 * Threads: any; nothing here has a state. */
#ifndef DR_BASE_HALF_H
#define DR_BASE_HALF_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline float dr_float_from_bits(uint32_t bits)
{
    float f;

    memcpy(&f, &bits, sizeof(f));
    return f;
}

static inline uint32_t dr_bits_from_float(float f)
{
    uint32_t bits;

    memcpy(&bits, &f, sizeof(bits));
    return bits;
}

static inline float dr_float_from_bf16(uint16_t h)
{
    return dr_float_from_bits((uint32_t)h << 16);
}

/* No branches, so that a compiler makes vector code of a loop over it on any x86-64. */
static inline float dr_float_from_f16(uint16_t h)
{
    const uint32_t bias = (127 - 15) << 23;
    const uint32_t smallest_normal = bias + (1 << 23); /* 2^-14 */
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16;
    const uint32_t magnitude = (uint32_t)(h & 0x7fff) << 13;
    const uint32_t is_subnormal = -(uint32_t)((h & 0x7c00) == 0);
    const uint32_t is_special = -(uint32_t)((h & 0x7c00) == 0x7c00);
    const uint32_t normal = magnitude + bias + (bias & is_special); /* infinity, NaN: exponent 255 */
    const uint32_t subnormal = dr_bits_from_float(dr_float_from_bits(magnitude + smallest_normal) -
                                                  dr_float_from_bits(smallest_normal));
    const uint32_t bits = (subnormal & is_subnormal) | (normal & ~is_subnormal);

    return dr_float_from_bits(sign | bits);
}

static inline uint16_t dr_bf16_from_float(float f)
{
    const uint32_t bits = dr_bits_from_float(f);

    if ((bits & 0x7fffffff) > 0x7f800000)
        return (uint16_t)(bits >> 16 | 0x40); /* still NaN, even if its payload was in the lower half */
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static inline uint16_t dr_f16_from_float(float f)
{
    const uint32_t bits = dr_bits_from_float(f), magnitude = bits & 0x7fffffff;
    const uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);

    if (magnitude > 0x7f800000)
        return (uint16_t)(sign | 0x7e00 | (magnitude >> 13 & 0x3ff));
    if (magnitude >= 0x477ff000) /* 65520 and more: infinity is nearer than 65504 */
        return (uint16_t)(sign | 0x7c00);
    if (magnitude < 0x38800000) { /* below 2^-14: f16 is spaced by 2^-24, like float32 between 1/2 and 1 */
        const float rounded = dr_float_from_bits(magnitude) + 0.5f;

        return (uint16_t)(sign | (dr_bits_from_float(rounded) - 0x3f000000));
    }
    /* Round the 13 bits that are dropped.  A carry goes into the exponent, which is right. */
    return (uint16_t)(sign | ((magnitude - 0x38000000 + 0xfff + (magnitude >> 13 & 1)) >> 13));
}

#define DR_E4M3_MAX 448.0f

static inline float dr_float_from_e4m3(uint8_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x80) << 24, magnitude = h & 0x7f;

    if (magnitude == 0x7f)
        return dr_float_from_bits(sign | 0x7fc00000);
    if (magnitude < 8) /* subnormal: multiples of 2^-9 */
        return dr_float_from_bits(sign | dr_bits_from_float((float)magnitude * 0x1p-9f));
    return dr_float_from_bits(sign | ((magnitude << 20) + ((127 - 7) << 23)));
}

static inline uint8_t dr_e4m3_from_float(float f)
{
    const uint32_t bits = dr_bits_from_float(f), magnitude = bits & 0x7fffffff;
    const uint8_t sign = (uint8_t)(bits >> 24 & 0x80);

    if (magnitude > 0x7f800000)
        return sign | 0x7f;
    if (magnitude >= 0x43e00000) /* 448 */
        return sign | 0x7e;
    if (magnitude < 0x3c800000) { /* below 2^-6: e4m3 is spaced by 2^-9, like float32 between 2^14 and 2^15 */
        const float rounded = dr_float_from_bits(magnitude) + 0x1p14f;

        return (uint8_t)(sign | (dr_bits_from_float(rounded) - 0x46800000));
    }
    return (uint8_t)(sign | ((magnitude - 0x3c000000 + 0x7ffff + (magnitude >> 20 & 1)) >> 20));
}

/* The smallest power of two by which all of a weight's values can be divided so that they fit into e4m3.
 * One for the whole weight is enough: values down to 2^-13 of the largest keep all their bits, and
 * channels differ less than that.  If a value is infinite, so is the result, and products with it are NaN. */
float dr_e4m3_scale(const float *weight, size_t values);

/* Convert `count` little-endian values.  `from` may have any address. */
void dr_floats_from_f16(float *to, const void *from, size_t count);
void dr_floats_from_bf16(float *to, const void *from, size_t count);

#endif

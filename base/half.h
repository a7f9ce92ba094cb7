/* half.h - 16-bit and 8-bit floats to float32 and back.
 *
 *     f16    s eeeee ffffffffff      IEEE binary16
 *     bf16   s eeeeeeee fffffff      the upper half of a float32
 *     e4m3   s eeee fff              up to 448; no infinity, one NaN of either sign.  OCP 8-bit Floating Point
 *                                    Specification 1.0, and "fn" to others
 *
 * Every value of any is a float32, so nothing is rounded: subnormals, infinities and NaNs
 * (with their payload) come out as what they are.  No step makes a subnormal float32, so
 * it holds in threads that flush those to zero, too.
 *
 * The other way rounds to nearest, half to even, as the GPU's conversions do.  To e4m3, what is beyond 448 becomes that
 * (cvt.rn.satfinite). */
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

/* Without branches, so that a loop over it becomes vector code on any x86-64. */
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
        return (uint16_t)(bits >> 16 | 0x40); /* still NaN where its payload was in the lower half */
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static inline uint16_t dr_f16_from_float(float f)
{
    const uint32_t bits = dr_bits_from_float(f), magnitude = bits & 0x7fffffff;
    const uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);

    if (magnitude > 0x7f800000)
        return (uint16_t)(sign | 0x7e00 | (magnitude >> 13 & 0x3ff));
    if (magnitude >= 0x477ff000) /* 65520: from there on infinity is nearer than 65504 */
        return (uint16_t)(sign | 0x7c00);
    if (magnitude < 0x38800000) { /* below 2^-14: half's grid is 2^-24, which is float's between 1/2 and 1 */
        const float rounded = dr_float_from_bits(magnitude) + 0.5f;

        return (uint16_t)(sign | (dr_bits_from_float(rounded) - 0x3f000000));
    }
    /* Rounded in the 13 bits that go; a carry goes on into the exponent, where it belongs. */
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
    if (magnitude < 0x3c800000) { /* below 2^-6: the grid is 2^-9, which is float's between 2^14 and 2^15 */
        const float rounded = dr_float_from_bits(magnitude) + 0x1p14f;

        return (uint8_t)(sign | (dr_bits_from_float(rounded) - 0x46800000));
    }
    return (uint8_t)(sign | ((magnitude - 0x3c000000 + 0x7ffff + (magnitude >> 20 & 1)) >> 20));
}

/* The power of two that just brings all of a weight's values into e4m3's range, when they are divided by it.  One is enough:
 * down to 2^-13 of the largest all values have as many bits, and channels are not that far apart.  A weight with an
 * infinity in it has that, and what comes of it is no number. */
float dr_e4m3_scale(const float *weight, size_t values);

/* `from` holds count little-endian values and may stand at any address. */
void dr_floats_from_f16(float *to, const void *from, size_t count);
void dr_floats_from_bf16(float *to, const void *from, size_t count);

#endif

/* half.h - 16-bit floats to float32.
 *
 *     f16    s eeeee ffffffffff      IEEE binary16
 *     bf16   s eeeeeeee fffffff      the upper half of a float32
 *
 * Every value of either is a float32, so nothing is rounded: subnormals, infinities and NaNs
 * (with their payload) come out as what they are.  No step makes a subnormal float32, so
 * it holds in threads that flush those to zero, too. */
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

/* `from` holds count little-endian values and may stand at any address. */
void dr_floats_from_f16(float *to, const void *from, size_t count);
void dr_floats_from_bf16(float *to, const void *from, size_t count);

#endif

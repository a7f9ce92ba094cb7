#include "base/half.h"

#include <math.h>

/* Load from an address that may be odd. */
static inline uint16_t load_u16(const unsigned char *from)
{
    uint16_t h;

    memcpy(&h, from, sizeof(h));
    return h;
}

void dr_floats_from_f16(float *to, const void *from, size_t count)
{
    const unsigned char *bytes = from;

#pragma omp simd
    for (size_t i = 0; i < count; i++)
        to[i] = dr_float_from_f16(load_u16(bytes + 2 * i));
}

void dr_floats_from_bf16(float *to, const void *from, size_t count)
{
    const unsigned char *bytes = from;

#pragma omp simd
    for (size_t i = 0; i < count; i++)
        to[i] = dr_float_from_bf16(load_u16(bytes + 2 * i));
}

float dr_e4m3_scale(const float *weight, size_t values)
{
    float largest = 0.0f;
    int exponent;

    for (size_t i = 0; i < values; i++)
        largest = fmaxf(largest, fabsf(weight[i]));
    if (largest == 0.0f)
        return 1.0f;
    if (isinf(largest))
        return largest;
    return ldexpf(1.0f, frexpf(largest / DR_E4M3_MAX, &exponent) == 0.5f ? exponent - 1 : exponent);
}

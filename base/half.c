#include "base/half.h"

/* A load from an address that need not be even. */
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

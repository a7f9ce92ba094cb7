/* pixel.h - from the VAE's values to 8-bit colour. */
#ifndef DR_KERNELS_PIXEL_H
#define DR_KERNELS_PIXEL_H

#include "kernels/math.h"

/* round(clamp(x / 2 + 1/2, 0, 1) * 255), half to even; NaN is black. */
static inline DR_HD uint8_t dr_rgb8(float x)
{
    const float half = x * 0.5f + 0.5f;
    const float positive = half > 0.0f ? half : 0.0f;
    const float value = (positive < 1.0f ? positive : 1.0f) * 255.0f;

    return (uint8_t)dr_float_bits(value + DR_ROUND_MAGIC); /* the low byte is the integer */
}

#endif

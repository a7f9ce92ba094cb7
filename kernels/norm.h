/* norm.h - the loops of group norm and layer norm.
 *
 * A map of one row is [pixels, c], channels last.  Group norm reads it in blocks of pixels:
 *
 *     sums of block 0, 1, ...   ->   mean and scale of each channel (ops/cpu/norm.c)   ->   apply
 *
 * Nothing subtracts two large sums: a block is summed about its own first pixel.  That pixel being one
 * of the block's own, the squares about it are at most `pixels` times the block's true spread,
 * so at most that factor is lost, however far the values lie from zero. */
#ifndef DR_KERNELS_NORM_H
#define DR_KERNELS_NORM_H

#include "kernels/isa.h"

#include <stddef.h>

/* What one channel's values go through: (x - mean) * scale + shift. */
typedef struct dr_norm_kernels {
    /* sum[j] = sum over pixels of x[j] - x0[j], square[j] of its square; x0 is the first pixel */
    void (*channel_sums)(float *sum, float *square, const float *x, size_t pixels, size_t c);

    /* y = (x - mean) * scale + shift, per channel; then SiLU if asked.  y may be x. */
    void (*apply)(float *y, const float *x, size_t pixels, size_t c, const float *mean, const float *scale,
                  const float *shift, int silu);

    /* One pixel normalised over its channels, scaled by gamma and shifted by beta.  y may be x. */
    void (*layer_norm)(float *y, const float *x, size_t c, const float *gamma, const float *beta, float eps);
} dr_norm_kernels;

DR_EACH_ISA(dr_norm_kernels);

#endif

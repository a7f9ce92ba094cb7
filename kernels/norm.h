/* norm.h - the loops of group norm and layer norm.
 *
 * The map of one row is [pixels, c], channels last.  Group norm reads it in blocks of pixels:
 *
 *     sums of block 0, 1, ...   ->   mean and scale of each channel (ops/cpu/norm.c)   ->   apply
 *
 * A block is summed about its own first pixel, so no two large sums are subtracted.  The squares about a
 * pixel of the block are at most `pixels` times the block's true spread.  So at most that factor is lost,
 * however far the values are from zero.
 *
 * Threads: any; nothing here has a state. */
#ifndef DR_KERNELS_NORM_H
#define DR_KERNELS_NORM_H

#include "kernels/isa.h"

#include <stddef.h>

typedef struct dr_norm_kernels {
    /* sum[j] = the sum over pixels of x[j] - x0[j], and square[j] = the sum of its square; x0 is the first
     * pixel. */
    void (*channel_sums)(float *sum, float *square, const float *x, size_t pixels, size_t c);

    /* y = (x - mean) * scale + shift for each channel, then SiLU if `silu`.  y may be x. */
    void (*apply)(float *y, const float *x, size_t pixels, size_t c, const float *mean, const float *scale,
                  const float *shift, int silu);

    /* One pixel, normalised over its channels, times gamma plus beta.  y may be x. */
    void (*layer_norm)(float *y, const float *x, size_t c, const float *gamma, const float *beta, float eps);
} dr_norm_kernels;

DR_EACH_ISA(dr_norm_kernels);

#endif

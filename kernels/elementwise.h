/* elementwise.h - loops in which a result depends only on the values at its own index.
 *
 * y may be x where both have the same shape; otherwise nothing overlaps.  n == 0 is legal.
 * The bits of a result depend neither on n nor on the index.  Threads: any; nothing here has a state. */
#ifndef DR_KERNELS_ELEMENTWISE_H
#define DR_KERNELS_ELEMENTWISE_H

#include "kernels/isa.h"
#include "kernels/sampler_step.h"

#include <stddef.h>
#include <stdint.h>

typedef void dr_unary_loop(float *y, const float *x, size_t n);

typedef struct dr_elementwise_kernels {
    dr_unary_loop *silu, *gelu, *quick_gelu;
    void (*scale)(float *y, const float *x, size_t n, float factor);

    /* One pixel: y[i] = x[i] * gelu(x[c + i]) for i < c.  x is [2 c]. */
    void (*geglu)(float *y, const float *x, size_t c);

    void (*to_rgb8)(uint8_t *y, const float *x, size_t n); /* dr_rgb8() of each value */

    /* Guidance and a sampler's step for n values of one sample.  history: [DR_HISTORY_MAX, n].  noise:
     * [n], or NULL for zeros. */
    void (*sampler_step)(const dr_step *step, float guidance, const float *cond, const float *uncond,
                         const float *noise, float *latent, float *history, size_t n);
} dr_elementwise_kernels;

DR_EACH_ISA(dr_elementwise_kernels);

#endif

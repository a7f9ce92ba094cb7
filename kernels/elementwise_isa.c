#include "kernels/elementwise.h"

#include "kernels/activation.h"
#include "kernels/pixel.h"

/* `omp simd` says that the iterations are independent.  So the compiler needs no scalar version for y ==
 * x. */

static void silu(float *y, const float *x, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        y[i] = dr_silu(x[i]);
}

static void gelu(float *y, const float *x, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        y[i] = dr_gelu(x[i]);
}

static void quick_gelu(float *y, const float *x, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        y[i] = dr_quick_gelu(x[i]);
}

static void scale(float *y, const float *x, size_t n, float factor)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] * factor;
}

static void geglu(float *y, const float *x, size_t c)
{
#pragma omp simd
    for (size_t i = 0; i < c; i++)
        y[i] = x[i] * dr_gelu(x[c + i]);
}

static void to_rgb8(uint8_t *y, const float *x, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        y[i] = dr_rgb8(x[i]);
}

static void sampler_step(const dr_step *step, float guidance, const float *cond, const float *uncond,
                         const float *noise, float *latent, float *history, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float state[DR_STATES];

        state[0] = latent[i];
        for (int k = 0; k < DR_HISTORY_MAX; k++)
            state[1 + k] = history[(size_t)k * n + i];
        dr_step_value(step, state, dr_apply_guidance(cond[i], uncond[i], guidance), noise ? noise[i] : 0.0f);
        latent[i] = state[0];
        for (int k = 0; k < DR_HISTORY_MAX; k++)
            history[(size_t)k * n + i] = state[1 + k];
    }
}

const dr_elementwise_kernels DR_ISA_NAME(dr_elementwise_kernels) = {
    .silu = silu,
    .gelu = gelu,
    .quick_gelu = quick_gelu,
    .scale = scale,
    .geglu = geglu,
    .to_rgb8 = to_rgb8,
    .sampler_step = sampler_step,
};

#include "kernels/norm.h"

#include "kernels/activation.h"
#include "kernels/vec.h"

/* Sums four pixels at a time, so that the running sums are loaded and stored once for four pixels. */
static void channel_sums(float *restrict sum, float *restrict square, const float *restrict x, size_t pixels,
                         size_t c)
{
    size_t i = 0;

    for (size_t j = 0; j < c; j++)
        sum[j] = square[j] = 0.0f;
    for (; i + 4 <= pixels; i += 4) {
        const float *restrict x0 = x + i * c;
        const float *restrict x1 = x0 + c, *restrict x2 = x1 + c, *restrict x3 = x2 + c;

        for (size_t j = 0; j < c; j++) {
            const float d0 = x0[j] - x[j], d1 = x1[j] - x[j], d2 = x2[j] - x[j], d3 = x3[j] - x[j];

            sum[j] += (d0 + d1) + (d2 + d3);
            square[j] += dr_fma(d0, d0, d1 * d1) + dr_fma(d2, d2, d3 * d3);
        }
    }
    for (; i < pixels; i++)
        for (size_t j = 0; j < c; j++) {
            const float d = x[i * c + j] - x[j];

            sum[j] += d;
            square[j] = dr_fma(d, d, square[j]);
        }
}

static void apply(float *y, const float *x, size_t pixels, size_t c, const float *mean, const float *scale,
                  const float *shift, int silu)
{
    for (size_t i = 0; i < pixels; i++, x += c, y += c) {
        if (silu) {
#pragma omp simd
            for (size_t j = 0; j < c; j++)
                y[j] = dr_silu(dr_fma(x[j] - mean[j], scale[j], shift[j]));
        } else {
#pragma omp simd
            for (size_t j = 0; j < c; j++)
                y[j] = dr_fma(x[j] - mean[j], scale[j], shift[j]);
        }
    }
}

/* The sum of x - about and the sum of its square, each in four registers.  The order of the sums depends
 * only on c. */
typedef struct sums {
    float sum, square;
} sums;

static sums sums_about(const float *x, size_t c, float about)
{
    enum { UNROLL = 4 };
    const dr_vec centre = vec_all(about);
    dr_vec sum[UNROLL], square[UNROLL];
    sums s;
    size_t j = 0;

    for (int u = 0; u < UNROLL; u++)
        sum[u] = square[u] = vec_all(0.0f);
    for (; j + UNROLL * DR_LANES <= c; j += UNROLL * DR_LANES)
        for (int u = 0; u < UNROLL; u++) {
            const dr_vec d = vec_load(x + j + (size_t)u * DR_LANES) - centre;

            sum[u] = sum[u] + d;
            square[u] = vec_fma(d, d, square[u]);
        }
    for (; j + DR_LANES <= c; j += DR_LANES) {
        const dr_vec d = vec_load(x + j) - centre;

        sum[0] = sum[0] + d;
        square[0] = vec_fma(d, d, square[0]);
    }
    s.sum = vec_sum((sum[0] + sum[1]) + (sum[2] + sum[3]));
    s.square = vec_sum((square[0] + square[1]) + (square[2] + square[3]));
    for (; j < c; j++) {
        const float d = x[j] - about;

        s.sum += d;
        s.square = dr_fma(d, d, s.square);
    }
    return s;
}

/* The first pass finds the mean, with the rounding error of its sum.  The second pass sums about that
 * mean, so what is left of its sum corrects the error. */
static void layer_norm(float *y, const float *x, size_t c, const float *gamma, const float *beta, float eps)
{
    const float n = (float)c;
    const float mean = sums_about(x, c, 0.0f).sum / n;
    const sums about = sums_about(x, c, mean);
    const float left = about.sum / n;
    const float variance = about.square / n - left * left;
    const float scale = 1.0f / sqrtf(variance + eps);

#pragma omp simd
    for (size_t j = 0; j < c; j++)
        y[j] = dr_fma((x[j] - mean - left) * scale, gamma[j], beta[j]);
}

const dr_norm_kernels DR_ISA_NAME(dr_norm_kernels) = {
    .channel_sums = channel_sums,
    .apply = apply,
    .layer_norm = layer_norm,
};

/* math.h - exp and erf that both compilers turn into straight vector code.
 *
 * No branch, no table, no call: a loop over them vectorises at any width, and every lane does what
 * the scalar tail does, so a value's bits do not depend on its place.  Errors are against a
 * double-precision reference over all floats of the stated range (tests/elementwise_test.c
 * holds them to it). */
#ifndef DR_KERNELS_MATH_H
#define DR_KERNELS_MATH_H

#include "kernels/host_device.h"

#include <string.h>

/* a b + c: one rounding where the target has the instruction.  The generic build has none, and
 * fmaf() would be a library call for each element; it rounds twice. */
static inline DR_HD float dr_fma(float a, float b, float c)
{
#if defined(__FMA__) || defined(__CUDA_ARCH__)
    return fmaf(a, b, c);
#else
    return a * b + c;
#endif
}

static inline DR_HD uint32_t dr_float_bits(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof(bits));
    return bits;
}

static inline DR_HD float dr_bits_float(uint32_t bits)
{
    float x;

    memcpy(&x, &bits, sizeof(x));
    return x;
}

/* 2^n for n in [-126, 127]. */
static inline DR_HD float dr_power_of_2(int32_t n)
{
    return dr_bits_float((uint32_t)(n + 127) << 23);
}

/* Added to a float of less than 2^22, it leaves the nearest integer (half to even) in the low bits. */
#define DR_ROUND_MAGIC 12582912.0f /* 1.5 * 2^23 */

/* e^x; 0 and infinity where expf() gives them, NaN for NaN.
 *
 *     x = n ln 2 + r, |r| <= ln 2 / 2;   e^x = 2^n e^r,   e^r = 1 + r + r^2 q(r)
 *
 * q is a minimax fit (relative error of e^r 3e-9).  2^n is applied in two halves, so that the ends
 * of the range need no branch.  Error below 1.1 ulp with FMA, 1.6 without. */
static inline DR_HD float dr_expf(float x)
{
    const float bounded = x > 89.0f ? 89.0f : x < -104.0f ? -104.0f : x;
    const float shifted = dr_fma(bounded, 1.44269504f, DR_ROUND_MAGIC);
    const int32_t n = (int32_t)(dr_float_bits(shifted) - dr_float_bits(DR_ROUND_MAGIC));
    const float n_float = shifted - DR_ROUND_MAGIC;
    /* ln 2 in two parts; the first has 9 bits, so that n times it is exact without FMA too. */
    const float r = dr_fma(n_float, 2.12194440e-4f, dr_fma(n_float, -0.693359375f, bounded));
    float q = 1.381459878757596e-3f;

    q = dr_fma(q, r, 8.368716575205326e-3f);
    q = dr_fma(q, r, 4.166838899254799e-2f);
    q = dr_fma(q, r, 0.1666652113199234f);
    q = dr_fma(q, r, 0.4999999403953552f);
    q = dr_fma(r * r, q, r) + 1.0f;
    return q * dr_power_of_2(n >> 1) * dr_power_of_2(n - (n >> 1));
}

/* erf(x); both halves are computed and one is chosen.
 *
 *     |x| <  0.95   x + x P(x^2)
 *     |x| >= 0.95   sign(x) (1 - exp(-t Q(t))), t = min(|x|, 4): from there on erf rounds to 1
 *
 * Minimax fits.  Error below 1.5 ulp with FMA, 2 without. */
static inline DR_HD float dr_erff(float x)
{
    const float s = x * x;
    const float t = fabsf(x) > 4.0f ? 4.0f : fabsf(x);
    float p = -5.862109246663749e-4f;
    float q = -2.1326336718630046e-4f;
    float near, far;

    p = dr_fma(p, s, 4.967513494193554e-3f);
    p = dr_fma(p, s, -2.6748869568109512e-2f);
    p = dr_fma(p, s, 0.11281321197748184f);
    p = dr_fma(p, s, -0.37612447142601013f);
    p = dr_fma(p, s, 0.12837913632392883f);
    near = dr_fma(p, x, x);

    q = dr_fma(q, t, 3.2089781016111374e-3f);
    q = dr_fma(q, t, -2.2870687767863274e-2f);
    q = dr_fma(q, t, 0.10523158311843872f);
    q = dr_fma(q, t, 0.6357414722442627f);
    q = dr_fma(q, t, 1.1285074949264526f);
    far = copysignf(1.0f - dr_expf(-t * q), x);

    return t < 0.95f ? near : far;
}

#endif

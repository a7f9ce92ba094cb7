/* math.h - exp and the normal distribution, which compilers for host and GPU turn into plain vector code.
 *
 * These functions have no branch, table or call.  So a loop over them vectorises at any width.  Each lane
 * computes what a scalar tail computes, so the bits of a result do not depend on its index.  The errors
 * were measured against double over the floats of the whole range. tests/ops/elementwise_test.c checks
 * them. */
#ifndef DR_KERNELS_MATH_H
#define DR_KERNELS_MATH_H

#include "kernels/host_device.h"

#include <string.h>

/* a b + c, with one rounding where the target has the instruction.  The generic build does not have it and
 * rounds twice: fmaf() would be a library call for each element. */
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

/* If this is added to a float below 2^22, the low bits become the nearest integer (half to even). */
#define DR_ROUND_MAGIC 12582912.0f /* 1.5 * 2^23 */

/* e^x for x in [-87, 88].  An x outside counts as the nearer end.  So the result is never 0, infinite or
 * denormal, and 2^n needs no special case.  NaN gives NaN.
 *
 *     x = n ln 2 + r, |r| <= ln 2 / 2;   e^x = 2^n e^r,   e^r = 1 + r + r^2 q(r)
 *
 * q is a minimax fit (relative error of e^r 3e-9).  Error below 1.1 ulp. */
static inline DR_HD float dr_exp(float x)
{
    const float bounded = x > 88.0f ? 88.0f : x < -87.0f ? -87.0f : x;
    const float shifted = dr_fma(bounded, 1.44269504f, DR_ROUND_MAGIC);
    const float n = shifted - DR_ROUND_MAGIC;
    const uint32_t exponent = dr_float_bits(shifted) - dr_float_bits(DR_ROUND_MAGIC) + 127;
    /* ln 2 in two parts.  The first has 9 bits, so n times it is exact even without FMA. */
    const float r = dr_fma(n, 2.12194440e-4f, dr_fma(n, -0.693359375f, bounded));
    float q = 1.381459878757596e-3f;

    q = dr_fma(q, r, 8.368716575205326e-3f);
    q = dr_fma(q, r, 4.166838899254799e-2f);
    q = dr_fma(q, r, 0.1666652113199234f);
    q = dr_fma(q, r, 0.4999999403953552f);
    q = dr_fma(r * r, q, r) + 1.0f;
    return q * dr_bits_float(exponent << 23);
}

/* The upper tail of the normal distribution for x >= 0: 1 - Phi(x) = erfc(x / sqrt(2)) / 2.
 *
 *     e^(-x P(x)) / 2
 *
 * P is a minimax fit for the absolute error of the result, 1.1e-8; with roundings 5e-8, which is
 * what 1 + erf loses near erf = -1 too. */
static inline DR_HD float dr_normal_tail(float x)
{
    float p = 1.965011733773281e-6f;

    p = dr_fma(p, x, -2.7294536266708747e-5f);
    p = dr_fma(p, x, 1.290503132622689e-4f);
    p = dr_fma(p, x, 9.491704986430705e-5f);
    p = dr_fma(p, x, -4.895989783108234e-3f);
    p = dr_fma(p, x, 3.638757765293121e-2f);
    p = dr_fma(p, x, 0.318298876285553f);
    p = dr_fma(p, x, 0.7978852987289429f);
    return 0.5f * dr_exp(-x * p);
}

#endif

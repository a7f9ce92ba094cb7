/* vec.h - one register of floats, as wide as the instruction set for which this file is compiled.
 *
 *     generic  4 lanes     avx2  8     avx512  16
 *
 * It is for loops that the compiler does not vectorise by itself: reductions, whose order the compiler
 * may not change, and blocks of registers.  The compiler has + - * / for these types.  Only
 * kernels/NAME_isa.c include this. */
#ifndef DR_KERNELS_VEC_H
#define DR_KERNELS_VEC_H

#include "kernels/math.h"

#include <immintrin.h>

#if defined(__AVX512F__)

enum { DR_LANES = 16 };
typedef __m512 dr_vec;
#define VEC_(name) _mm512_##name

static inline dr_vec vec_fma(dr_vec a, dr_vec b, dr_vec c)
{
    return _mm512_fmadd_ps(a, b, c);
}

/* x minus the nearest integer. */
static inline dr_vec vec_fraction(dr_vec x)
{
    return _mm512_reduce_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

/* x 2^n for an integer n in [-126, 127]. */
static inline dr_vec vec_scale(dr_vec x, dr_vec n)
{
    return _mm512_scalef_ps(x, n);
}

#elif defined(__AVX2__)

enum { DR_LANES = 8 };
typedef __m256 dr_vec;
#define VEC_(name) _mm256_##name

static inline dr_vec vec_fma(dr_vec a, dr_vec b, dr_vec c)
{
    return _mm256_fmadd_ps(a, b, c);
}

static inline dr_vec vec_fraction(dr_vec x)
{
    const dr_vec magic = _mm256_set1_ps(DR_ROUND_MAGIC);

    return x - ((x + magic) - magic);
}

static inline dr_vec vec_scale(dr_vec x, dr_vec n)
{
    const dr_vec low_bits = n + _mm256_set1_ps(DR_ROUND_MAGIC + 127.0f);

    return x * _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(low_bits), 23));
}

#else

enum { DR_LANES = 4 };
typedef __m128 dr_vec;
#define VEC_(name) _mm_##name

static inline dr_vec vec_fma(dr_vec a, dr_vec b, dr_vec c)
{
    return a * b + c;
}

static inline dr_vec vec_fraction(dr_vec x)
{
    const dr_vec magic = _mm_set1_ps(DR_ROUND_MAGIC);

    return x - ((x + magic) - magic);
}

static inline dr_vec vec_scale(dr_vec x, dr_vec n)
{
    const dr_vec low_bits = n + _mm_set1_ps(DR_ROUND_MAGIC + 127.0f);

    return x * _mm_castsi128_ps(_mm_slli_epi32(_mm_castps_si128(low_bits), 23));
}

#endif

static inline dr_vec vec_load(const float *p)
{
    return VEC_(loadu_ps)(p);
}

static inline void vec_store(float *p, dr_vec v)
{
    VEC_(storeu_ps)(p, v);
}

static inline dr_vec vec_all(float x)
{
    return VEC_(set1_ps)(x);
}

/* The larger of a and b; b where either is NaN. */
static inline dr_vec vec_max(dr_vec a, dr_vec b)
{
    return VEC_(max_ps)(a, b);
}

/* The sum of the lanes, added half to half: always in the same order. */
static inline float vec_sum(dr_vec v)
{
    float lane[DR_LANES];

    vec_store(lane, v);
    for (int half = DR_LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            lane[i] += lane[i + half];
    return lane[0];
}

/* 2^x for x <= 0.  Below -126 the result is 2^-126, the smallest normal number: denormals are slow.
 *
 *     x = n + f, |f| <= 1/2;   2^f by a minimax fit, relative error 9e-8;   in all below 2 ulp */
static inline dr_vec vec_exp2(dr_vec x)
{
    const dr_vec bounded = vec_max(vec_all(-126.0f), x);
    const dr_vec f = vec_fraction(bounded);
    dr_vec p = vec_all(1.326472731307149e-3f);

    p = vec_fma(p, f, vec_all(9.671512991189957e-3f));
    p = vec_fma(p, f, vec_all(5.550733581185341e-2f));
    p = vec_fma(p, f, vec_all(0.24022242426872253f));
    p = vec_fma(p, f, vec_all(0.6931470036506653f));
    p = vec_fma(p, f, vec_all(1.0f));
    return vec_scale(p, bounded - f);
}

#endif

/* rng.h - torch's CPU random stream: torch.Generator("cpu").manual_seed(seed).
 *
 * The words come from MT19937 (Matsumoto & Nishimura 1998), seeded with the low 32 bits.  Box-Muller
 * makes normal numbers of them.  Order and precision are those of ATen's normal_fill for 16 numbers and
 * more, and of normal_distribution<double> for fewer:
 *
 *     words        w0 ... w15 | w16 ... w31 | ... | the rest |  if n is no multiple of 16: 16 more words
 *     numbers      0 .. 15    | 16 .. 31    | ...               n - 16 .. n - 1 are overwritten by these
 *
 * Within a block of 16, words j and j + 8 make numbers j and j + 8.
 *
 * ATen's vector code rounds the angle to float32, and so does this code.  That is most of the error.
 * Everything else is in double, so that the numbers do not depend on the logf and cosf of a library.  CPU
 * and GPU draw the same numbers, except for a last bit now and then.
 *
 * A dr_rng is a plain value: copy it to fork the stream.  Threads: one at a time. */
#ifndef DR_KERNELS_RNG_H
#define DR_KERNELS_RNG_H

#include "kernels/host_device.h"

#include <stdbool.h>

enum {
    DR_RNG_WORDS = 624,  /* words of a state: MT19937's n */
    DR_RNG_MIDDLE = 397, /* its m */
    DR_RNG_BLOCK = 16,   /* so many numbers are transformed together; fewer are drawn one by one */
};

typedef struct dr_rng {
    uint32_t state[DR_RNG_WORDS];
    int32_t next; /* index of the next word in state; DR_RNG_WORDS: all words are used */
    int32_t has_cached;
    double cached; /* the second number of a scalar pair */
} dr_rng;

#ifdef __cplusplus
extern "C" {
#endif

/* Begin a stream. */
void dr_rng_seed(dr_rng *rng, uint64_t seed);

/* Write n normal numbers to out: what one call of torch.randn() with n elements gives, whatever its shape. */
void dr_rng_randn(dr_rng *rng, float *out, size_t n);

#ifdef __cplusplus
}
#endif

/* --- the parts, for code that draws many at once ------------------------------------------------------ */

/* A word of the next state.  `middle` is from the next state if it comes before this word there, else from
 * this state. */
static inline DR_HD uint32_t dr_rng_twist(uint32_t word, uint32_t after, uint32_t middle)
{
    const uint32_t mixed = (word & 0x80000000u) | (after & 0x7fffffffu);

    return middle ^ mixed >> 1 ^ (after & 1 ? 0x9908b0dfu : 0);
}

static inline DR_HD uint32_t dr_rng_temper(uint32_t y)
{
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ y >> 18;
}

/* Make two numbers from two words. */
static inline DR_HD void dr_rng_pair(uint32_t first, uint32_t second, float *cosine, float *sine)
{
    const float unit = 0x1p-24f; /* words as floats in [0, 1) */
    const double radius = sqrt(-2.0 * log(1.0 - (double)((float)(first & 0xffffff) * unit)));
    const double angle = 6.283185307179586476925f * ((float)(second & 0xffffff) * unit);

    *cosine = (float)(radius * cos(angle));
    *sine = (float)(radius * sin(angle));
}

/* How many words are used for n >= DR_RNG_BLOCK numbers. */
static inline DR_HD size_t dr_rng_words(size_t n)
{
    return n % DR_RNG_BLOCK ? n + DR_RNG_BLOCK : n;
}

/* --- one by one ------------------------------------------------------------------------------------ */

static inline DR_HD uint32_t dr_rng_next_word(dr_rng *rng)
{
    uint32_t *s = rng->state;

    if (rng->next == DR_RNG_WORDS) {
        for (int i = 0; i < DR_RNG_WORDS; i++)
            s[i] = dr_rng_twist(s[i], s[(i + 1) % DR_RNG_WORDS], s[(i + DR_RNG_MIDDLE) % DR_RNG_WORDS]);
        rng->next = 0;
    }
    return dr_rng_temper(s[rng->next++]);
}

/* [0, 1) in steps of 2^-53; the high word is drawn first */
static inline DR_HD double dr_rng_uniform(dr_rng *rng)
{
    const uint64_t high = dr_rng_next_word(rng);
    const uint64_t word = high << 32 | dr_rng_next_word(rng);

    return (double)(word & ((UINT64_C(1) << 53) - 1)) * 0x1p-53;
}

/* One number of n < DR_RNG_BLOCK. */
static inline DR_HD float dr_rng_normal(dr_rng *rng)
{
    const double two_pi = 6.283185307179586476925;
    double u1, u2, radius;

    if (rng->has_cached) {
        rng->has_cached = 0;
        return (float)rng->cached;
    }
    u1 = dr_rng_uniform(rng);
    u2 = dr_rng_uniform(rng);
    radius = sqrt(-2.0 * log1p(-u2));
    rng->cached = radius * sin(two_pi * u1);
    rng->has_cached = 1;
    return (float)(radius * cos(two_pi * u1));
}

#endif

#include "model/rng.h"

#include <math.h>

enum {
    WORDS = 624,  /* of state: MT19937's n */
    MIDDLE = 397, /* its m */
    BLOCK = 16,   /* numbers that normal_fill transforms together */
};

static const double two_pi = 6.283185307179586476925;

void dr_rng_seed(dr_rng *rng, uint64_t seed)
{
    rng->state[0] = (uint32_t)seed;
    for (uint32_t j = 1; j < WORDS; j++) {
        const uint32_t last = rng->state[j - 1];

        rng->state[j] = 1812433253u * (last ^ (last >> 30)) + j;
    }
    rng->next = WORDS;
    rng->has_cached = false;
    rng->cached = 0.0;
}

static uint32_t twist(uint32_t high, uint32_t low)
{
    const uint32_t mixed = (high & 0x80000000u) | (low & 0x7fffffffu);

    return (mixed >> 1) ^ (low & 1 ? 0x9908b0dfu : 0);
}

static void next_state(uint32_t *s)
{
    for (int i = 0; i < WORDS; i++)
        s[i] = s[(i + MIDDLE) % WORDS] ^ twist(s[i], s[(i + 1) % WORDS]);
}

static uint32_t next_word(dr_rng *rng)
{
    uint32_t y;

    if (rng->next == WORDS) {
        next_state(rng->state);
        rng->next = 0;
    }
    y = rng->state[rng->next++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
}

/* [0, 1) in steps of 2^-24 */
static float uniform_float(dr_rng *rng)
{
    return (float)(next_word(rng) & 0xffffff) * 0x1p-24f;
}

/* [0, 1) in steps of 2^-53; the high word is drawn first */
static double uniform_double(dr_rng *rng)
{
    const uint64_t high = next_word(rng);
    const uint64_t word = high << 32 | next_word(rng);

    return (double)(word & ((UINT64_C(1) << 53) - 1)) * 0x1p-53;
}

/* Box-Muller in place: u[j] and u[j + 8] become a pair.  ATen's vector code rounds the angle to
 * float32, and so do we: it is most of its error.  All else is in double, so that the numbers don't
 * depend on whose logf and cosf they were linked with. */
static void normal_block(float u[BLOCK])
{
    for (int j = 0; j < BLOCK / 2; j++) {
        const double radius = sqrt(-2.0 * log(1.0 - (double)u[j]));
        const double angle = (float)two_pi * u[j + BLOCK / 2];

        u[j] = (float)(radius * cos(angle));
        u[j + BLOCK / 2] = (float)(radius * sin(angle));
    }
}

static void uniform_fill(dr_rng *rng, float *out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = uniform_float(rng);
}

/* The last block overlaps the one before where n is no multiple of 16: it is drawn anew. */
static void normal_fill(dr_rng *rng, float *out, size_t n)
{
    uniform_fill(rng, out, n);
    for (size_t i = 0; i + BLOCK <= n; i += BLOCK)
        normal_block(out + i);
    if (n % BLOCK) {
        uniform_fill(rng, out + n - BLOCK, BLOCK);
        normal_block(out + n - BLOCK);
    }
}

static double normal_scalar(dr_rng *rng)
{
    double u1, u2, radius;

    if (rng->has_cached) {
        rng->has_cached = false;
        return rng->cached;
    }
    u1 = uniform_double(rng);
    u2 = uniform_double(rng);
    radius = sqrt(-2.0 * log1p(-u2));
    rng->cached = radius * sin(two_pi * u1);
    rng->has_cached = true;
    return radius * cos(two_pi * u1);
}

void dr_rng_randn(dr_rng *rng, float *out, size_t n)
{
    if (n >= BLOCK) {
        normal_fill(rng, out, n);
        return;
    }
    for (size_t i = 0; i < n; i++)
        out[i] = (float)normal_scalar(rng);
}

#include "kernels/rng.h"

void dr_rng_seed(dr_rng *rng, uint64_t seed)
{
    rng->state[0] = (uint32_t)seed;
    for (uint32_t j = 1; j < DR_RNG_WORDS; j++) {
        const uint32_t last = rng->state[j - 1];

        rng->state[j] = 1812433253u * (last ^ (last >> 30)) + j;
    }
    rng->next = DR_RNG_WORDS;
    rng->has_cached = 0;
    rng->cached = 0.0;
}

static void normal_block(dr_rng *rng, float *out)
{
    uint32_t word[DR_RNG_BLOCK];

    for (int i = 0; i < DR_RNG_BLOCK; i++)
        word[i] = dr_rng_next_word(rng);
    for (int j = 0; j < DR_RNG_BLOCK / 2; j++)
        dr_rng_pair(word[j], word[j + DR_RNG_BLOCK / 2], &out[j], &out[j + DR_RNG_BLOCK / 2]);
}

void dr_rng_randn(dr_rng *rng, float *out, size_t n)
{
    const size_t whole = n - n % DR_RNG_BLOCK;

    if (n < DR_RNG_BLOCK) {
        for (size_t i = 0; i < n; i++)
            out[i] = dr_rng_normal(rng);
        return;
    }
    for (size_t i = 0; i < whole; i += DR_RNG_BLOCK)
        normal_block(rng, out + i);
    if (whole == n)
        return;
    for (size_t i = whole; i < n; i++)
        dr_rng_next_word(rng);
    normal_block(rng, out + n - DR_RNG_BLOCK);
}

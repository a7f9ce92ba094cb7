/* rng.h - torch's CPU random stream: torch.Generator("cpu").manual_seed(seed).
 *
 * MT19937 (Matsumoto & Nishimura 1998), seeded with the low 32 bits; normal numbers by
 * Box-Muller in the order and precision of ATen's normal_fill (16 and more) and of
 * normal_distribution<double> (fewer).  A plain value: copy it to fork a stream.  One thread. */
#ifndef DR_MODEL_RNG_H
#define DR_MODEL_RNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct dr_rng {
    uint32_t state[624];
    int next;
    bool has_cached;
    double cached; /* the second number of a scalar pair */
} dr_rng;

void dr_rng_seed(dr_rng *rng, uint64_t seed);

/* torch.randn(n): what one call with n elements gives, whatever its shape. */
void dr_rng_randn(dr_rng *rng, float *out, size_t n);

#endif

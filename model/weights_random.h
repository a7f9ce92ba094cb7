/* weights_random.h - the values of a tensor that no file holds.
 *
 * A value depends on (seed, name, its place) alone: the same on every machine and in any order of
 * asking.  Matrices are uniform with variance 1 / fan-in, which keeps activations at their size from
 * layer to layer; norms' weights are near 1 and biases near 0.
 *
 * Counter based, as Salmon et al. 2011 ("Parallel random numbers: as easy as 1, 2, 3"), with the 32-bit
 * finaliser `lowbias32` of C. Wellons: good enough to look random, cheap enough for a billion. */
#ifndef DR_MODEL_WEIGHTS_RANDOM_H
#define DR_MODEL_WEIGHTS_RANDOM_H

#include <stdint.h>

void dr_random_tensor(float *to, uint64_t seed, const char *name, const int64_t *shape, int dims);

#endif

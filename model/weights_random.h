/* weights_random.h - values of tensors that are in no file.
 *
 * A value depends only on the seed, the tensor's name and its place in the tensor.  So it is the same on
 * every machine, and in whatever order tensors are asked for.  Matrices are uniform with variance 1 /
 * fan-in, so activations keep their size from layer to layer.  Weights of norms are near 1, biases near 0.
 *
 * The generator is counter based like those of Salmon et al. 2011 ("Parallel random numbers: as easy as 1,
 * 2, 3"), with the 32-bit finaliser `lowbias32` of C. Wellons.  It looks random enough, and is cheap
 * enough for a billion values. */
#ifndef DR_MODEL_WEIGHTS_RANDOM_H
#define DR_MODEL_WEIGHTS_RANDOM_H

#include <stdint.h>

/* Write the product of shape[dims] values to `to`.  Any thread may call. */
void dr_random_tensor(float *to, uint64_t seed, const char *name, const int64_t *shape, int dims);

#endif

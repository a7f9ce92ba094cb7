/* cuda_shim_kernels.h - small kernels, right and wrong, that show what the shim sees.  One block each, of `threads`,
 * over out[threads]. */
#ifndef DR_TESTS_CUDA_SHIM_KERNELS_H
#define DR_TESTS_CUDA_SHIM_KERNELS_H

#include "tests/cuda_shim_run.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum shim_sample {
    SAMPLE_REVERSE,           /* out[i] = n - 1 - i, through shared memory */
    SAMPLE_MISSING_BARRIER,   /* the same, without its barrier */
    SAMPLE_REUSED_TOO_SOON,   /* twice, without the barrier before the second */
    SAMPLE_UNINITIALISED,     /* reads what nobody wrote */
    SAMPLE_DIVERGENT_BARRIER, /* even threads at one __syncthreads(), odd ones at another */
    SAMPLE_EARLY_EXIT,        /* thread 5 is gone before the barrier */
    SAMPLE_DIVERGENT_SHUFFLE, /* thread 3 is gone before a shuffle of the whole warp */
    SAMPLE_COPY,              /* out[i] = i by cp.async, in groups of two */
    SAMPLE_COPY_NO_WAIT,
    SAMPLE_COPY_ONE_GROUP_SHORT, /* waits, but for the newer group not */
    SAMPLE_COPY_MISALIGNED,
    SAMPLE_COPY_LEFT_BEHIND, /* never waited for */
    SAMPLE_MISALIGNED_LOAD,
    SAMPLE_SUM, /* out[i] = sum over the warp */
} shim_sample;

/* stream: NULL where no runtime is made up. */
void shim_run_sample(void *stream, shim_sample sample, float *out, int threads);

/* d [16, 8] = a [16, 16] b [16, 8] by one warp, through shared memory, ldmatrix and mma.  a and b hold 16-bit
 * values, f16 or bf16, row by row. */
void shim_run_product(float *d, const uint16_t *a, const uint16_t *b, bool bf16);

#ifdef __cplusplus
}
#endif

#endif

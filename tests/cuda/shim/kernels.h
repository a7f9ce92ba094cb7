/* kernels.h - small kernels, right and wrong, that show what the shim detects.  Each has one block of
 * `threads` threads, over out[threads]. */
#ifndef DR_TESTS_CUDA_SHIM_KERNELS_H
#define DR_TESTS_CUDA_SHIM_KERNELS_H

#include "tests/cuda/shim/run.h"

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
    SAMPLE_COPY_ONE_GROUP_SHORT, /* waits, but not for the newer group */
    SAMPLE_COPY_MISALIGNED,
    SAMPLE_COPY_LEFT_BEHIND, /* never waited for */
    SAMPLE_MISALIGNED_LOAD,
    SAMPLE_SUM,   /* out[i] = sum over the warp */
    SAMPLE_LARGE, /* the same, with more shared memory than sm_86 has */
} shim_sample;

/* stream: NULL where no runtime is made up. */
void shim_run_sample(void *stream, shim_sample sample, float *out, int threads);

/* d [16, 8] = a [16, 16] b [16, 8] by one warp, through shared memory, ldmatrix and mma.  a and b hold 16-bit
 * values, f16 or bf16, row by row. */
void shim_run_product(float *d, const uint16_t *a, const uint16_t *b, bool bf16);

/* d [64, n] = a [64, k] b [k, n] by one warpgroup (kernels/cuda_wgmma.h), of what shared memory holds.  Of
 * 8-bit values there are 2 k, two where another has one. */
enum { WGMMA_M = 64, WGMMA_N_MAX = 256, WGMMA_K = 64 };
typedef enum wgmma_mistake {
    WGMMA_RIGHT,
    WGMMA_NO_WAIT,         /* the sums are used before they are there */
    WGMMA_MEMORY_TOO_SOON, /* shared memory is changed before the wait */
    WGMMA_A_TOO_SOON,      /* A's registers are */
    WGMMA_SUMS_TOO_SOON,   /* and D's */
    WGMMA_NO_FENCE,        /* wgmma.fence */
    WGMMA_NO_PROXY_FENCE,  /* fence.proxy.async */
    WGMMA_NO_COMMIT,
    WGMMA_WARP_MISSING, /* one has left */
    WGMMA_OUTSIDE,      /* a matrix that ends behind the block's memory */
    WGMMA_MISALIGNED,   /* a matrix that starts at a multiple of 8 bytes */
    WGMMA_IN_PATTERN,   /* one that starts within a swizzle's pattern */
} wgmma_mistake;

typedef struct shim_wgmma_run {
    const void *shared; /* what shared memory shall hold: a, then at b_at, b */
    const uint16_t *a;  /* [64, k], for A in registers */
    float *d;           /* [64, n] */
    size_t shared_bytes, b_at;
    wgmma_mistake mistake;
} shim_wgmma_run;

/* Matrices as dr_wgmma_matrix() has them, both of one swizzle (bytes, 0: none); how they lie is said by
 * shim_test.c. */
void shim_run_wgmma(const shim_wgmma_run *r, int n, int swizzle, bool a_in_registers, bool mn_major,
                    shim_format format); /* of 8 bits: neither */

#ifdef __cplusplus
}
#endif

#endif

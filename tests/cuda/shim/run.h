/* run.h - runs CUDA kernels on the host, for tests.  This is what a test and the shim's own parts see.
 *
 * A .cu file compiled by g++ with tests/cuda/shim/shim.h has the launchers of kernels/cuda.h as ordinary
 * functions.  A launch runs at once (or when a made-up stream comes to it: shim_stream), block after
 * block, each thread of a block a coroutine:
 *
 *     launch:   for each block, in shuffled order
 *                   shared memory all ones (NaN in every float format)
 *                   until all threads have left the kernel:
 *                       warps in shuffled order, their lanes in shuffled order:
 *                           run until a barrier, or an instruction of the whole warp
 *                       one warp, now this and now that, only when no other can
 *
 * A thread runs far ahead of its neighbours until something makes it wait for them.  So it shows when a
 * kernel assumes something that it does not ensure: shared memory that is read before a neighbour wrote it is
 * NaN; data that cp.async copies is NaN until the wait for it; a product of a warpgroup (wgmma) is done when
 * it is committed or when it is waited for, by chance, from what shared memory holds then; a barrier that
 * some threads do not reach, or reach elsewhere, is an error that names kernel, block and thread.  Global
 * memory is the host's: run under AddressSanitizer.  What it does not see: races between lanes that the
 * shuffled order happens to hide (run several seeds), bank conflicts, registers, time.
 *
 * One thread of the program uses all of this. */
#ifndef DR_TESTS_CUDA_SHIM_RUN_H
#define DR_TESTS_CUDA_SHIM_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* --- tests -------------------------------------------------------------------------- */

/* Forgets the last error.  From here on order follows from this seed. */
void shim_seed(uint64_t seed);

/* Returns the error of the first launch since shim_seed() that went wrong; NULL: none did.  After an error,
 * launches do nothing. */
const char *shim_error(void);

/* --- what shim.h is made of ----------------------------------------------------- */

enum {
    SHIM_LANES = 32,
    SHIM_GROUP_LANES = 128,
    SHIM_THREADS_MAX = 1024,           /* of a block */
    SHIM_SHARED_BYTES_MAX = 227 << 10, /* sm_90's for one block */
    SHIM_SHARED_BYTES_OF_ALL =
        99 << 10, /* the limit of sm_86 and sm_89: a kernel without Hopper's products may not use more */
    SHIM_SHARED_BASE =
        1 << 10, /* the address where a block's shared memory begins: the first KiB is not the block's */
};

typedef struct shim_size {
    unsigned x, y, z;
} shim_size;

typedef struct shim_grid {
    const char *kernel;
    shim_size blocks; /* gridDim */
    unsigned threads; /* blockDim.x: our blocks have one dimension */
    size_t shared_bytes;
    void (*body)(const void *args);
    const void *args;
    size_t args_bytes;
} shim_grid;

/* A <<< >>> becomes this call.  It hands the grid to shim_stream, or runs it. */
void shim_launch(void *stream, const shim_grid *grid);

/* Where launches go; it may copy what the grid points to.  NULL: each runs at once, whatever its stream. */
typedef void shim_launcher(void *stream, const shim_grid *grid);
extern shim_launcher *shim_stream;

/* Runs all blocks of a grid, before it returns. */
void shim_run_grid(const shim_grid *grid);

/* A number that follows from the seed, and how many there were. */
uint32_t shim_random_below(uint32_t limit);

/* The thread that runs now. */
unsigned shim_thread_index(void);
shim_size shim_block_index(void);
const shim_grid *shim_running(void);
void *shim_shared(void);

/* Called when the kernel did something that is an error on a GPU. */
void shim_fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* __syncthreads() in this line of the source. */
void shim_barrier(int line);

/* An instruction that the lanes of `mask` execute together, or all those of a warpgroup: the last to
 * arrive runs it for all.  operands[i] is what lane i brought, NULL for a lane outside the mask. */
typedef struct shim_instruction {
    const char *name;
    void (*run)(void *const operands[]);
    unsigned lanes; /* SHIM_LANES or SHIM_GROUP_LANES */
} shim_instruction;
void shim_together(const shim_instruction *instruction, uint32_t mask, int line, void *operands);

/* cp.async: 16 bytes (zeros where `from` is NULL) that arrive at the wait for their group. */
void shim_copy_async(void *to, const void *from);
void shim_copy_commit(void);
void shim_copy_wait(int groups_left); /* all but the newest so many groups are there */

/* warp.c.  Lane i's operand of each: */
typedef struct shim_shuffle {
    uint32_t value; /* in: this lane's, out: the source lane's */
    int source;
} shim_shuffle;

typedef struct shim_ldmatrix {
    const void *row; /* lane i: 8 values, row i % 8 of matrix i / 8; in shared memory, 16-byte aligned */
    bool transposed;
    uint32_t out[4];
} shim_ldmatrix;

typedef struct shim_mma {
    const uint32_t *a, *b; /* [4], [2] pairs of 16-bit values */
    float *c;              /* [4], read and written */
    bool bf16;
} shim_mma;

/* Returns the shared-memory address of a place in the block's memory.  It is an error if the place is not in
 * the block's memory, or not at a multiple of 16. */
uint32_t shim_shared_address(const void *at);

/* The operands' pieces lie over the lanes as the PTX ISA draws them ("Matrix Fragments for mma.m16n8k16",
 * "Warp-level matrix load instruction: ldmatrix"). */
extern const shim_instruction shim_syncwarp_instruction, shim_shuffle_instruction, shim_ldmatrix_instruction,
    shim_mma_instruction;

/* wgmma.c.  Lane i's operand: */
typedef enum shim_format { SHIM_F16, SHIM_BF16, SHIM_E4M3 } shim_format;
typedef struct shim_wgmma {
    float *
        d; /* [n / 2]; belongs to the product until the wait: NaN if it is read, and it must not be written */
    const uint32_t *a; /* [4], read when the product is done; NULL: the matrix at a_matrix */
    uint64_t a_matrix, b_matrix;
    int n;
    bool a_mn_major, b_mn_major, add;
    shim_format format;
} shim_wgmma;

extern const shim_instruction shim_wgmma_instruction, shim_wgmma_fence_instruction,
    shim_wgmma_commit_instruction,
    shim_wgmma_wait_instruction; /* its operand: int *, how many groups may be left */

void shim_wgmma_begin(void);        /* a block */
bool shim_wgmma_is_in_flight(void); /* of this thread's warpgroup */
bool shim_wgmma_is_used(void);      /* by the last grid */
void shim_wgmma_begin_grid(void);   /* nothing is in flight, and none was used */

/* fence.proxy.async: products now see the data that this thread's earlier cp.async brought. */
void shim_async_proxy_fence(void);
void shim_wgmma_copied(const void *to); /* 16 bytes, by this thread's cp.async */

#ifdef __cplusplus
}
#endif

#endif

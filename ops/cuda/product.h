/* product.h - one matrix product as cuBLASLt sees it, and which of its kernels does it.
 *
 * The library's matrices are column by column, ours row by row: what we call y = x W^T is to it Y = W^T X with
 *
 *     W   [in, out], transposed      X   [in, tokens]      Y   [out, tokens]
 *
 * so that the bias, one value a row of Y, is what its epilogue adds.
 *
 * Which kernel.  The library offers several, in the order in which it thinks that they are fast, and another kernel
 * sums in another order.  Two things must not depend on the choice: a row's bits in company and alone, and the bits on
 * one machine and on another of its kind.  So a kernel is chosen once for each way of being called, while planning, and
 * used for any number of rows: cuBLASLt names candidates for CUDA_ROWS_PLANNED rows, none that splits the sum over `in`
 * over blocks, and choose.h tries them.
 *
 * In 8 bits (storage DR_E4M3) the library's kernels for compute capability 9.0 take just this arrangement, dimensions and
 * addresses in multiples of 16 bytes, and give 16 bits.  Hopper's tensor cores are said to keep about 14 bits of such a sum
 * (DeepSeek-V3's technical report, 3.3.2): kernels are asked for that add it to one in float32 every now and then, and take
 * longer (CUBLASLT_MATMUL_DESC_FAST_ACCUM 0).
 *
 * Of a device that is `fast` nothing but speed is asked: each number of rows has its own kernel, and that may split its
 * sums. */
#ifndef DR_OPS_CUDA_PRODUCT_H
#define DR_OPS_CUDA_PRODUCT_H

#include "ops/lanes.h"

#include <cublasLt.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct cuda_device cuda_device;

enum {
    CUDA_ROWS_PLANNED =
        16, /* eight pictures with guidance, where a GPU is full: performance matters most there */
};

/* One way of being called.  No padding: ways are compared, and kept in files, as bytes. */
typedef struct cuda_way {
    int32_t in, out;
    int32_t storage, y_dtype; /* dr_dtype: of x and weight; of all else */
    int32_t has_bias;
    int32_t tokens;                                     /* of a row */
    int32_t x_ld, y_ld, added_ld;                       /* added: the residual; 0 and 0 without */
    uint32_t x_alignment, y_alignment, added_alignment; /* bytes, of the tensor and each of its tokens */
    int64_t rows;                                       /* fast: how many; else 0: for any number */
} cuda_way;

/* y = scale x W^T + bias + added, on the device; bias has y's dtype and 16-byte alignment. */
typedef struct cuda_product_args {
    dr_lane lane; /* each has its workspace: its products follow one another */
    const void *weight, *x;
    float scale;              /* a power of two, which rounds nothing: kernels are chosen with 1 */
    const void *bias, *added; /* NULL: none.  added may be y */
    void *y;
    size_t tokens; /* of all rows */
} cuda_product_args;

/* Tokens of all rows that a kernel is chosen for. */
size_t cuda_way_columns(const cuda_way *way);

/* The largest power of two up to 16 that the address and the distance of tokens allow. */
uint32_t cuda_alignment(const void *data, int ld, size_t value_bytes);

/* Enqueues it.  A kernel that refuses: DR_EDEVICE, and the device is not lost. */
dr_status cuda_product_start(cuda_device *d, const cuda_way *way, const cublasLtMatmulAlgo_t *algo,
                             const cuda_product_args *a, dr_error *err);

/* Can the kernel do that many tokens, in our workspace?  Asks only. */
dr_status cuda_product_check(cuda_device *d, const cuda_way *way, const cublasLtMatmulAlgo_t *algo,
                             size_t tokens, dr_error *err);

/* The library's candidates, at least one and at most DR_CUDA_CANDIDATES_MAX.  None: DR_EUNSUPPORTED. */
dr_status cuda_product_candidates(cuda_device *d, const cuda_way *way, cublasLtMatmulAlgo_t *algo, int *count,
                                  dr_error *err);

/* Tries them.  DR_EUNSUPPORTED: there is none whose rows keep their bits.  Else as cuda_choose(). */
dr_status cuda_product_choose(cuda_device *d, const cuda_way *way, cublasLtMatmulAlgo_t *algo, dr_error *err);

#endif

/* product.h - one matrix product in the terms of cuBLASLt, and the choice of the library's kernel for it.
 *
 * The library stores matrices column by column, we store them row by row.  What we call y = x W^T is for
 * the library Y = W^T X with
 *
 *     W   [in, out], transposed      X   [in, tokens]      Y   [out, tokens]
 *
 * so its epilogue can add the bias, which has one value for each row of Y.
 *
 * The library offers several kernels, ordered by its own estimate of their speed.  Different kernels sum
 * in different orders.  Two things must not depend on the choice: whether a row has the same bits alone
 * and with other rows, and whether two machines of one kind compute the same bits.  So a kernel is chosen
 * once for each way of calling a product, while planning, and is used for any number of rows. cuBLASLt
 * names candidates for CUDA_ROWS_PLANNED rows, without the kernels that split the sum over `in` over
 * several blocks. choose_library_kernel.h tries them.
 *
 * In 8 bits (storage DR_E4M3) the library's kernels for compute capability 9.0 accept only this
 * arrangement, with dimensions and addresses in multiples of 16 bytes.  Their results have 16 bits.
 * Hopper's tensor cores are said to keep about 14 bits of such a sum (DeepSeek-V3's technical report,
 * 3.3.2).  So we ask for kernels that add the short sum to a float32 sum every now and then
 * (CUBLASLT_MATMUL_DESC_FAST_ACCUM 0).  These take longer.
 *
 * On a device that is `fast` only speed counts: each number of rows has its own kernel, which may split
 * its sums. */
#ifndef DR_OPS_CUDA_PRODUCT_H
#define DR_OPS_CUDA_PRODUCT_H

#include "ops/lanes.h"

#include <cublasLt.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct cuda_device cuda_device;

/* Eight pictures with guidance.  With so many a GPU is full, and speed matters most. */
enum { CUDA_ROWS_PLANNED = 16 };

/* One way of calling a product.  It has no padding, because ways are compared and kept in files as bytes. */
typedef struct cuda_way {
    int32_t in, out;
    int32_t storage, y_dtype; /* dr_dtype: of x and weight; of all else */
    int32_t has_bias;
    int32_t tokens;               /* of a row */
    int32_t x_ld, y_ld, added_ld; /* added is the residual; without a residual, ld and alignment are 0 */
    uint32_t x_alignment, y_alignment, added_alignment; /* bytes, of the tensor and each of its tokens */
    int64_t rows; /* 0: any number; on a fast device: the number of rows */
} cuda_way;

/* y = scale x W^T + bias + added, on the device. bias has y's dtype and 16-byte alignment. */
typedef struct cuda_product_args {
    dr_lane lane; /* each lane has its own workspace, because its products follow one another */
    const void *weight, *x;
    float scale; /* a power of two, which rounds nothing; so kernels can be chosen with scale 1 */
    const void *bias, *added; /* NULL: none.  added may be y */
    void *y;
    size_t tokens; /* of all rows */
} cuda_product_args;

/* For how many tokens, of all rows together, a kernel is chosen. */
size_t cuda_way_columns(const cuda_way *way);

/* The alignment of every token, in bytes: the largest power of two up to 16 that the address and the
 * distance from one token to the next (ld, in values) allow. */
uint32_t cuda_alignment(const void *data, int ld, size_t value_bytes);

/* Enqueues a product.  DR_EDEVICE: the device is lost.  If cuda_check_alive() is still DR_OK after it,
 * only the kernel refused. */
dr_status cuda_product_start(cuda_device *d, const cuda_way *way, const cublasLtMatmulAlgo_t *algo,
                             const cuda_product_args *a, dr_error *err);

/* Asks whether the kernel can do so many tokens in our workspace.  DR_OK: it can.  Nothing runs. */
dr_status cuda_product_check(cuda_device *d, const cuda_way *way, const cublasLtMatmulAlgo_t *algo,
                             size_t tokens, dr_error *err);

/* The library's candidates: algo[*count], at least one and at most DR_CUDA_CANDIDATES_MAX.
 * DR_EUNSUPPORTED: it has none. */
dr_status cuda_product_candidates(cuda_device *d, const cuda_way *way, cublasLtMatmulAlgo_t *algo, int *count,
                                  dr_error *err);

/* Tries the candidates and chooses one.  DR_EUNSUPPORTED: no candidate keeps the bits of a row.  Other
 * errors are those of cuda_choose(). */
dr_status cuda_product_choose(cuda_device *d, const cuda_way *way, cublasLtMatmulAlgo_t *algo, dr_error *err);

#endif

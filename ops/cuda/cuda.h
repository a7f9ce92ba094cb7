/* cuda.h - a device of the CUDA backend: cuBLASLt, cuDNN and our kernels (kernels/cuda.h), with a stream
 * for each lane.
 *
 *     host                        device (a stream: in order)
 *     upload   fills a buffer  -> copy
 *     operator enqueues        -> kernel ... kernel
 *     landing                  <- copy, a mark
 *     download waits for       <- copy
 *
 * Channels are last.  Weights and activations are in `storage` (bf16 or f16).  Sums, statistics and
 * softmax are float32.
 *
 * A failure on the device is seen later, at any call.  These calls wait for the device: a download, a
 * wait for a mark, freeing memory, and closing.  An upload waits too, if all of the staging buffers are
 * in use.
 *
 * The files, from the bottom up.  Each calls only those before it (tests/circles.sh):
 *
 *     libraries, plans, hash, dnn_descriptor, dnn_graph    know no device
 *     check                                                what becomes of an error
 *     memory                                               blocks, copies
 *     lanes, recording                                     streams, events, graphs
 *     choose, product, dnn_kernels                         which of a library's kernels does what
 *     dnn_conv, dnn_attention, linear, conv, norm, attention, elementwise, sampling        operators.h
 *     self_check                                           whether our kernels compute what they should
 *     device                                               finds, opens, closes; the table of functions
 *
 * Only ops/cuda includes this. */
#ifndef DR_OPS_CUDA_CUDA_H
#define DR_OPS_CUDA_CUDA_H

#include "ops/backend.h"
#include "ops/cuda/dnn_kernels.h"
#include "ops/cuda/libraries.h"
#include "ops/cuda/plans.h"

#include <cuda_runtime_api.h>

/* Pinned memory that copies go through, buffer after buffer. */
typedef struct cuda_staging {
    char *memory;                                /* DR_CUDA_STAGING_BUFFERS of DR_CUDA_STAGING_BYTES */
    cudaEvent_t copied[DR_CUDA_STAGING_BUFFERS]; /* event after a buffer's last copy */
    unsigned next;                               /* counts uses: the next buffer is the remainder */
} cuda_staging;

/* An allocated block.  Its size is needed when it is freed. */
typedef struct cuda_block {
    void *memory;
    size_t bytes;
} cuda_block;

struct cuda_device {
    dr_device base;
    char name[16]; /* "cuda:0" */
    int ordinal;
    bool fast;                         /* see dr_device_options */
    bool wgmma_attention, wgmma_convs; /* our kernels use Hopper's products */
    bool fp8_convs, fp8_linears;       /* layers are multiplied in 8 bits where they may be */
    cudaStream_t stream[DR_LANES];
    cudaEvent_t passed[DR_LANES]; /* for other lanes that wait for this one; good for one wait at a time */
    cuda_staging staging;

    size_t memory_max, memory_used;
    cuda_block *block; /* [blocks]; there is room for block_room */
    size_t blocks, block_room;

    cuda_blas blas;
    cuda_dnn dnn;
    cublasLtHandle_t blas_handle;
    /* DR_CUDA_BLAS_WORKSPACE_BYTES each.  A lane needs only one, because its products follow one another. */
    void *blas_workspace[DR_LANES];
    cudnnHandle_t dnn_handle; /* NULL: cuDNN does nothing */
    bool dnn_convolves, dnn_attends;
    cuda_dnn_kernels dnn_kernels;
    int recordings; /* number of recordings, including the one that is being written */

    cuda_plans plans; /* which kernel does which product or convolution */

    dr_error lost; /* status DR_OK until the device is lost */
};

static inline cuda_device *cuda_of(dr_device *device)
{
    return (cuda_device *)device;
}

/* The stream that an operator puts its work on. */
static inline cudaStream_t cuda_stream(const dr_pass *p)
{
    return cuda_of(p->device)->stream[p->lane];
}

#endif

/* cuda.h - the CUDA backend: cuBLASLt, cuDNN and our kernels (kernels/cuda.h), a stream for each lane (ops/lanes.h).
 *
 *     host                        device (a stream: in order)
 *     upload   fills a pinned  -> copy
 *     operator enqueues        -> kernel ... kernel
 *     landing                  <- copy, a mark
 *     download waits for       <- copy
 *
 * Channels last; weights and activations in `storage` (bf16 or f16), sums, statistics and softmax in float32.  What fails on
 * the device is seen later, at any call.  What waits for it: a download, a mark, freeing memory, close; and an upload,
 * when all of the staging is on its way.
 *
 * Out of memory is an answer like others; every other failure of the CUDA runtime is taken as the end of the device
 * (cuda_check), for after most of them nothing in its memory can be had: from then on every call fails.
 *
 * Only ops/cuda includes this. */
#ifndef DR_OPS_CUDA_CUDA_H
#define DR_OPS_CUDA_CUDA_H

#include "ops/backend.h"
#include "ops/cuda/dnn_attention.h"
#include "ops/cuda/dnn_conv.h"
#include "ops/cuda/dnn_kernels.h"
#include "ops/cuda/libraries.h"
#include "ops/cuda/plans.h"
#include "ops/cuda/product.h"

#include <cuda_runtime_api.h>

/* Pinned memory that copies go through, slot after slot; an event says when a slot's last copy is done. */
typedef struct cuda_staging {
    char *memory; /* DR_CUDA_STAGING_SLOTS of DR_CUDA_STAGING_BYTES */
    cudaEvent_t copied[DR_CUDA_STAGING_SLOTS];
    unsigned next;
} cuda_staging;

/* What was allocated, to know its size when it is freed. */
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
    cudaEvent_t passed[DR_LANES]; /* for lanes that wait for this one; good for one wait at a time */
    cuda_staging staging;

    size_t memory_max, memory_used;
    cuda_block *block; /* [blocks], of which block_room have place */
    size_t blocks, block_room;

    cuda_blas blas;
    cuda_dnn dnn;
    cublasLtHandle_t blas_handle;
    void *blas_workspace
        [DR_LANES]; /* DR_CUDA_BLAS_WORKSPACE_BYTES: a lane's products, convolutions, attention follow one another */
    cudnnHandle_t dnn_handle; /* NULL: nothing is cuDNN's */
    bool dnn_convolves, dnn_attends;
    cuda_dnn_kernels dnn_kernels;
    int recordings; /* that there are, or one is being written */

    cuda_plans plans; /* which kernel does which product or convolution */

    dr_error lost; /* status DR_OK until the device is */
};

static inline cuda_device *cuda_of(dr_device *device)
{
    return (cuda_device *)device;
}

/* Where an operator's work goes. */
static inline cudaStream_t cuda_stream(const dr_pass *p)
{
    return cuda_of(p->device)->stream[p->lane];
}

/* device.c: DR_OK where both the call and all before it went well.  `doing` is for the text: "copying to the device".
 * To be asked of every call of the CUDA runtime, and with cudaPeekAtLastError() after launching a kernel. */
dr_status cuda_check(cuda_device *d, cudaError_t code, const char *doing, dr_error *err);
dr_status cuda_launched(dr_pass *p,
                        const char *what); /* after one of our kernels: "attention".  Planning: DR_OK */
dr_status cuda_check_alive(const cuda_device *d, dr_error *err); /* DR_EDEVICE once it is lost */
void cuda_note_plans(cuda_device *d, const dr_error *why);       /* for dr_device_note() */

/* memory.c */
dr_status cuda_staging_open(cuda_device *d, dr_error *err);
void cuda_staging_close(cuda_device *d);
size_t cuda_memory_left(const dr_device *device);
dr_status cuda_alloc(void **out, dr_device *device, size_t bytes, dr_error *err);
void cuda_free(dr_device *device, void *memory);
dr_status cuda_upload(dr_device *device, void *to, const void *host, size_t bytes, dr_error *err);
dr_status cuda_upload_on(dr_device *device, dr_lane lane, void *to, const void *host, size_t bytes,
                         dr_error *err);
dr_status cuda_land(dr_device *device, dr_lane lane, void *pinned, const void *from, size_t bytes,
                    dr_error *err);
dr_status cuda_pinned_alloc(void **out, dr_device *device, size_t bytes, dr_error *err);
void cuda_pinned_free(dr_device *device, void *pinned);
dr_status cuda_download(dr_device *device, void *host, const void *from, size_t bytes, dr_error *err);
dr_status cuda_zero(dr_device *device, void *memory, size_t bytes, dr_error *err);

/* Values that are float32 on the host, as `storage`: to memory that there is; to new memory, which is freed with
 * cuda_free(). */
dr_status cuda_put(cuda_device *d, void *to, const float *host, size_t values, dr_dtype storage,
                   dr_error *err);
dr_status cuda_pack(cuda_device *d, void **out, const float *host, size_t values, dr_dtype storage,
                    dr_error *err);

/* lanes.c */
extern const dr_lanes_backend cuda_lanes;
dr_status cuda_lanes_open(cuda_device *d, dr_error *err);
void cuda_lanes_drain(cuda_device *d); /* of a half-open device too, whatever fails */
void cuda_lanes_close(cuda_device *d);

/* recording.c */
dr_status cuda_recording_begin(dr_device *device, dr_error *err);
dr_status cuda_recording_end(dr_recording **out, dr_device *device, dr_error *err);
dr_status cuda_recording_play(dr_recording *recording, dr_error *err);
void cuda_recording_free(dr_recording *recording);

/* linear.c */
dr_status cuda_linear_create(dr_linear **out, dr_device *device, const dr_linear_desc *desc, dr_error *err);
void cuda_linear_free(dr_linear *linear);
dr_status cuda_linear(dr_pass *p, const dr_linear_args *a);

/* conv.c */
dr_status cuda_conv_create(dr_conv **out, dr_device *device, const dr_conv_desc *desc, dr_error *err);
void cuda_conv_free(dr_conv *conv);
size_t cuda_conv2d_stats(const dr_conv2d_args *a);
dr_status cuda_conv2d(dr_pass *p, const dr_conv2d_args *a);

/* norm.c, attention.c */
dr_status cuda_group_norm(dr_pass *p, const dr_group_norm_args *a);
dr_status cuda_layer_norm(dr_pass *p, const dr_layer_norm_args *a);
dr_status cuda_attention(dr_pass *p, const dr_attention_args *a);

/* elementwise.c */
dr_status cuda_geglu(dr_pass *p, const dr_geglu_args *a);
dr_status cuda_activate(dr_pass *p, const dr_activate_args *a);
dr_status cuda_scale(dr_pass *p, const dr_scale_args *a);
size_t cuda_concat_stats(const dr_concat_args *a);
dr_status cuda_concat(dr_pass *p, const dr_concat_args *a);
dr_status cuda_gather(dr_pass *p, const dr_gather_args *a);
dr_status cuda_to_rgb8(dr_pass *p, const dr_to_rgb8_args *a);

/* sampling.c */
dr_status cuda_lookup(dr_pass *p, const dr_lookup_args *a);
dr_status cuda_timestep_embedding(dr_pass *p, const dr_timestep_embedding_args *a);
dr_status cuda_unet_input(dr_pass *p, const dr_unet_input_args *a);
dr_status cuda_noise(dr_pass *p, const dr_noise_args *a);
dr_status cuda_sampler_step(dr_pass *p, const dr_sampler_step_args *a);

#endif

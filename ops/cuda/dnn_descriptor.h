/* dnn_descriptor.h - the pieces of cuDNN's graph API: descriptors with attributes.  A descriptor is
 * finalized and then never changes.
 *
 * A maker makes descriptors one after the other and keeps all of them.  After the first failure it does
 * nothing more, so the caller only has to look at m->code at the end.  The library's rule for threads
 * holds: only one thread at a time uses a handle. */
#ifndef DR_OPS_CUDA_DNN_DESCRIPTOR_H
#define DR_OPS_CUDA_DNN_DESCRIPTOR_H

#include "ops/cuda/libraries.h"

#include <stdbool.h>
#include <stdint.h>

/* The device for which plans are made. */
typedef struct cuda_dnn_place {
    const cuda_dnn *dnn;
    cudnnHandle_t handle; /* of a device; NULL: of a device that is not here, with these properties */
    cudnnBackendDescriptor_t properties; /* such plans can be made but not run */
} cuda_dnn_place;

enum { CUDA_DNN_MADE_MAX = 32 };

typedef struct cuda_dnn_made {
    cudnnBackendDescriptor_t made[CUDA_DNN_MADE_MAX]; /* each refers only to those before it */
    int count;
} cuda_dnn_made;

typedef struct cuda_dnn_maker {
    const cuda_dnn_place *at;
    cuda_dnn_made *made;
    cudnnStatus_t code;
} cuda_dnn_maker;

/* A new descriptor, which the maker keeps; NULL after a failure.  An attribute is set before the
 * descriptor is finalized. */
cudnnBackendDescriptor_t cuda_dnn_make(cuda_dnn_maker *m, cudnnBackendDescriptorType_t type);
void cuda_dnn_set(cuda_dnn_maker *m, cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
                  cudnnBackendAttributeType_t type, int count, const void *values);
cudnnBackendDescriptor_t cuda_dnn_finalize(cuda_dnn_maker *m, cudnnBackendDescriptor_t d); /* returns d */

/* cuda_dnn_set() of one value. */
void cuda_dnn_set_one(cuda_dnn_maker *m, cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
                      cudnnBackendDescriptor_t value);
void cuda_dnn_set_number(cuda_dnn_maker *m, cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
                         int64_t value);
void cuda_dnn_set_type(cuda_dnn_maker *m, cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
                       cudnnDataType_t value);

/* Destroys all descriptors of the maker, the last one first. */
void cuda_dnn_destroy(const cuda_dnn *dnn, cudnnBackendDescriptor_t *made, int count);

/* A tensor of a graph.  In memory it starts at a multiple of 16 bytes. */
typedef struct cuda_dnn_tensor {
    int64_t name; /* unique in its graph */
    cudnnDataType_t type;
    int64_t sides[4], strides[4]; /* in the order of the operator; strides in values */
    bool is_virtual;              /* passed between operators, and never in memory */
    bool by_value;                /* one value, on the host */
} cuda_dnn_tensor;

/* The descriptor of a tensor, finalized; and cuDNN's name of a storage type. */
cudnnBackendDescriptor_t cuda_dnn_new_tensor(cuda_dnn_maker *m, const cuda_dnn_tensor *t);
cudnnDataType_t cuda_dnn_type(int32_t storage); /* dr_dtype: DR_F16, DR_BF16 */

#endif

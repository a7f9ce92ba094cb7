/* dnn_descriptor.h - the pieces of cuDNN's graph API: descriptors with attributes, which are finalized and then never
 * change.
 *
 * A maker makes them one after the other and keeps all of them; after the first failure it does nothing more, so that only
 * its end need be looked at.  The library's thread rules are a handle's: one thread at a time. */
#ifndef DR_OPS_CUDA_DNN_DESCRIPTOR_H
#define DR_OPS_CUDA_DNN_DESCRIPTOR_H

#include "ops/cuda/libraries.h"

#include <stdbool.h>
#include <stdint.h>

/* Where plans are for. */
typedef struct cuda_dnn_place {
    const cuda_dnn *dnn;
    cudnnHandle_t handle; /* of a device; or NULL, and */
    cudnnBackendDescriptor_t
        properties; /* those of one that is not here: plans can be made, and run nowhere */
} cuda_dnn_place;

enum { CUDA_DNN_MADE_MAX = 32 };

typedef struct cuda_dnn_made {
    cudnnBackendDescriptor_t made[CUDA_DNN_MADE_MAX]; /* each only of those before it */
    int count;
} cuda_dnn_made;

typedef struct cuda_dnn_maker {
    const cuda_dnn_place *at;
    cuda_dnn_made *made;
    cudnnStatus_t code;
} cuda_dnn_maker;

cudnnBackendDescriptor_t cuda_dnn_make(cuda_dnn_maker *m, cudnnBackendDescriptorType_t type);
void cuda_dnn_set(cuda_dnn_maker *m, cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
                  cudnnBackendAttributeType_t type, int count, const void *values);
cudnnBackendDescriptor_t cuda_dnn_finalize(cuda_dnn_maker *m, cudnnBackendDescriptor_t d); /* d */

/* One value. */
void cuda_dnn_set_one(cuda_dnn_maker *m, cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
                      cudnnBackendDescriptor_t value);
void cuda_dnn_set_number(cuda_dnn_maker *m, cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
                         int64_t value);
void cuda_dnn_set_type(cuda_dnn_maker *m, cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
                       cudnnDataType_t value);

void cuda_dnn_destroy(const cuda_dnn *dnn, cudnnBackendDescriptor_t *made, int count); /* the last first */

/* A tensor of a graph.  In memory: at multiples of 16 bytes. */
typedef struct cuda_dnn_tensor {
    int64_t name; /* in its graph */
    cudnnDataType_t type;
    int64_t sides[4], strides[4]; /* in the order of the operator; strides in values */
    bool is_virtual;              /* between operators, and never in memory */
    bool by_value;                /* one value, on the host */
} cuda_dnn_tensor;

cudnnBackendDescriptor_t cuda_dnn_new_tensor(cuda_dnn_maker *m, const cuda_dnn_tensor *t);
cudnnDataType_t cuda_dnn_type(int32_t storage); /* dr_dtype: DR_F16, DR_BF16 */

#endif

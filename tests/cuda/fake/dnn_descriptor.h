/* dnn_descriptor.h - what dnn.c and dnn_descriptor.c share; nobody else includes this. */
#ifndef DR_TESTS_CUDA_FAKE_DNN_DESCRIPTOR_H
#define DR_TESTS_CUDA_FAKE_DNN_DESCRIPTOR_H

#include "tests/cuda/fake/dnn.h"

enum { FAKE_DNN_MAGIC = 0x646e6e21, FAKE_DNN_VALUES_MAX = 16, FAKE_DNN_HANDLE = 0x68616e64 };

typedef struct fake_convolution {
    int64_t stride[2], before[2], after[2];
} fake_convolution;

/* One operation of a graph: a convolution (b: the weight), an addition, or attention. */
typedef struct fake_operation {
    bool convolves;
    fake_convolution convolution;
    fake_tensor x, b, y;
    bool attends;
    fake_tensor q, k, v, scale;
} fake_operation;

/* A descriptor: the attributes that were set and, once it is finalized, their meaning. */
typedef struct fake_descriptor {
    uint32_t magic;
    cudnnBackendDescriptorType_t type;
    bool finalized;
    struct fake_attribute {
        cudnnBackendAttributeName_t name;
        int64_t count;
        int64_t values[FAKE_DNN_VALUES_MAX]; /* 8 bytes for each value, whatever its type */
    } attribute[8];
    int attributes;
    union {
        fake_tensor tensor;
        fake_convolution convolution;
        fake_operation operation;
        fake_graph graph;
        fake_engine engine;
        fake_knob knob;
        fake_pack pack;
        struct {
            fake_graph graph;
            cudnnBackendHeurMode_t mode;
        } heuristic;
    } is;
} fake_descriptor;

/* Checks everything that the documentation demands of the descriptor. */
cudnnStatus_t fake_dnn_set(fake_descriptor *f, cudnnBackendAttributeName_t name,
                           cudnnBackendAttributeType_t type, int64_t count, const void *values);
cudnnStatus_t fake_dnn_finalize(fake_descriptor *f);

#endif

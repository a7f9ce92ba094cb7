/* dnn_conv.h - cuDNN's convolutions, the second family: layers in f16 or bf16 with whole 16-byte pixels.  (The first is
 * ours, kernels/conv.cu, and does all layers.)
 *
 *     way (a shape, but for how many rows)  ->  kernel, chosen once        the same for any number of rows
 *     kernel, rows                          ->  plan, made while planning  DR_CUDA_DNN_PLANS_MAX are kept
 *
 * Which family does a layer follows from a setting and the layer, never from what is fast: their bits differ.  Which of
 * cuDNN's kernels follows choose.h's rules, and is remembered in the device's plans.
 *
 * What is one for each row, as a resnet's timestep is, cuDNN's compiled kernels do not add.  It is written to y before, and
 * the convolution adds to that: rounded to the storage once. */
#ifndef DR_OPS_CUDA_DNN_CONV_H
#define DR_OPS_CUDA_DNN_CONV_H

#include "ops/cuda/dnn_graph.h"
#include "ops/ops.h"

typedef struct cuda_device cuda_device;
typedef struct cuda_dnn_kernel cuda_dnn_kernel;

/* A device's; all zeros: there are none. */
typedef struct cuda_dnn_convs {
    cuda_dnn_kernel *kernels; /* one for each way that was planned */
    int plans;
    uint64_t clock; /* counts uses of plans: the one that was used longest ago makes room */
} cuda_dnn_convs;

void cuda_dnn_convs_close(cuda_device *d);

/* Of a device that has cuDNN: does it do this layer? */
bool cuda_dnn_does(const dr_conv_desc *desc);

/* Plans, or starts it.  weight: dr_cuda_conv_pack()'s; bias: [out], of the storage.  y is of the storage.  What fails names
 * the shape. */
dr_status cuda_dnn_conv2d(dr_pass *p, const dr_conv2d_args *a, const void *weight, const void *bias);

#endif

/* dnn_conv.h - cuDNN's convolutions, for layers in f16 or bf16 whose pixels are multiples of 16 bytes.
 * They are the second family of convolution kernels.  The first is ours (kernels/conv.cu), which does all
 * layers.
 *
 *     x, weight -> [convolution] -> [+ added] -> [+ bias] -> y    float32 between the boxes, never in memory
 *
 * cuDNN has kernels that are compiled already for this order, if there is always a bias and it has the
 * storage's type.  For other orders (a bias in float32, or a bias for each row) it compiles kernels when
 * a plan is made, once more for each number of rows.
 *
 * A setting and the layer decide which family does a layer.  Speed never decides, because the bits of the
 * families differ.
 *
 * cuDNN's compiled kernels do not add a vector for each row, such as the one that a resnet adds for its
 * timestep.  So this vector is first written to y, rounded to the storage once.  The convolution then
 * adds to y. */
#ifndef DR_OPS_CUDA_DNN_CONV_H
#define DR_OPS_CUDA_DNN_CONV_H

#include "ops/cuda/dnn_graph.h"
#include "ops/ops.h"

/* One way of calling it.  Tensors are dense, channels last.  The struct has no padding, because ways are
 * compared and kept in files as bytes. */
typedef struct cuda_dnn_conv_way {
    int32_t in, out;        /* multiples of 8: pixels start at multiples of 16 bytes */
    int32_t kernel, stride; /* 1 or 3, 1 or 2 */
    int32_t before;         /* zeros above and left of x; with kernel 3 there is 1 right and below */
    int32_t x_h, x_w, y_h, y_w;
    int32_t storage; /* dr_dtype: DR_F16, DR_BF16; of everything */
    int32_t has_added;
} cuda_dnn_conv_way;

extern const cuda_dnn_operator cuda_dnn_convolution;

/* Whether cuDNN does this layer, on a device that uses cuDNN for convolutions.  Depends only on the
 * layer. */
bool cuda_dnn_convolves(const dr_conv_desc *desc);

/* The operator: plans the convolution, or starts it. weight: as dr_cuda_conv_pack() lays it out. bias:
 * [out], of the storage's type, like y.  The text of an error names the shape. */
dr_status cuda_dnn_conv2d(dr_pass *p, const dr_conv2d_args *a, const void *weight, const void *bias);

#endif

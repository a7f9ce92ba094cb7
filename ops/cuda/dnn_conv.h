/* dnn_conv.h - cuDNN's convolutions, the second family: layers in f16 or bf16 with whole 16-byte pixels.  (The first is
 * ours, kernels/conv.cu, and does all layers.)
 *
 *     x, weight -> [convolution] -> [+ added] -> [+ bias] -> y       float32 between the boxes, and never in memory
 *
 * This order, with a bias that is always there and is of the storage's type, is one for which cuDNN has kernels that are
 * compiled already.  Others (a bias in float32, or one for each row) are left to kernels that it compiles when a plan is
 * made, for each number of rows anew.
 *
 * Which family does a layer follows from a setting and the layer, never from what is fast: their bits differ.
 *
 * What is one for each row, as a resnet's timestep is, cuDNN's compiled kernels do not add.  It is written to y before, and
 * the convolution adds to that: rounded to the storage once. */
#ifndef DR_OPS_CUDA_DNN_CONV_H
#define DR_OPS_CUDA_DNN_CONV_H

#include "ops/cuda/dnn_graph.h"
#include "ops/ops.h"

/* One way of being called.  Dense, channels last.  No padding: ways are compared, and kept in files, as bytes. */
typedef struct cuda_dnn_conv_way {
    int32_t in, out;        /* multiples of 8: pixels start at multiples of 16 bytes */
    int32_t kernel, stride; /* 1 or 3, 1 or 2 */
    int32_t before;         /* zeros above and left of x; with kernel 3 there is 1 right and below */
    int32_t x_h, x_w, y_h, y_w;
    int32_t storage; /* dr_dtype: DR_F16, DR_BF16; of everything */
    int32_t has_added;
} cuda_dnn_conv_way;

extern const cuda_dnn_operator cuda_dnn_convolution;

/* Of a device whose convolutions are cuDNN's: does it do this layer? */
bool cuda_dnn_convolves(const dr_conv_desc *desc);

/* Plans, or starts it.  weight: dr_cuda_conv_pack()'s; bias: [out], of the storage.  y is of the storage.  What fails names
 * the shape. */
dr_status cuda_dnn_conv2d(dr_pass *p, const dr_conv2d_args *a, const void *weight, const void *bias);

#endif

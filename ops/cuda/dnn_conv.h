/* dnn_conv.h - cuDNN's convolutions: layers in f16 or bf16 with pixels of whole 16 bytes.  They are the
 * second family.  The first is ours (kernels/conv.cu), which does all layers.
 *
 *     x, weight -> [convolution] -> [+ added] -> [+ bias] -> y    float32 between the boxes, never in memory
 *
 * For this order, with a bias that is always there and has the storage's type, cuDNN has kernels that are
 * compiled already.  For other orders (a bias in float32, or one for each row) it compiles kernels when a
 * plan is made, anew for each number of rows.
 *
 * A setting and the layer decide which family does a layer, never what is fast: their bits differ.
 *
 * cuDNN's compiled kernels do not add a vector for each row, such as what a resnet adds for its timestep.
 * It is written to y before, rounded to the storage once, and the convolution adds to that. */
#ifndef DR_OPS_CUDA_DNN_CONV_H
#define DR_OPS_CUDA_DNN_CONV_H

#include "ops/cuda/dnn_graph.h"
#include "ops/ops.h"

/* One way of calling it.  Dense, channels last.  It has no padding, because ways are compared and kept in
 * files as bytes. */
typedef struct cuda_dnn_conv_way {
    int32_t in, out;        /* multiples of 8: pixels start at multiples of 16 bytes */
    int32_t kernel, stride; /* 1 or 3, 1 or 2 */
    int32_t before;         /* zeros above and left of x; with kernel 3 there is 1 right and below */
    int32_t x_h, x_w, y_h, y_w;
    int32_t storage; /* dr_dtype: DR_F16, DR_BF16; of everything */
    int32_t has_added;
} cuda_dnn_conv_way;

extern const cuda_dnn_operator cuda_dnn_convolution;

/* Whether cuDNN does this layer, on a device whose convolutions are cuDNN's.  Looks at the layer alone. */
bool cuda_dnn_convolves(const dr_conv_desc *desc);

/* The operator: plans it, or starts it.  weight: as dr_cuda_conv_pack() lays it out.  bias: [out], of the
 * storage's type, as y is.  The text of an error names the shape. */
dr_status cuda_dnn_conv2d(dr_pass *p, const dr_conv2d_args *a, const void *weight, const void *bias);

#endif

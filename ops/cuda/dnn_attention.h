/* dnn_attention.h - cuDNN's attention between the tokens of one tensor, in f16 or bf16.  It is the second
 * family of attention kernels.  The first is ours (kernels/attention*.cu), which does all attention.
 *
 *     token    [ q: heads of dim | k: heads of dim | v: heads of dim | ... ]          ld values
 *     q, k, v -> [softmax(scale q k^T) v] -> y                              [rows, tokens, heads * dim]
 *
 * It is one operation of the library, since 9.13.1.  NVRTC compiles its kernels when a plan is made, once
 * more for each number of rows.  The code is the same each time (tests/cuda/dnn_attention_test.c), and it
 * takes a third of a second.
 *
 * A setting and the shape decide which family does an attention.  Speed never decides, because the bits
 * of the families differ.  Ours does an attention where a row's queries go to another row's keys, or only
 * to the tokens before them, or where heads are no multiple of 16 bytes.
 *
 * NVIDIA uses the operation in cudnn-frontend's UnifiedSDPANode (include/cudnn_frontend/node/
 * scaled_dot_product_flash_attention.h), with the same attributes. */
#ifndef DR_OPS_CUDA_DNN_ATTENTION_H
#define DR_OPS_CUDA_DNN_ATTENTION_H

#include "ops/cuda/dnn_graph.h"
#include "ops/ops.h"

enum { CUDA_DNN_ATTENTION_SINCE = 91301 }; /* in the form of cudnnGetVersion() */

/* One way of calling it.  It has no padding, because ways are compared and kept in files as bytes. */
typedef struct cuda_dnn_attention_way {
    int32_t heads, dim; /* dim: a multiple of 8, so that heads start at multiples of 16 bytes */
    int32_t tokens, ld; /* ld: a multiple of 8 too, at least 3 * heads * dim */
    int32_t storage;    /* dr_dtype: DR_F16, DR_BF16 */
    float scale;
} cuda_dnn_attention_way;

extern const cuda_dnn_operator cuda_dnn_attention_operator;

/* Whether cuDNN does this attention, on a device that uses cuDNN for attention.  Depends only on the
 * shape. */
bool cuda_dnn_attends(const dr_attention_args *a);

/* The operator: plans the attention, or starts it.  The text of an error names the shape. */
dr_status cuda_dnn_attention(dr_pass *p, const dr_attention_args *a);

#endif

/* dnn_attention.h - cuDNN's attention, the second family: of a tensor's tokens to each other, in f16 or bf16.  (The first
 * is ours, kernels/attention*.cu, and does all attention.)
 *
 *     token    [ q: heads of dim | k: heads of dim | v: heads of dim | ... ]       ld values
 *     q, k, v -> [softmax(scale q k^T) v] -> y                                     [rows, tokens, heads * dim]
 *
 * One operation of the library's, which it has since 9.13.1.  Its kernels are compiled when a plan is made, by NVRTC, for
 * each number of rows anew: the same code each time (tests/cuda/dnn_attention_test.c), a third of a second.
 *
 * Which family does it follows from a setting and the shape, never from what is fast: their bits differ.  Ours are those
 * where one row's queries go to another's keys, or to the tokens before them alone, or whose heads are no whole 16 bytes.
 *
 * NVIDIA's own way there is cudnn-frontend's UnifiedSDPANode (include/cudnn_frontend/node/
 * scaled_dot_product_flash_attention.h): the same operation with the same attributes. */
#ifndef DR_OPS_CUDA_DNN_ATTENTION_H
#define DR_OPS_CUDA_DNN_ATTENTION_H

#include "ops/cuda/dnn_graph.h"
#include "ops/ops.h"

enum { CUDA_DNN_ATTENTION_SINCE = 91301 }; /* as cudnnGetVersion() says it */

/* One way of being called.  No padding: ways are compared, and kept in files, as bytes. */
typedef struct cuda_dnn_attention_way {
    int32_t heads, dim; /* dim: a multiple of 8, so that heads start at multiples of 16 bytes */
    int32_t tokens, ld; /* ld likewise, at least 3 * heads * dim */
    int32_t storage;    /* dr_dtype: DR_F16, DR_BF16 */
    float scale;
} cuda_dnn_attention_way;

extern const cuda_dnn_operator cuda_dnn_attention_operator;

/* Of a device whose attention is cuDNN's: does it do this? */
bool cuda_dnn_attends(const dr_attention_args *a);

/* Plans, or starts it.  What fails names the shape. */
dr_status cuda_dnn_attention(dr_pass *p, const dr_attention_args *a);

#endif

/* attention.c - softmax(q k^T) v by our kernels.  If the device uses cuDNN for attention, and cuDNN can
 * do the shape, cuDNN does it (dnn_attention.h). */
#include "kernels/cuda.h"
#include "ops/cuda/check.h"
#include "ops/cuda/dnn_attention.h"
#include "ops/cuda/operators.h"

dr_status cuda_attention(dr_pass *p, const dr_attention_args *a)
{
    cuda_device *d = cuda_of(p->device);
    const int dim = a->q.c / a->heads;

    if (dim > DR_CUDA_HEAD_DIM_MAX)
        return dr_fail(&p->error, DR_EUNSUPPORTED, "%s: attention heads of %d channels: at most %d", d->name,
                       dim, DR_CUDA_HEAD_DIM_MAX);
    if (d->dnn_attends && cuda_dnn_attends(a))
        return cuda_dnn_attention(p, a);
    if (!p->planning)
        dr_cuda_attention(cuda_stream(p), &(dr_cuda_attention_args){ .dtype = a->q.dtype,
                                                                     .q = a->q.data,
                                                                     .k = a->k.data,
                                                                     .v = a->v.data,
                                                                     .y = a->y.data,
                                                                     .q_ld = a->q.ld,
                                                                     .k_ld = a->k.ld,
                                                                     .v_ld = a->v.ld,
                                                                     .y_ld = a->y.ld,
                                                                     .kv_row = a->kv_row,
                                                                     .n = a->q.n,
                                                                     .heads = a->heads,
                                                                     .d = dim,
                                                                     .q_tokens = a->q.h * a->q.w,
                                                                     .kv_tokens = a->k.h * a->k.w,
                                                                     .scale = a->scale,
                                                                     .causal = a->causal,
                                                                     .wgmma = d->wgmma_attention });
    return cuda_launched(p, "attention");
}

/* norm.c - group and layer norm by our kernels. */
#include "kernels/cuda.h"
#include "ops/cuda/check.h"
#include "ops/cuda/operators.h"

dr_status cuda_group_norm(dr_pass *p, const dr_group_norm_args *a)
{
    dr_cuda_group_norm_args k = { .dtype = a->x.dtype,
                                  .y_dtype = a->y.dtype,
                                  .x = a->x.data,
                                  .y = a->y.data,
                                  .gamma = a->norm->gamma,
                                  .beta = a->norm->beta,
                                  .eps = a->norm->eps,
                                  .n = a->x.n,
                                  .pixels = a->x.h * a->x.w,
                                  .c = a->x.c,
                                  .groups = a->norm->groups,
                                  .silu = a->silu };
    size_t bytes;

    if (a->stats.data) {
        k.parts = a->stats.data;
        k.part_count = (int)(a->stats.bytes / sizeof(*k.parts) / (size_t)k.n / (size_t)k.groups);
    }
    bytes = dr_cuda_group_norm_workspace(&k);
    k.workspace = bytes ? dr_arena_take(p->arena, bytes) : NULL;
    if (bytes && !k.workspace)
        return dr_fail(&p->error, DR_ENOMEM, "no %zu bytes for a group norm's sums", bytes);
    if (!p->planning)
        dr_cuda_group_norm(cuda_stream(p), &k);
    if (bytes)
        dr_arena_release(p->arena, k.workspace);
    return cuda_launched(p, "a group norm");
}

dr_status cuda_layer_norm(dr_pass *p, const dr_layer_norm_args *a)
{
    if (!p->planning)
        dr_cuda_layer_norm(cuda_stream(p), &(dr_cuda_layer_norm_args){ .dtype = a->x.dtype,
                                                                       .y_dtype = a->y.dtype,
                                                                       .x = a->x.data,
                                                                       .y = a->y.data,
                                                                       .gamma = a->norm->gamma,
                                                                       .beta = a->norm->beta,
                                                                       .eps = a->norm->eps,
                                                                       .pixels = dr_tensor_pixels(&a->x),
                                                                       .c = a->x.c });
    return cuda_launched(p, "a layer norm");
}

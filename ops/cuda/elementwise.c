/* elementwise.c - the operators that only pass over memory.  They fill in arguments for our kernels. */
#include "kernels/cuda.h"
#include "ops/cuda/check.h"
#include "ops/cuda/operators.h"

static size_t values(const dr_tensor *t)
{
    return dr_tensor_pixels(t) * (size_t)t->c;
}

dr_status cuda_geglu(dr_pass *p, const dr_geglu_args *a)
{
    if (!p->planning)
        dr_cuda_geglu(cuda_stream(p), &(dr_cuda_geglu_args){ .dtype = a->x.dtype,
                                                             .y_dtype = a->y.dtype,
                                                             .x = a->x.data,
                                                             .y = a->y.data,
                                                             .pixels = dr_tensor_pixels(&a->y),
                                                             .c = a->y.c });
    return cuda_launched(p, "GEGLU");
}

dr_status cuda_activate(dr_pass *p, const dr_activate_args *a)
{
    if (!p->planning)
        dr_cuda_activate(cuda_stream(p), &(dr_cuda_activate_args){ .dtype = a->x.dtype,
                                                                   .x = a->x.data,
                                                                   .y = a->y.data,
                                                                   .values = values(&a->x),
                                                                   .activation = a->activation });
    return cuda_launched(p, "an activation");
}

dr_status cuda_scale(dr_pass *p, const dr_scale_args *a)
{
    if (!p->planning)
        dr_cuda_scale(cuda_stream(p), &(dr_cuda_scale_args){ .x_dtype = a->x.dtype,
                                                             .y_dtype = a->y.dtype,
                                                             .x = a->x.data,
                                                             .y = a->y.data,
                                                             .values = values(&a->x),
                                                             .factor = a->factor });
    return cuda_launched(p, "a scaling");
}

/* The kernel's arguments, except for where the moments go. */
static dr_cuda_concat_moments_args moments_args(const dr_concat_args *a)
{
    return (dr_cuda_concat_moments_args){ .dtype = a->y.dtype,
                                          .a = a->a.data,
                                          .b = a->b.data,
                                          .y = a->y.data,
                                          .n = a->y.n,
                                          .pixels = a->y.h * a->y.w,
                                          .a_c = a->a.c,
                                          .b_c = a->b.c,
                                          .groups = a->norm_groups };
}

size_t cuda_concat_stats(const dr_concat_args *a)
{
    const dr_cuda_concat_moments_args k = moments_args(a);

    return (size_t)k.n * (size_t)k.groups * (size_t)dr_cuda_concat_parts(&k) * sizeof(dr_cuda_moments);
}

static void concat(dr_pass *p, const dr_concat_args *a)
{
    if (a->stats.data) {
        dr_cuda_concat_moments_args k = moments_args(a);

        k.parts = a->stats.data;
        dr_cuda_concat_moments(cuda_stream(p), &k);
        return;
    }
    dr_cuda_concat(cuda_stream(p), &(dr_cuda_concat_args){ .dtype = a->y.dtype,
                                                           .a = a->a.data,
                                                           .b = a->b.data,
                                                           .y = a->y.data,
                                                           .pixels = dr_tensor_pixels(&a->y),
                                                           .a_c = a->a.c,
                                                           .b_c = a->b.c });
}

dr_status cuda_concat(dr_pass *p, const dr_concat_args *a)
{
    if (!p->planning)
        concat(p, a);
    return cuda_launched(p, "a concatenation");
}

dr_status cuda_gather(dr_pass *p, const dr_gather_args *a)
{
    const size_t row_bytes = (size_t)a->x.h * (size_t)a->x.w * (size_t)a->x.c * dr_dtype_bytes(a->x.dtype);

    if (!p->planning)
        dr_cuda_gather(cuda_stream(p), &(dr_cuda_gather_args){ .x = a->x.data,
                                                               .y = a->y.data,
                                                               .row = a->row,
                                                               .n = a->y.n,
                                                               .row_bytes = row_bytes });
    return cuda_launched(p, "a gathering");
}

dr_status cuda_to_rgb8(dr_pass *p, const dr_to_rgb8_args *a)
{
    if (!p->planning && a->broken &&
        cuda_check(cuda_of(p->device), cudaMemsetAsync(a->broken, 0, sizeof(*a->broken), cuda_stream(p)),
                   "zeroing memory", &p->error))
        return p->error.status;
    if (!p->planning)
        dr_cuda_to_rgb8(cuda_stream(p), &(dr_cuda_to_rgb8_args){ .dtype = a->x.dtype,
                                                                 .x = a->x.data,
                                                                 .y = a->y.data,
                                                                 .values = values(&a->x),
                                                                 .broken = a->broken });
    return cuda_launched(p, "a conversion to 8 bits");
}

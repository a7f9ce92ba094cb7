/* conv.c - convolutions by our kernel, with all that is added to one in the same launch. */
#include "kernels/cuda.h"
#include "ops/cuda/cuda.h"

#include <stdlib.h>

typedef struct cuda_conv_layer {
    dr_conv base;
    void *weight; /* device, as dr_cuda_conv_pack() lays it out, storage */
    void *bias;   /* device, [out], float32; NULL: none */
} cuda_conv_layer;

/* Output channel after output channel: what is packed at once is as much as is copied at once, or one channel. */
static dr_status pack_weight(cuda_device *d, cuda_conv_layer *l, const dr_conv_desc *desc, dr_error *err)
{
    const dr_dtype storage = d->base.activation_dtype;
    const size_t filter = (size_t)desc->in * (size_t)desc->kernel * (size_t)desc->kernel;
    const size_t line = (size_t)dr_cuda_conv_weight_ld(desc->in, desc->kernel) * dr_dtype_bytes(storage);
    const int lines = line < DR_CUDA_STAGING_BYTES ? (int)(DR_CUDA_STAGING_BYTES / line) : 1;
    void *packed = malloc((size_t)(lines < desc->out ? lines : desc->out) * line);
    dr_status rc;

    if (!packed)
        return dr_fail(err, DR_ENOMEM, "no memory to pack the weight");
    rc = cuda_alloc(&l->weight, &d->base, (size_t)desc->out * line, err);
    for (int done = 0, count; done < desc->out && !rc; done += count) {
        count = desc->out - done < lines ? desc->out - done : lines;
        dr_cuda_conv_pack(storage, packed, desc->weight + (size_t)done * filter, desc->in, count,
                          desc->kernel);
        rc =
            cuda_upload(&d->base, (char *)l->weight + (size_t)done * line, packed, (size_t)count * line, err);
    }
    l->base.bytes = (size_t)desc->out * line;
    free(packed);
    return rc;
}

dr_status cuda_conv_create(dr_conv **out, dr_device *device, const dr_conv_desc *desc, dr_error *err)
{
    cuda_device *d = cuda_of(device);
    cuda_conv_layer *l = calloc(1, sizeof(*l));
    dr_status rc;

    *out = NULL;
    if (!l)
        return dr_fail(err, DR_ENOMEM, "%s: no memory for the layer", desc->name);
    l->base = (dr_conv){ .device = device,
                         .in = desc->in,
                         .out = desc->out,
                         .kernel = desc->kernel,
                         .stride = desc->stride,
                         .padding = desc->padding };
    rc = pack_weight(d, l, desc, err);
    if (!rc && desc->bias) {
        rc = cuda_pack(d, &l->bias, desc->bias, (size_t)desc->out, DR_F32, err);
        l->base.bytes += (size_t)desc->out * sizeof(float);
    }
    if (rc) {
        cuda_conv_free(&l->base);
        return dr_fail_within(err, "%s", desc->name);
    }
    *out = &l->base;
    return DR_OK;
}

void cuda_conv_free(dr_conv *conv)
{
    cuda_conv_layer *l = (cuda_conv_layer *)conv;

    dr_device_free(conv->device, l->weight);
    dr_device_free(conv->device, l->bias);
    free(l);
}

dr_status cuda_conv2d(dr_pass *p, const dr_conv2d_args *a)
{
    const cuda_conv_layer *l = (const cuda_conv_layer *)a->conv;

    if (!p->planning)
        dr_cuda_conv(cuda_of(p->device)->stream,
                     &(dr_cuda_conv_args){ .dtype = a->x.dtype,
                                           .y_dtype = a->y.dtype,
                                           .x = a->x.data,
                                           .weight = l->weight,
                                           .bias = l->bias,
                                           .row_table = a->row_bias.table,
                                           .row_index = a->row_bias.index,
                                           .row_stride = a->row_bias.stride,
                                           .residual = a->residual ? a->residual->data : NULL,
                                           .y = a->y.data,
                                           .x_ld = a->x.ld,
                                           .y_ld = a->y.ld,
                                           .residual_ld = a->residual ? a->residual->ld : 0,
                                           .n = a->x.n,
                                           .x_h = a->x.h,
                                           .x_w = a->x.w,
                                           .y_h = a->y.h,
                                           .y_w = a->y.w,
                                           .in = a->x.c,
                                           .out = a->y.c,
                                           .kernel = l->base.kernel,
                                           .stride = l->base.stride,
                                           .before =
                                               l->base.kernel == 3 && l->base.padding == DR_PAD_AROUND });
    return cuda_launched(p, "a convolution");
}

/* conv.c - convolutions by our kernels.  One launch also adds everything that is added to a convolution.
 * If the device uses cuDNN for convolutions, and cuDNN can do the layer, cuDNN does it (dnn_conv.h).  On
 * a device that was opened with 8-bit convolutions, our kernels multiply a layer whose x may have 8 bits
 * in 8 bits, both x and weight.
 *
 * A layer that upsamples keeps its weights twice: as 3 x 3, for maps of odd sides, and as 2 x 2 for each
 * of four phases.  That is 25 values where other layers have 9.  For the upsamplers of SD 1.5, in the
 * UNet and the VAE's decoder, it takes 130 MiB more. */
#include "base/half.h"
#include "kernels/cuda.h"
#include "ops/cuda/check.h"
#include "ops/cuda/dnn_conv.h"
#include "ops/cuda/memory.h"
#include "ops/cuda/operators.h"

#include <stdlib.h>
#include <string.h>

typedef struct cuda_conv_layer {
    dr_conv base;
    void *weight;   /* device, as dr_cuda_conv_pack() lays it out: storage, or DR_E4M3 */
    float scale;    /* the weight was divided by it: 1, except for DR_E4M3 */
    void *phases;   /* device, dr_cuda_conv_phase()'s, packed too; NULL: the layer does not upsample */
    void *bias;     /* device, [out], float32; NULL: none */
    char *name;     /* for errors; NULL: cuDNN does not do the layer */
    void *dnn_bias; /* device, [out], storage: zeros where there is no bias */
    int slice;      /* channels of a slice of the packed weight; for cuDNN a slice has all of them */
} cuda_conv_layer;

static bool is_of_eight_bits(const cuda_device *d, const dr_conv_desc *desc)
{
    return d->fp8_convs && desc->eight_bits && !desc->upsample &&
           dr_cuda_conv_in_eight_bits(desc->in, desc->out);
}

static size_t packed_line(dr_dtype dtype, int in, int kernel)
{
    return (size_t)dr_cuda_conv_weight_ld(dtype, in, kernel) * dr_dtype_bytes(dtype);
}

/* How a weight goes to the device. */
typedef struct packing {
    dr_dtype dtype;
    int in, out, kernel, slice;
    float scale;
} packing;

/* weight: [out, in, kernel, kernel].  Packs one output channel after the other.  Each copy takes as many
 * packed channels as fit into it, at least one. */
static dr_status upload_packed(cuda_device *d, char *to, const float *weight, const packing *p, dr_error *err)
{
    const size_t filter = (size_t)p->in * (size_t)p->kernel * (size_t)p->kernel;
    const size_t line = packed_line(p->dtype, p->in, p->kernel);
    const int lines = line < DR_CUDA_STAGING_BYTES ? (int)(DR_CUDA_STAGING_BYTES / line) : 1;
    void *packed = malloc((size_t)(lines < p->out ? lines : p->out) * line);
    dr_status rc = DR_OK;

    if (!packed)
        return dr_fail(err, DR_ENOMEM, "no memory to pack the weight");
    for (int done = 0, count; done < p->out && !rc; done += count) {
        count = p->out - done < lines ? p->out - done : lines;
        dr_cuda_conv_pack(p->dtype, packed, p->scale, weight + (size_t)done * filter, p->in, count, p->kernel,
                          p->slice);
        rc = cuda_upload(&d->base, to + (size_t)done * line, packed, (size_t)count * line, err);
    }
    free(packed);
    return rc;
}

static packing packing_of(const cuda_conv_layer *l)
{
    return (packing){ .dtype = dr_conv_x_dtype(&l->base),
                      .in = l->base.in,
                      .out = l->base.out,
                      .kernel = l->base.kernel,
                      .slice = l->slice,
                      .scale = l->scale };
}

static dr_status pack_weight(cuda_device *d, cuda_conv_layer *l, const dr_conv_desc *desc, dr_error *err)
{
    const packing p = packing_of(l);
    const size_t bytes = (size_t)desc->out * packed_line(p.dtype, desc->in, desc->kernel);
    const dr_status rc = cuda_alloc(&l->weight, &d->base, bytes, err);

    l->base.bytes += bytes;
    return rc ? rc : upload_packed(d, l->weight, desc->weight, &p, err);
}

static dr_status pack_phases(cuda_device *d, cuda_conv_layer *l, const dr_conv_desc *desc, dr_error *err)
{
    const size_t filters = (size_t)desc->in * (size_t)desc->out;
    packing p = packing_of(l);
    const size_t bytes = (size_t)desc->out * packed_line(p.dtype, desc->in, 2); /* of a phase */
    float *sums = malloc(filters * 4 * sizeof(*sums));                          /* of a phase */
    dr_status rc;

    if (!sums)
        return dr_fail(err, DR_ENOMEM, "no memory to sum the weight");
    p.kernel = 2;
    rc = cuda_alloc(&l->phases, &d->base, DR_CUDA_CONV_PHASES * bytes, err);
    for (int i = 0; i < DR_CUDA_CONV_PHASES && !rc; i++) {
        dr_cuda_conv_phase(sums, desc->weight, filters, i);
        rc = upload_packed(d, (char *)l->phases + (size_t)i * bytes, sums, &p, err);
    }
    l->base.bytes += DR_CUDA_CONV_PHASES * bytes;
    free(sums);
    return rc;
}

/* cuDNN's kernels read the same weight, and a bias of the storage's type. */
static dr_status prepare_for_dnn(cuda_device *d, cuda_conv_layer *l, const dr_conv_desc *desc, dr_error *err)
{
    const size_t outs = (size_t)desc->out;
    float *zeros = NULL;
    dr_status rc;

    l->name = strdup(desc->name);
    if (!desc->bias)
        zeros = calloc(outs, sizeof(*zeros));
    if (!l->name || (!desc->bias && !zeros))
        rc = dr_fail(err, DR_ENOMEM, "no memory for the layer");
    else
        rc = cuda_pack(d, &l->dnn_bias, desc->bias ? desc->bias : zeros, outs, d->base.activation_dtype, err);
    l->base.bytes += outs * dr_dtype_bytes(d->base.activation_dtype);
    free(zeros);
    return rc;
}

dr_status cuda_conv_create(dr_conv **out, dr_device *device, const dr_conv_desc *desc, dr_error *err)
{
    cuda_device *d = cuda_of(device);
    const bool eight_bits = is_of_eight_bits(d, desc);
    const bool by_dnn = !eight_bits && d->dnn_convolves && cuda_dnn_convolves(desc);
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
                         .padding = desc->padding,
                         .upsample = desc->upsample,
                         .eight_bits = eight_bits };
    l->scale = eight_bits ? dr_e4m3_scale(desc->weight, (size_t)desc->in * (size_t)desc->out *
                                                            (size_t)desc->kernel * (size_t)desc->kernel)
                          : 1.0f;
    l->slice = by_dnn ? desc->in : dr_cuda_conv_slice(desc->in);
    rc = pack_weight(d, l, desc, err);
    if (!rc && desc->upsample)
        rc = pack_phases(d, l, desc, err);
    if (!rc && desc->bias) {
        rc = cuda_pack(d, &l->bias, desc->bias, (size_t)desc->out, DR_F32, err);
        l->base.bytes += (size_t)desc->out * sizeof(float);
    }
    if (!rc && by_dnn)
        rc = prepare_for_dnn(d, l, desc, err);
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

    cuda_free(conv->device, l->weight);
    cuda_free(conv->device, l->phases);
    cuda_free(conv->device, l->bias);
    cuda_free(conv->device, l->dnn_bias);
    free(l->name);
    free(l);
}

/* The kernel's arguments, except for those that come from the pass. */
static dr_cuda_conv_args kernel_args(const dr_conv2d_args *a)
{
    const cuda_conv_layer *l = (const cuda_conv_layer *)a->conv;

    return (dr_cuda_conv_args){ .dtype = a->x.dtype,
                                .y_dtype = a->y.dtype,
                                .x = a->x.data,
                                .weight = l->weight,
                                .phases = l->phases,
                                .scale = l->scale,
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
                                .before = l->base.kernel == 3 && l->base.padding == DR_PAD_AROUND,
                                .upsample = l->base.upsample,
                                .slice = l->slice,
                                .wgmma = cuda_of(l->base.device)->wgmma_convs,
                                .groups = a->norm_groups };
}

/* The layer and what it writes decide.  The number of rows never does. */
static bool is_by_dnn(const dr_conv2d_args *a)
{
    return ((const cuda_conv_layer *)a->conv)->name && a->y.dtype == a->x.dtype;
}

size_t cuda_conv2d_stats(const dr_conv2d_args *a)
{
    const dr_cuda_conv_args k = kernel_args(a);

    return is_by_dnn(a)
               ? 0
               : (size_t)k.n * (size_t)k.groups * (size_t)dr_cuda_conv_parts(&k) * sizeof(dr_cuda_moments);
}

dr_status cuda_conv2d(dr_pass *p, const dr_conv2d_args *a)
{
    dr_cuda_conv_args k = kernel_args(a);

    if (is_by_dnn(a)) {
        const cuda_conv_layer *l = (const cuda_conv_layer *)a->conv;
        const dr_status rc = cuda_dnn_conv2d(p, a, l->weight, l->dnn_bias);
        return rc && !cuda_check_alive(cuda_of(p->device), NULL) ? dr_fail_within(&p->error, "%s", l->name)
                                                                 : rc;
    }
    k.parts = a->stats.data;
    if (!p->planning)
        dr_cuda_conv(cuda_stream(p), &k);
    return cuda_launched(p, "a convolution");
}

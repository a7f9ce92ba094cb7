#include "ops/cuda/dnn_conv.h"

#include "kernels/cuda.h"
#include "ops/cuda/check.h"
#include "ops/cuda/dnn_kernels.h"

typedef cudnnBackendDescriptor_t descriptor;

_Static_assert(sizeof(cuda_dnn_conv_way) <= CUDA_WAY_BYTES_MAX, "it is kept in files");

/* Tensors' names in the graph. */
enum { X = 1, WEIGHT, CONVOLVED, ADDED, SUMMED, BIAS, Y };

bool cuda_dnn_convolves(const dr_conv_desc *desc)
{
    const int filter = desc->in * desc->kernel * desc->kernel;

    return !desc->upsample && desc->in % 8 == 0 && desc->out % 8 == 0 &&
           dr_cuda_conv_weight_ld(DR_F16, desc->in, desc->kernel) == filter; /* filters without gaps */
}

/* --- the graph ------------------------------------------------------------------------------ */

/* Sides are in the library's order, which does not depend on the layout.  Strides say that channels lie
 * last. */
static descriptor new_tensor(cuda_dnn_maker *m, int64_t name, cudnnDataType_t type, int64_t n, int64_t c,
                             int64_t h, int64_t w)
{
    return cuda_dnn_new_tensor(m, &(cuda_dnn_tensor){ .name = name,
                                                      .type = type,
                                                      .sides = { n, c, h, w },
                                                      .strides = { h * w * c, 1, w * c, c },
                                                      .is_virtual = name == CONVOLVED || name == SUMMED });
}

static descriptor convolution(cuda_dnn_maker *m, const cuda_dnn_conv_way *w, descriptor x, descriptor weight,
                              descriptor y)
{
    const int64_t stride[2] = { w->stride, w->stride }, step[2] = { 1, 1 };
    const int64_t before[2] = { w->before, w->before }, after[2] = { w->kernel / 2, w->kernel / 2 };
    const cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    const float one = 1.0f, zero = 0.0f;
    descriptor c = cuda_dnn_make(m, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR), operation;

    cuda_dnn_set_type(m, c, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_DATA_FLOAT);
    cuda_dnn_set(m, c, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode);
    cuda_dnn_set_number(m, c, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, 2);
    cuda_dnn_set(m, c, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2, step);
    cuda_dnn_set(m, c, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2, stride);
    cuda_dnn_set(m, c, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2, before);
    cuda_dnn_set(m, c, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2, after);
    cuda_dnn_finalize(m, c);
    operation = cuda_dnn_make(m, CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR);
    cuda_dnn_set_one(m, operation, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, c);
    cuda_dnn_set_one(m, operation, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, x);
    cuda_dnn_set_one(m, operation, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, weight);
    cuda_dnn_set_one(m, operation, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, y);
    cuda_dnn_set(m, operation, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, CUDNN_TYPE_FLOAT, 1, &one);
    cuda_dnn_set(m, operation, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, CUDNN_TYPE_FLOAT, 1, &zero);
    return cuda_dnn_finalize(m, operation);
}

static descriptor addition(cuda_dnn_maker *m, descriptor adding, descriptor x, descriptor b, descriptor y)
{
    descriptor operation = cuda_dnn_make(m, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);

    cuda_dnn_set_one(m, operation, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, adding);
    cuda_dnn_set_one(m, operation, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x);
    cuda_dnn_set_one(m, operation, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, b);
    cuda_dnn_set_one(m, operation, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y);
    return cuda_dnn_finalize(m, operation);
}

static descriptor new_adding(cuda_dnn_maker *m)
{
    const cudnnPointwiseMode_t mode = CUDNN_POINTWISE_ADD;
    descriptor adding = cuda_dnn_make(m, CUDNN_BACKEND_POINTWISE_DESCRIPTOR);

    cuda_dnn_set(m, adding, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode);
    cuda_dnn_set_type(m, adding, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_DATA_FLOAT);
    return cuda_dnn_finalize(m, adding);
}

static int describe(cuda_dnn_maker *m, const void *way, int rows,
                    descriptor operation[CUDA_DNN_OPERATIONS_MAX])
{
    const cuda_dnn_conv_way *w = way;
    const cudnnDataType_t stored = cuda_dnn_type(w->storage), sum = CUDNN_DATA_FLOAT;
    descriptor x = new_tensor(m, X, stored, rows, w->in, w->x_h, w->x_w);
    descriptor weight = new_tensor(m, WEIGHT, stored, w->out, w->in, w->kernel, w->kernel);
    descriptor convolved = new_tensor(m, CONVOLVED, sum, rows, w->out, w->y_h, w->y_w);
    descriptor bias = new_tensor(m, BIAS, stored, 1, w->out, 1, 1);
    descriptor y = new_tensor(m, Y, stored, rows, w->out, w->y_h, w->y_w), adding = new_adding(m);
    int count = 0;

    operation[count++] = convolution(m, w, x, weight, convolved);
    if (w->has_added) {
        descriptor added = new_tensor(m, ADDED, stored, rows, w->out, w->y_h, w->y_w);
        descriptor summed = new_tensor(m, SUMMED, sum, rows, w->out, w->y_h, w->y_w);
        operation[count++] = addition(m, adding, convolved, added, summed);
        convolved = summed;
    }
    operation[count++] = addition(m, adding, convolved, bias, y);
    return count;
}

static cuda_dnn_pack pack_of(const void *x, const void *weight, const void *bias, const void *added,
                             const void *y)
{
    return (cuda_dnn_pack){ .name = { X, WEIGHT, BIAS, Y, ADDED },
                            .memory = { x, weight, bias, y, added },
                            .count = added ? 5 : 4 };
}

/* --- trials ----------------------------------------------------------------------------------- */

static void set_trial(const void *way, cuda_trial *trial)
{
    const cuda_dnn_conv_way *w = way;

    *trial = (cuda_trial){ .storage = w->storage,
                           .y_dtype = w->storage,
                           .in = w->in,
                           .out = w->out,
                           .x_ld = w->in,
                           .y_ld = w->out,
                           .added_ld = w->has_added ? w->out : 0,
                           .has_bias = true,
                           .weight_lines = (size_t)w->out * (size_t)w->kernel * (size_t)w->kernel,
                           .x_lines = (size_t)w->x_h * (size_t)w->x_w,
                           .y_lines = (size_t)w->y_h * (size_t)w->y_w };
}

static cuda_dnn_pack pack_trial(const void *way, const cuda_trial_data *data)
{
    (void)way;
    return pack_of(data->x, data->weight, data->bias, data->added, data->y);
}

const cuda_dnn_operator cuda_dnn_convolution = { .name = "a convolution",
                                                 .kind = CUDA_PLAN_CONVOLUTION,
                                                 .way_bytes = sizeof(cuda_dnn_conv_way),
                                                 .describe = describe,
                                                 .set_trial = set_trial,
                                                 .pack_trial = pack_trial };

/* --- the operator ------------------------------------------------------------------------------ */

static cuda_dnn_conv_way way_of(const dr_conv2d_args *a)
{
    const dr_conv *c = a->conv;

    return (cuda_dnn_conv_way){ .in = c->in,
                                .out = c->out,
                                .kernel = c->kernel,
                                .stride = c->stride,
                                .before = c->kernel == 3 && c->padding == DR_PAD_AROUND,
                                .x_h = a->x.h,
                                .x_w = a->x.w,
                                .y_h = a->y.h,
                                .y_w = a->y.w,
                                .storage = a->x.dtype,
                                .has_added = a->row_bias.table || a->residual };
}

static dr_status start(dr_pass *p, const dr_conv2d_args *a, const cuda_dnn_plan *plan, const void *weight,
                       const void *bias)
{
    const void *added = a->residual ? a->residual->data : NULL;
    cuda_dnn_pack pack;

    if (a->row_bias.table) {
        dr_cuda_row_bias(cuda_stream(p), &(dr_cuda_row_bias_args){ .dtype = a->y.dtype,
                                                                   .table = a->row_bias.table,
                                                                   .index = a->row_bias.index,
                                                                   .stride = a->row_bias.stride,
                                                                   .added = added,
                                                                   .y = a->y.data,
                                                                   .n = a->y.n,
                                                                   .pixels = a->y.h * a->y.w,
                                                                   .c = a->y.c });
        added = a->y.data;
    }
    if (cuda_launched(p, "a row bias"))
        return p->error.status;
    pack = pack_of(a->x.data, weight, bias, added, a->y.data);
    return cuda_dnn_start(cuda_of(p->device), p->lane, &cuda_dnn_convolution, plan, &pack, &p->error);
}

dr_status cuda_dnn_conv2d(dr_pass *p, const dr_conv2d_args *a, const void *weight, const void *bias)
{
    cuda_device *d = cuda_of(p->device);
    const cuda_dnn_conv_way w = way_of(a);
    const cuda_dnn_plan *plan = NULL;
    dr_status rc = cuda_dnn_find_plan(&plan, d, &cuda_dnn_convolution, &w, a->x.n, p->planning, &p->error);

    if (!rc && !p->planning)
        rc = start(p, a, plan, weight, bias);
    if (rc && !cuda_check_alive(d, NULL))
        dr_fail_within(&p->error, "a convolution of %d to %d channels, %d rows of %d x %d", w.in, w.out,
                       a->x.n, w.x_h, w.x_w);
    return rc;
}

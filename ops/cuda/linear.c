/* linear.c - matrix products by cuBLASLt, with the bias and the residual in its epilogue.
 *
 * Its matrices are column by column, ours row by row: what we call y = x W^T is to it Y = W^T X with
 *
 *     W   [in, out], transposed      X   [in, tokens]      Y   [out, tokens]
 *
 * so that the bias, one value a row of Y, is what its epilogue adds.
 *
 * The same bits for every number of rows: the library may choose another kernel for every number of tokens, and
 * another kernel sums in another order.  So a layer chooses once for each way in which it is called - tokens of a row,
 * strides, what is added - while planning, for ROWS_PLANNED rows, among kernels that sum over `in` in one piece (no
 * split of it over blocks: that is what the reduction scheme would put together); all later calls use that algorithm.
 * How a kernel cuts Y into tiles does not depend on the number of tokens, and a tile's values do not depend on one another. */
#include "kernels/cuda.h"
#include "ops/cuda/cuda.h"

#include <stdlib.h>
#include <string.h>

enum {
    ROWS_PLANNED = 16, /* eight pictures with guidance, where a GPU is full: performance matters most there */
};

/* One way of being called.  No padding: ways are compared as bytes. */
typedef struct linear_way {
    int32_t tokens;                                     /* of a row */
    int32_t x_ld, y_ld, added_ld;                       /* added: the residual; 0 and 0 without */
    uint32_t x_alignment, y_alignment, added_alignment; /* bytes, of the tensor and each of its tokens */
    int32_t y_dtype;
} linear_way;

typedef struct linear_plan {
    struct linear_plan *next;
    linear_way way;
    cublasLtMatmulAlgo_t algo;
} linear_plan;

typedef struct cuda_linear_layer {
    dr_linear base;
    void *weight;  /* device, [out, in], storage */
    void *bias[2]; /* device, [out] as storage and as float32: the epilogue wants y's dtype; NULL: none */
    linear_plan *plans;
} cuda_linear_layer;

static cudaDataType_t data_type(dr_dtype dtype)
{
    return dtype == DR_F32 ? CUDA_R_32F : dtype == DR_F16 ? CUDA_R_16F : CUDA_R_16BF;
}

static dr_status check_blas(cuda_device *d, cublasStatus_t code, const char *doing, dr_error *err)
{
    if (code == CUBLAS_STATUS_SUCCESS)
        return DR_OK;
    if (cuda_check(d, cudaPeekAtLastError(), doing, err))
        return err ? err->status : DR_EDEVICE;
    return dr_fail(err, DR_EDEVICE, "%s: %s: %s", d->name, doing, d->blas.cublasLtGetStatusString(code));
}

/* --- weights ----------------------------------------------------------------------- */

dr_status cuda_linear_create(dr_linear **out, dr_device *device, const dr_linear_desc *desc, dr_error *err)
{
    cuda_device *d = cuda_of(device);
    const size_t values = (size_t)desc->in * (size_t)desc->out, outs = (size_t)desc->out;
    cuda_linear_layer *l = calloc(1, sizeof(*l));
    dr_status rc;

    *out = NULL;
    if (!l)
        return dr_fail(err, DR_ENOMEM, "%s: no memory for the layer", desc->name);
    l->base = (dr_linear){ .device = device, .in = desc->in, .out = desc->out };
    rc = cuda_pack(d, &l->weight, desc->weight, values, device->activation_dtype, err);
    l->base.bytes = values * dr_dtype_bytes(device->activation_dtype);
    if (!rc && desc->bias)
        rc = cuda_pack(d, &l->bias[0], desc->bias, outs, device->activation_dtype, err);
    if (!rc && desc->bias)
        rc = cuda_pack(d, &l->bias[1], desc->bias, outs, DR_F32, err);
    if (desc->bias)
        l->base.bytes += outs * (dr_dtype_bytes(device->activation_dtype) + sizeof(float));
    if (rc) {
        cuda_linear_free(&l->base);
        return dr_fail_within(err, "%s", desc->name);
    }
    *out = &l->base;
    return DR_OK;
}

void cuda_linear_free(dr_linear *linear)
{
    cuda_linear_layer *l = (cuda_linear_layer *)linear;

    dr_device_free(linear->device, l->weight);
    dr_device_free(linear->device, l->bias[0]);
    dr_device_free(linear->device, l->bias[1]);
    for (linear_plan *p = l->plans, *next; p; p = next) {
        next = p->next;
        free(p);
    }
    free(l);
}

/* --- one product, as the library sees it -------------------------------------------- */

typedef struct product {
    cublasLtMatmulDescOpaque_t desc;
    cublasLtMatrixLayoutOpaque_t w, x, y, added;
} product;

static cublasStatus_t set(const cuda_blas *blas, product *m, cublasLtMatmulDescAttributes_t what,
                          const void *value, size_t bytes)
{
    return blas->cublasLtMatmulDescSetAttribute((cublasLtMatmulDesc_t)&m->desc, what, value, bytes);
}

static cublasStatus_t lay_out(const cuda_blas *blas, cublasLtMatrixLayoutOpaque_t *layout, dr_dtype dtype,
                              size_t rows, size_t columns, int ld)
{
    return blas->cublasLtMatrixLayoutInit_internal((cublasLtMatrixLayout_t)layout, sizeof(*layout),
                                                   data_type(dtype), rows, columns, ld);
}

/* Descriptions only, on the stack: nothing is allocated. */
static dr_status describe(cuda_device *d, const cuda_linear_layer *l, const linear_way *way, size_t tokens,
                          product *m, dr_error *err)
{
    const cuda_blas *blas = &d->blas;
    const dr_dtype storage = l->base.device->activation_dtype;
    const size_t in = (size_t)l->base.in, outs = (size_t)l->base.out;
    const cublasOperation_t transposed = CUBLAS_OP_T;
    const cublasLtEpilogue_t epilogue = l->bias[0] ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
    const void *bias = l->bias[way->y_dtype == DR_F32];
    const cudaDataType_t bias_type = data_type((dr_dtype)way->y_dtype);
    cublasStatus_t code;

    code = blas->cublasLtMatmulDescInit_internal((cublasLtMatmulDesc_t)&m->desc, sizeof(m->desc),
                                                 CUBLAS_COMPUTE_32F, CUDA_R_32F);
    if (!code)
        code = set(blas, m, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof(transposed));
    if (!code)
        code = set(blas, m, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof(epilogue));
    if (!code && bias)
        code = set(blas, m, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof(bias));
    if (!code && bias)
        code = set(blas, m, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, &bias_type, sizeof(bias_type));
    if (!code)
        code = lay_out(blas, &m->w, storage, in, outs, l->base.in);
    if (!code)
        code = lay_out(blas, &m->x, storage, in, tokens, way->x_ld);
    if (!code)
        code = lay_out(blas, &m->y, (dr_dtype)way->y_dtype, outs, tokens, way->y_ld);
    if (!code)
        code = lay_out(blas, &m->added, (dr_dtype)way->y_dtype, outs, tokens,
                       way->added_ld ? way->added_ld : way->y_ld);
    return check_blas(d, code, "describing a product", err);
}

/* --- plans --------------------------------------------------------------------------- */

static const linear_plan *find_plan(const cuda_linear_layer *l, const linear_way *w)
{
    for (const linear_plan *p = l->plans; p; p = p->next)
        if (memcmp(&p->way, w, sizeof(*w)) == 0)
            return p;
    return NULL;
}

/* Of every token of a tensor: its address' and its stride's.  An address from planning is aligned as the real one. */
static uint32_t alignment(const void *data, int ld, dr_dtype dtype)
{
    const uintptr_t bits = (uintptr_t)data | (uintptr_t)ld * dr_dtype_bytes(dtype);

    return bits % 16 == 0 ? 16 : bits % 8 == 0 ? 8 : bits % 4 == 0 ? 4 : 2;
}

/* What the library may choose from: our workspace, no reduction, the alignment that the strides leave. */
static cublasStatus_t restrict_choice(cuda_device *d, const cuda_linear_layer *l, const linear_way *w,
                                      cublasLtMatmulPreference_t preference)
{
    const size_t workspace = DR_CUDA_BLAS_WORKSPACE_BYTES;
    const uint32_t reduction = CUBLASLT_REDUCTION_SCHEME_NONE;
    const uint32_t weight = alignment(NULL, l->base.in, l->base.device->activation_dtype);
    const uint32_t added = w->added_ld ? w->added_alignment : w->y_alignment;
    const struct {
        cublasLtMatmulPreferenceAttributes_t what;
        const void *value;
        size_t bytes;
    } wishes[] = {
        { CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof(workspace) },
        { CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &reduction, sizeof(reduction) },
        { CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &weight, sizeof(weight) },
        { CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &w->x_alignment, sizeof(w->x_alignment) },
        { CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &added, sizeof(added) },
        { CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &w->y_alignment, sizeof(w->y_alignment) },
    };
    cublasStatus_t code = CUBLAS_STATUS_SUCCESS;

    for (size_t i = 0; i < sizeof(wishes) / sizeof(wishes[0]) && !code; i++)
        code = d->blas.cublasLtMatmulPreferenceSetAttribute(preference, wishes[i].what, wishes[i].value,
                                                            wishes[i].bytes);
    return code;
}

static dr_status choose(cuda_device *d, const cuda_linear_layer *l, const linear_way *w,
                        cublasLtMatmulAlgo_t *algo, dr_error *err)
{
    cublasLtMatmulHeuristicResult_t found = { 0 };
    cublasLtMatmulPreference_t preference = NULL;
    cublasStatus_t code;
    product m;
    int count = 0;
    dr_status rc = describe(d, l, w, (size_t)w->tokens * ROWS_PLANNED, &m, err);

    if (rc)
        return rc;
    code = d->blas.cublasLtMatmulPreferenceCreate(&preference);
    if (!code)
        code = restrict_choice(d, l, w, preference);
    if (!code)
        code =
            d->blas.cublasLtMatmulAlgoGetHeuristic(d->blas_handle, (cublasLtMatmulDesc_t)&m.desc,
                                                   (cublasLtMatrixLayout_t)&m.w, (cublasLtMatrixLayout_t)&m.x,
                                                   (cublasLtMatrixLayout_t)&m.added,
                                                   (cublasLtMatrixLayout_t)&m.y, preference, 1, &found,
                                                   &count);
    if (preference)
        d->blas.cublasLtMatmulPreferenceDestroy(preference);
    rc = check_blas(d, code, "choosing a product's kernel", err);
    if (!rc && count == 0)
        rc = dr_fail(err, DR_EUNSUPPORTED, "%s: cuBLASLt has no kernel for a product of %d by %d", d->name,
                     l->base.in, l->base.out);
    *algo = found.algo;
    return rc;
}

/* Can the plan's kernel do that many tokens too, in our workspace? */
static dr_status check_plan(cuda_device *d, const cuda_linear_layer *l, const linear_plan *p, size_t tokens,
                            dr_error *err)
{
    cublasLtMatmulHeuristicResult_t result;
    product m;
    dr_status rc = describe(d, l, &p->way, tokens, &m, err);

    if (rc)
        return rc;
    rc =
        check_blas(d,
                   d->blas.cublasLtMatmulAlgoCheck(d->blas_handle, (cublasLtMatmulDesc_t)&m.desc,
                                                   (cublasLtMatrixLayout_t)&m.w, (cublasLtMatrixLayout_t)&m.x,
                                                   (cublasLtMatrixLayout_t)&m.added,
                                                   (cublasLtMatrixLayout_t)&m.y, &p->algo, &result),
                   "checking a product's kernel", err);
    if (!rc && result.workspaceSize > DR_CUDA_BLAS_WORKSPACE_BYTES)
        rc = dr_fail(err, DR_ENOMEM, "%s: a product's kernel wants %zu bytes of workspace and has %d",
                     d->name, result.workspaceSize, DR_CUDA_BLAS_WORKSPACE_BYTES);
    return rc;
}

static dr_status plan_way(cuda_device *d, cuda_linear_layer *l, const linear_way *w, size_t tokens,
                          dr_error *err)
{
    const linear_plan *known = find_plan(l, w);
    linear_plan *p;
    dr_status rc;

    if (known)
        return check_plan(d, l, known, tokens, err);
    p = calloc(1, sizeof(*p));
    if (!p)
        return dr_fail(err, DR_ENOMEM, "no memory for a product's plan");
    p->way = *w;
    rc = choose(d, l, w, &p->algo, err);
    if (!rc)
        rc = check_plan(d, l, p, tokens, err);
    if (rc) {
        free(p);
        return rc;
    }
    p->next = l->plans;
    l->plans = p;
    return DR_OK;
}

static linear_way way_of(const dr_linear_args *a)
{
    const dr_tensor *r = a->residual;

    return (linear_way){ .tokens = a->x.h * a->x.w,
                         .x_ld = a->x.ld,
                         .y_ld = a->y.ld,
                         .added_ld = r ? r->ld : 0,
                         .x_alignment = alignment(a->x.data, a->x.ld, a->x.dtype),
                         .y_alignment = alignment(a->y.data, a->y.ld, a->y.dtype),
                         .added_alignment = r ? alignment(r->data, r->ld, r->dtype) : 0,
                         .y_dtype = a->y.dtype };
}

/* --- the operator -------------------------------------------------------------------- */

static dr_status multiply(cuda_device *d, const cuda_linear_layer *l, const linear_plan *p,
                          const dr_linear_args *a, dr_error *err)
{
    const float one = 1.0f, beta = a->residual ? 1.0f : 0.0f;
    const void *added = a->residual ? a->residual->data : a->y.data;
    product m;
    dr_status rc = describe(d, l, &p->way, dr_tensor_pixels(&a->x), &m, err);

    if (rc)
        return rc;
    return check_blas(d,
                      d->blas.cublasLtMatmul(d->blas_handle, (cublasLtMatmulDesc_t)&m.desc, &one, l->weight,
                                             (cublasLtMatrixLayout_t)&m.w, a->x.data,
                                             (cublasLtMatrixLayout_t)&m.x, &beta, added,
                                             (cublasLtMatrixLayout_t)&m.added, a->y.data,
                                             (cublasLtMatrixLayout_t)&m.y, &p->algo, d->blas_workspace,
                                             DR_CUDA_BLAS_WORKSPACE_BYTES, d->stream),
                      "starting a product", err);
}

dr_status cuda_linear(dr_pass *p, const dr_linear_args *a)
{
    cuda_device *d = cuda_of(p->device);
    cuda_linear_layer *l = (cuda_linear_layer *)a->linear; /* whose plans are ours to add to */
    const linear_way w = way_of(a);
    dr_status rc;

    if (a->activation != DR_ACT_NONE && (a->residual || a->y.ld != a->y.c))
        return dr_fail(&p->error, DR_EUNSUPPORTED,
                       "%s: a product with an activation takes neither a residual nor a view", d->name);
    if (p->planning)
        return plan_way(d, l, &w, dr_tensor_pixels(&a->x), &p->error);
    rc = multiply(d, l, find_plan(l, &w), a, &p->error);
    if (rc || a->activation == DR_ACT_NONE)
        return rc;
    dr_cuda_activate(d->stream, &(dr_cuda_activate_args){ .dtype = a->y.dtype,
                                                          .x = a->y.data,
                                                          .y = a->y.data,
                                                          .values = dr_tensor_pixels(&a->y) * (size_t)a->y.c,
                                                          .activation = a->activation });
    return cuda_launched(p, "an activation");
}

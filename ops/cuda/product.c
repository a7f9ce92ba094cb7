#include "ops/cuda/product.h"

#include "ops/cuda/check.h"
#include "ops/cuda/choose_library_kernel.h"

#include <string.h>

/* A product's descriptions.  They are on the stack, so nothing is allocated. */
typedef struct product {
    cublasLtMatmulDescOpaque_t desc;
    cublasLtMatrixLayoutOpaque_t w, x, y, added;
} product;

static cudaDataType_t data_type(int32_t dtype)
{
    return dtype == DR_E4M3  ? CUDA_R_8F_E4M3
           : dtype == DR_F32 ? CUDA_R_32F
           : dtype == DR_F16 ? CUDA_R_16F
                             : CUDA_R_16BF;
}

static dr_status check_blas(cuda_device *d, cublasStatus_t code, const char *doing, dr_error *err)
{
    if (code == CUBLAS_STATUS_SUCCESS)
        return DR_OK;
    if (cuda_check(d, cudaPeekAtLastError(), doing, err))
        return err ? err->status : DR_EDEVICE;
    return dr_fail(err, DR_EDEVICE, "%s: %s: %s", d->name, doing, d->blas.cublasLtGetStatusString(code));
}

size_t cuda_way_columns(const cuda_way *w)
{
    return (size_t)w->tokens * (size_t)(w->rows ? w->rows : CUDA_ROWS_PLANNED);
}

uint32_t cuda_alignment(const void *data, int ld, size_t value_bytes)
{
    const uintptr_t bits = (uintptr_t)data | (uintptr_t)ld * value_bytes;

    return bits % 16 == 0 ? 16 : bits % 8 == 0 ? 8 : bits % 4 == 0 ? 4 : bits % 2 == 0 ? 2 : 1;
}

/* --- describing --------------------------------------------------------------------- */

static cublasStatus_t set(const cuda_blas *blas, product *m, cublasLtMatmulDescAttributes_t what,
                          const void *value, size_t bytes)
{
    return blas->cublasLtMatmulDescSetAttribute((cublasLtMatmulDesc_t)&m->desc, what, value, bytes);
}

static cublasStatus_t lay_out(const cuda_blas *blas, cublasLtMatrixLayoutOpaque_t *layout, int32_t dtype,
                              size_t rows, size_t columns, int ld)
{
    return blas->cublasLtMatrixLayoutInit_internal((cublasLtMatrixLayout_t)layout, sizeof(*layout),
                                                   data_type(dtype), rows, columns, ld);
}

/* bias: where the bias will be, or any address with the same alignment. */
static dr_status describe(cuda_device *d, const cuda_way *w, const void *bias, size_t tokens, product *m,
                          dr_error *err)
{
    const cuda_blas *blas = &d->blas;
    const size_t in = (size_t)w->in, outs = (size_t)w->out;
    const cublasOperation_t transposed = CUBLAS_OP_T;
    const cublasLtEpilogue_t epilogue = w->has_bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
    const cudaDataType_t bias_type = data_type(w->y_dtype);
    const int8_t fast_sums = 0;
    cublasStatus_t code;

    code = blas->cublasLtMatmulDescInit_internal((cublasLtMatmulDesc_t)&m->desc, sizeof(m->desc),
                                                 CUBLAS_COMPUTE_32F, CUDA_R_32F);
    if (!code)
        code = set(blas, m, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof(transposed));
    if (!code && w->storage == DR_E4M3)
        code = set(blas, m, CUBLASLT_MATMUL_DESC_FAST_ACCUM, &fast_sums, sizeof(fast_sums));
    if (!code)
        code = set(blas, m, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof(epilogue));
    if (!code && w->has_bias)
        code = set(blas, m, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof(bias));
    if (!code && w->has_bias)
        code = set(blas, m, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, &bias_type, sizeof(bias_type));
    if (!code)
        code = lay_out(blas, &m->w, w->storage, in, outs, w->in);
    if (!code)
        code = lay_out(blas, &m->x, w->storage, in, tokens, w->x_ld);
    if (!code)
        code = lay_out(blas, &m->y, w->y_dtype, outs, tokens, w->y_ld);
    if (!code)
        code = lay_out(blas, &m->added, w->y_dtype, outs, tokens, w->added_ld ? w->added_ld : w->y_ld);
    return check_blas(d, code, "describing a product", err);
}

/* --- candidates ------------------------------------------------------------------------ */

/* Restricts what the library may choose from: our workspace, no reduction (unless only speed counts), and
 * the alignment that the strides leave. */
static cublasStatus_t restrict_choice(cuda_device *d, const cuda_way *w,
                                      cublasLtMatmulPreference_t preference)
{
    const size_t workspace = DR_CUDA_BLAS_WORKSPACE_BYTES;
    const uint32_t reduction = w->rows ? CUBLASLT_REDUCTION_SCHEME_MASK : CUBLASLT_REDUCTION_SCHEME_NONE;
    const uint32_t weight = cuda_alignment(NULL, w->in, dr_dtype_bytes((dr_dtype)w->storage));
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

dr_status cuda_product_candidates(cuda_device *d, const cuda_way *w, cublasLtMatmulAlgo_t *algo, int *count,
                                  dr_error *err)
{
    cublasLtMatmulHeuristicResult_t found[DR_CUDA_CANDIDATES_MAX];
    cublasLtMatmulPreference_t preference = NULL;
    cublasStatus_t code;
    int offered = 0;
    product m;
    dr_status rc = describe(d, w, d->blas_workspace[0], cuda_way_columns(w), &m, err);

    *count = 0;
    if (rc)
        return rc;
    code = d->blas.cublasLtMatmulPreferenceCreate(&preference);
    if (!code)
        code = restrict_choice(d, w, preference);
    if (!code)
        code =
            d->blas.cublasLtMatmulAlgoGetHeuristic(d->blas_handle, (cublasLtMatmulDesc_t)&m.desc,
                                                   (cublasLtMatrixLayout_t)&m.w, (cublasLtMatrixLayout_t)&m.x,
                                                   (cublasLtMatrixLayout_t)&m.added,
                                                   (cublasLtMatrixLayout_t)&m.y, preference,
                                                   DR_CUDA_CANDIDATES_MAX, found, &offered);
    if (preference)
        d->blas.cublasLtMatmulPreferenceDestroy(preference);
    rc = check_blas(d, code, "asking for a product's kernels", err);
    for (int i = 0; i < offered && !rc; i++)
        if (found[i].state == CUBLAS_STATUS_SUCCESS)
            algo[(*count)++] = found[i].algo;
    if (!rc && *count == 0)
        rc = dr_fail(err, DR_EUNSUPPORTED, "%s: cuBLASLt has no kernel for a product of %d by %d", d->name,
                     w->in, w->out);
    return rc;
}

dr_status cuda_product_check(cuda_device *d, const cuda_way *w, const cublasLtMatmulAlgo_t *algo,
                             size_t tokens, dr_error *err)
{
    cublasLtMatmulHeuristicResult_t result = { 0 };
    product m;
    dr_status rc = describe(d, w, d->blas_workspace[0], tokens, &m, err);

    if (rc)
        return rc;
    rc =
        check_blas(d,
                   d->blas.cublasLtMatmulAlgoCheck(d->blas_handle, (cublasLtMatmulDesc_t)&m.desc,
                                                   (cublasLtMatrixLayout_t)&m.w, (cublasLtMatrixLayout_t)&m.x,
                                                   (cublasLtMatrixLayout_t)&m.added,
                                                   (cublasLtMatrixLayout_t)&m.y, algo, &result),
                   "checking a product's kernel", err);
    if (!rc && result.workspaceSize > DR_CUDA_BLAS_WORKSPACE_BYTES)
        rc = dr_fail(err, DR_ENOMEM, "%s: a product's kernel wants %zu bytes of workspace and has %d",
                     d->name, result.workspaceSize, DR_CUDA_BLAS_WORKSPACE_BYTES);
    return rc;
}

/* --- running -------------------------------------------------------------------------- */

dr_status cuda_product_start(cuda_device *d, const cuda_way *w, const cublasLtMatmulAlgo_t *algo,
                             const cuda_product_args *a, dr_error *err)
{
    const float beta = a->added ? 1.0f : 0.0f;
    product m;
    dr_status rc = describe(d, w, a->bias, a->tokens, &m, err);

    if (rc)
        return rc;
    return check_blas(d,
                      d->blas.cublasLtMatmul(d->blas_handle, (cublasLtMatmulDesc_t)&m.desc, &a->scale,
                                             a->weight, (cublasLtMatrixLayout_t)&m.w, a->x,
                                             (cublasLtMatrixLayout_t)&m.x, &beta, a->added ? a->added : a->y,
                                             (cublasLtMatrixLayout_t)&m.added, a->y,
                                             (cublasLtMatrixLayout_t)&m.y, algo, d->blas_workspace[a->lane],
                                             DR_CUDA_BLAS_WORKSPACE_BYTES, d->stream[a->lane]),
                      "starting a product", err);
}

/* --- choosing ------------------------------------------------------------------------- */

typedef struct product_trial {
    cuda_device *d;
    const cuda_way *way;
    cublasLtMatmulAlgo_t candidate[DR_CUDA_CANDIDATES_MAX];
} product_trial;

static dr_status start_candidate(void *self, int candidate, const cuda_trial_data *data, dr_error *err)
{
    const product_trial *t = self;

    return cuda_product_start(t->d, t->way, &t->candidate[candidate],
                              &(cuda_product_args){ .lane = DR_LANE_DENOISE,
                                                    .weight = data->weight,
                                                    .x = data->x,
                                                    .scale = 1.0f,
                                                    .bias = data->bias,
                                                    .added = data->added,
                                                    .y = data->y,
                                                    .tokens = data->units },
                              err);
}

dr_status cuda_product_choose(cuda_device *d, const cuda_way *w, cublasLtMatmulAlgo_t *algo, dr_error *err)
{
    product_trial self = { .d = d, .way = w };
    cuda_trial trial = { .storage = w->storage,
                         .y_dtype = w->y_dtype,
                         .in = w->in,
                         .out = w->out,
                         .x_ld = w->x_ld,
                         .y_ld = w->y_ld,
                         .added_ld = w->added_ld,
                         .has_bias = w->has_bias,
                         .weight_lines = (size_t)w->out,
                         .x_lines = 1,
                         .y_lines = 1,
                         .units = cuda_way_columns(w),
                         .units_min = w->rows ? 1 : 2, /* fast: perhaps the way has only one row */
                         .alone = (size_t)w->tokens,
                         .speed_only = w->rows != 0,
                         .start = start_candidate,
                         .self = &self };
    int chosen;
    dr_status rc = cuda_product_candidates(d, w, self.candidate, &trial.candidates, err);

    if (!rc)
        rc = cuda_choose(d, &trial, &chosen, err);
    if (rc)
        return rc;
    if (chosen < 0)
        return dr_fail(
            err, DR_EUNSUPPORTED,
            "%s: cuBLASLt has no kernel for a product of %d by %d that does a row alone as in company",
            d->name, w->in, w->out);
    *algo = self.candidate[chosen];
    return DR_OK;
}

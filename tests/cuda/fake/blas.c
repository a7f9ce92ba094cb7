/* blas.c - cuBLASLt's products on the host: D = alpha op(A) op(B) + beta C + bias, column by column.
 *
 * It accepts what the library accepts and refuses what it refuses, by its documentation ("cublasLtMatmul()":
 * the tables of types, "workspace must be 16-byte aligned", C in D's place only in D's layout, "to use FP8
 * kernels": A transposed and B not, pointers and dimensions in multiples of 16 bytes) and by what its
 * users found out: the epilogue's bias must be 16-byte aligned, whatever the preferences say.
 *
 * Where the library is free to choose, this fake makes the choice that is worst for us.  For another number
 * of columns its heuristic takes another kernel, which sums in another order.  Unless the reduction scheme
 * forbids it, the heuristic takes a kernel that splits sums by the number of columns.  A kernel relies on the
 * alignment that it was chosen for.  Functions that ops/cuda does not use are not here. */
#include "tests/cuda/fake/blas.h"

#include "base/error.h"
#include "base/half.h"
#include "tests/cuda/fake/runtime.h"

#include <stdlib.h>
#include <string.h>

enum { MAGIC = 0x6d617421, WORKSPACE_BYTES = 1 << 20 };

typedef struct fake_layout {
    uint32_t magic;
    cudaDataType_t type;
    uint64_t rows, columns;
    int64_t ld;
} fake_layout;

typedef struct fake_desc {
    uint32_t magic;
    cublasOperation_t op_a, op_b;
    cublasLtEpilogue_t epilogue;
    const void *bias;
    cudaDataType_t bias_type;
    bool has_bias_type;
    int8_t fast_accum;
} fake_desc;

typedef struct fake_preference {
    size_t workspace;
    uint32_t reduction;
    uint32_t alignment[4]; /* A, B, C, D */
} fake_preference;

typedef struct fake_algo {
    uint32_t magic;
    uint32_t alignment[4];
    int16_t types[3]; /* A and B, C and D, bias */
    int16_t step;     /* products that are summed before they join the sum */
    bool split, refuses;
    int32_t build;
    uint32_t workspace;
    float ms;
} fake_algo;

_Static_assert(sizeof(fake_layout) <= sizeof(cublasLtMatrixLayoutOpaque_t), "fits");
_Static_assert(sizeof(fake_desc) <= sizeof(cublasLtMatmulDescOpaque_t), "fits");
_Static_assert(sizeof(fake_algo) <= sizeof(cublasLtMatmulAlgo_t), "fits");

/* --- descriptions ------------------------------------------------------------------------ */

static cublasStatus_t init_layout(cublasLtMatrixLayout_t layout, size_t size, cudaDataType type,
                                  uint64_t rows, uint64_t columns, int64_t ld)
{
    fake_layout *l = (fake_layout *)layout;

    if (size < sizeof(cublasLtMatrixLayoutOpaque_t))
        return CUBLAS_STATUS_ALLOC_FAILED;
    *l = (fake_layout){ MAGIC, type, rows, columns, ld };
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t init_desc(cublasLtMatmulDesc_t desc, size_t size, cublasComputeType_t compute,
                                cudaDataType_t scale)
{
    fake_desc *d = (fake_desc *)desc;

    if (size < sizeof(cublasLtMatmulDescOpaque_t))
        return CUBLAS_STATUS_ALLOC_FAILED;
    if (compute != CUBLAS_COMPUTE_32F || scale != CUDA_R_32F)
        return CUBLAS_STATUS_NOT_SUPPORTED;
    *d = (fake_desc){ .magic = MAGIC, .epilogue = CUBLASLT_EPILOGUE_DEFAULT };
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t copy_value(void *to, size_t size, const void *value, size_t bytes)
{
    if (bytes != size)
        return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(to, value, size);
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t set_desc(cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t what,
                               const void *value, size_t bytes)
{
    fake_desc *d = (fake_desc *)desc;

    dr_assert(d->magic == MAGIC);
    switch (what) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
        return copy_value(&d->op_a, sizeof(d->op_a), value, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSB:
        return copy_value(&d->op_b, sizeof(d->op_b), value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
        return copy_value(&d->epilogue, sizeof(d->epilogue), value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
        return copy_value(&d->bias, sizeof(d->bias), value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE:
        d->has_bias_type = true;
        return copy_value(&d->bias_type, sizeof(d->bias_type), value, bytes);
    case CUBLASLT_MATMUL_DESC_FAST_ACCUM:
        return copy_value(&d->fast_accum, sizeof(d->fast_accum), value, bytes);
    default:
        return CUBLAS_STATUS_NOT_SUPPORTED;
    }
}

static cublasStatus_t create_preference(cublasLtMatmulPreference_t *preference)
{
    fake_preference *p = malloc(sizeof(*p));

    dr_assert(p);
    *p =
        (fake_preference){ .reduction = CUBLASLT_REDUCTION_SCHEME_MASK, .alignment = { 256, 256, 256, 256 } };
    *preference = (cublasLtMatmulPreference_t)p;
    fake_cuda.handles++;
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t destroy_preference(cublasLtMatmulPreference_t preference)
{
    free(preference);
    fake_cuda.handles--;
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t set_preference(cublasLtMatmulPreference_t preference,
                                     cublasLtMatmulPreferenceAttributes_t what, const void *value,
                                     size_t bytes)
{
    fake_preference *p = (fake_preference *)preference;

    switch (what) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
        return copy_value(&p->workspace, sizeof(p->workspace), value, bytes);
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK:
        return copy_value(&p->reduction, sizeof(p->reduction), value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
        return copy_value(&p->alignment[0], sizeof(uint32_t), value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
        return copy_value(&p->alignment[1], sizeof(uint32_t), value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
        return copy_value(&p->alignment[2], sizeof(uint32_t), value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
        return copy_value(&p->alignment[3], sizeof(uint32_t), value, bytes);
    default:
        return CUBLAS_STATUS_NOT_SUPPORTED;
    }
}

/* --- what is refused ------------------------------------------------------------------------ */

typedef struct product {
    fake_desc desc;
    fake_layout a, b, c, d;
} product;

static product product_of(cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                          cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d)
{
    const product p = { *(const fake_desc *)desc, *(const fake_layout *)a, *(const fake_layout *)b,
                        *(const fake_layout *)c, *(const fake_layout *)d };

    dr_assert(p.desc.magic == MAGIC && p.a.magic == MAGIC && p.b.magic == MAGIC && p.c.magic == MAGIC &&
              p.d.magic == MAGIC);
    return p;
}

static bool has_bias(const product *p)
{
    return p->desc.epilogue == CUBLASLT_EPILOGUE_BIAS;
}

static cudaDataType_t bias_type(const product *p)
{
    return p->desc.has_bias_type ? p->desc.bias_type : p->d.type;
}

static size_t bytes_of(cudaDataType_t type)
{
    return type == CUDA_R_32F ? 4 : type == CUDA_R_8F_E4M3 ? 1 : 2;
}

/* Has the rows that we use of the table for CUBLAS_COMPUTE_32F with scale CUDA_R_32F. */
static bool types_go_together(const product *p)
{
    const cudaDataType_t ab = p->a.type, cd = p->d.type;

    if (ab == CUDA_R_8F_E4M3)
        return p->b.type == ab && p->c.type == cd && (cd == CUDA_R_16F || cd == CUDA_R_16BF) &&
               (!has_bias(p) || bias_type(p) == cd);
    if (ab != CUDA_R_16F && ab != CUDA_R_16BF && ab != CUDA_R_32F)
        return false;
    return p->b.type == ab && p->c.type == cd && (cd == ab || cd == CUDA_R_32F) &&
           (!has_bias(p) || bias_type(p) == cd);
}

/* The documentation's conditions for FP8 kernels on compute capability 9.0.  The fake does not imitate their
 * sums of few bits. */
static bool may_be_of_eight_bits(const product *p)
{
    const fake_layout *all[] = { &p->a, &p->b, &p->c, &p->d };

    for (int i = 0; i < 4; i++)
        if (all[i]->rows * bytes_of(all[i]->type) % 16 || (uint64_t)all[i]->ld * bytes_of(all[i]->type) % 16)
            return false;
    return p->desc.op_a == CUBLAS_OP_T && p->desc.op_b == CUBLAS_OP_N && !p->desc.fast_accum;
}

static cublasStatus_t check_product(const product *p)
{
    const bool a_t = p->desc.op_a == CUBLAS_OP_T, b_t = p->desc.op_b == CUBLAS_OP_T;
    const uint64_t rows = a_t ? p->a.columns : p->a.rows, depth = a_t ? p->a.rows : p->a.columns;
    const fake_layout *all[] = { &p->a, &p->b, &p->c, &p->d };

    for (int i = 0; i < 4; i++)
        if (all[i]->rows == 0 || all[i]->columns == 0 || all[i]->ld < (int64_t)all[i]->rows)
            return CUBLAS_STATUS_INVALID_VALUE;
    if (p->d.rows != rows || (b_t ? p->b.columns : p->b.rows) != depth ||
        p->d.columns != (b_t ? p->b.rows : p->b.columns) || p->c.rows != p->d.rows ||
        p->c.columns != p->d.columns)
        return CUBLAS_STATUS_INVALID_VALUE;
    if (p->desc.epilogue != CUBLASLT_EPILOGUE_DEFAULT && !has_bias(p))
        return CUBLAS_STATUS_NOT_SUPPORTED;
    if (has_bias(p) && (!p->desc.bias || (uintptr_t)p->desc.bias % 16))
        return CUBLAS_STATUS_INVALID_VALUE;
    if (p->a.type == CUDA_R_8F_E4M3 && !may_be_of_eight_bits(p))
        return CUBLAS_STATUS_NOT_SUPPORTED;
    return types_go_together(p) ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}

/* --- choosing ---------------------------------------------------------------------------------- */

/* The largest power of two to which columns of that many bytes are aligned. */
static uint32_t ld_alignment(const fake_layout *l)
{
    const uint64_t bytes = (uint64_t)l->ld * bytes_of(l->type);

    return (uint32_t)(bytes & -bytes);
}

static void choose(const product *p, const fake_preference *wish, const fake_kernel *k, fake_algo *algo)
{
    const fake_layout *all[] = { &p->a, &p->b, &p->c, &p->d };

    *algo = (fake_algo){ .magic = MAGIC,
                         .types = { (int16_t)p->a.type, (int16_t)p->d.type,
                                    has_bias(p) ? (int16_t)bias_type(p) : (int16_t)-1 },
                         .step = (int16_t)(k->step ? (uint64_t)k->step : 8 + p->b.columns % 7 * 4),
                         .split = k->by_columns || wish->reduction != CUBLASLT_REDUCTION_SCHEME_NONE,
                         .refuses = k->refuses,
                         .build = fake_cuda.blas_build,
                         .ms = (float)k->ms,
                         .workspace = wish->workspace < WORKSPACE_BYTES ? 0 : WORKSPACE_BYTES };
    for (int i = 0; i < 4; i++) {
        const uint32_t ld = ld_alignment(all[i]), address = wish->alignment[i];

        algo->alignment[i] = ld < address ? ld : address;
        if (algo->alignment[i] > 16)
            algo->alignment[i] = 16; /* nothing is loaded in larger pieces */
    }
}

static cublasStatus_t heuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t a,
                                cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                cublasLtMatmulPreference_t preference, int asked,
                                cublasLtMatmulHeuristicResult_t results[], int *found)
{
    const product p = product_of(desc, a, b, c, d);
    const cublasStatus_t code = check_product(&p);

    *found = 0;
    if (!handle || asked < 1)
        return CUBLAS_STATUS_INVALID_VALUE;
    if (code)
        return code;
    for (int i = 0; i < 4; i++)
        if (p.a.type == CUDA_R_8F_E4M3 && ((const fake_preference *)preference)->alignment[i] < 16)
            return CUBLAS_STATUS_NOT_SUPPORTED;
    fake_cuda.choices++;
    for (; *found < asked && *found < fake_cuda.kernels_offered; ++*found) {
        cublasLtMatmulHeuristicResult_t *result = &results[*found];
        fake_algo algo;

        choose(&p, (const fake_preference *)preference, &fake_cuda.kernel[*found], &algo);
        memset(result, 0, sizeof(*result));
        memcpy(&result->algo, &algo, sizeof(algo));
        result->workspaceSize = algo.workspace;
    }
    return CUBLAS_STATUS_SUCCESS;
}

/* A kernel works only for the types and alignments that it was chosen for, but for any number of columns. */
static cublasStatus_t check_algo(const product *p, const fake_algo *algo)
{
    const fake_layout *all[] = { &p->a, &p->b, &p->c, &p->d };
    const cublasStatus_t code = check_product(p);

    if (code)
        return code;
    if (algo->magic != MAGIC || algo->build != fake_cuda.blas_build)
        return CUBLAS_STATUS_INVALID_VALUE;
    if (algo->types[0] != (int16_t)p->a.type || algo->types[1] != (int16_t)p->d.type ||
        algo->types[2] != (has_bias(p) ? (int16_t)bias_type(p) : (int16_t)-1))
        return CUBLAS_STATUS_NOT_SUPPORTED;
    for (int i = 0; i < 4; i++)
        if (ld_alignment(all[i]) < algo->alignment[i])
            return CUBLAS_STATUS_NOT_SUPPORTED;
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t algo_check(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t a,
                                 cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                 const cublasLtMatmulAlgo_t *algo, cublasLtMatmulHeuristicResult_t *result)
{
    const product p = product_of(desc, a, b, c, d);
    const fake_algo *f = (const fake_algo *)(const void *)algo;
    const cublasStatus_t code = handle ? check_algo(&p, f) : CUBLAS_STATUS_INVALID_VALUE;

    if (code)
        return code;
    memset(result, 0, sizeof(*result));
    result->algo = *algo;
    result->workspaceSize = f->workspace;
    return CUBLAS_STATUS_SUCCESS;
}

/* --- the product --------------------------------------------------------------------------------- */

typedef struct matmul_args {
    product p;
    fake_algo algo;
    float alpha, beta;
    const void *a, *b, *c;
    void *d;
    void *workspace;
    uint64_t stamp; /* kept in the workspace, to see whether other work changes it */
} matmul_args;

static float read_value(const void *memory, cudaDataType_t type, size_t i)
{
    if (type == CUDA_R_32F)
        return ((const float *)memory)[i];
    if (type == CUDA_R_8F_E4M3)
        return dr_float_from_e4m3(((const uint8_t *)memory)[i]);
    return type == CUDA_R_16F ? dr_float_from_f16(((const uint16_t *)memory)[i])
                              : dr_float_from_bf16(((const uint16_t *)memory)[i]);
}

static void write_value(void *memory, cudaDataType_t type, size_t i, float value)
{
    if (type == CUDA_R_32F)
        ((float *)memory)[i] = value;
    else
        ((uint16_t *)memory)[i] = type == CUDA_R_16F ? dr_f16_from_float(value) : dr_bf16_from_float(value);
}

/* op(M) in float32, with the values of one sum side by side: [rows of A or columns of B, depth]. */
static float *unpack(const void *memory, const fake_layout *l, bool depth_is_rows)
{
    const size_t lines = depth_is_rows ? l->columns : l->rows, depth = depth_is_rows ? l->rows : l->columns;
    float *values = malloc(lines * depth * sizeof(float));

    dr_assert(values);
    for (size_t i = 0; i < lines; i++)
        for (size_t k = 0; k < depth; k++)
            values[i * depth + k] =
                read_value(memory, l->type, depth_is_rows ? k + i * (size_t)l->ld : i + k * (size_t)l->ld);
    return values;
}

static float sum_of_products(const float *a, const float *b, size_t depth, size_t step)
{
    float sum = 0.0f;

    for (size_t begin = 0; begin < depth; begin += step) {
        const size_t end = depth - begin < step ? depth : begin + step;
        float part = 0.0f;

        for (size_t k = begin; k < end; k++)
            part += a[k] * b[k];
        sum += part;
    }
    return sum;
}

static uint64_t stamps;

static void take_workspace(const void *args)
{
    const matmul_args *m = args;

    if (!m->algo.workspace)
        return;
    memset(m->workspace, 0xff, m->algo.workspace);
    memcpy(m->workspace, &m->stamp, sizeof(m->stamp));
}

static void run_matmul(const void *args)
{
    const matmul_args *m = args;
    const product *p = &m->p;
    const bool a_t = p->desc.op_a == CUBLAS_OP_T, b_t = p->desc.op_b == CUBLAS_OP_T;
    const size_t depth = a_t ? p->a.rows : p->a.columns;
    const size_t step = m->algo.split ? 1 + p->b.columns % 32 : (size_t)m->algo.step;
    float *a = unpack(m->a, &p->a, a_t), *b = unpack(m->b, &p->b, !b_t);

    dr_assert(!m->algo.workspace || !memcmp(m->workspace, &m->stamp, sizeof(m->stamp)));
    for (size_t j = 0; j < p->d.columns; j++)
        for (size_t i = 0; i < p->d.rows; i++) {
            float value = m->alpha * sum_of_products(a + i * depth, b + j * depth, depth, step);

            if (m->beta != 0.0f)
                value += m->beta * read_value(m->c, p->c.type, i + j * (size_t)p->c.ld);
            if (has_bias(p))
                value += read_value(p->desc.bias, bias_type(p), i);
            write_value(m->d, p->d.type, i + j * (size_t)p->d.ld, value);
        }
    free(a);
    free(b);
    fake_cuda.kernels++;
    fake_cuda.clock_ms += (double)m->algo.ms;
}

/* Enqueues two pieces of work, so that the work of another stream may come between them. */
static cublasStatus_t matmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, const void *alpha,
                             const void *a, cublasLtMatrixLayout_t a_layout, const void *b,
                             cublasLtMatrixLayout_t b_layout, const void *beta, const void *c,
                             cublasLtMatrixLayout_t c_layout, void *d, cublasLtMatrixLayout_t d_layout,
                             const cublasLtMatmulAlgo_t *algo, void *workspace, size_t workspace_bytes,
                             cudaStream_t stream)
{
    const matmul_args m = {
        product_of(desc, a_layout, b_layout, c_layout, d_layout),
        *(const fake_algo *)(const void *)algo, /* without an algorithm the library would choose again */
        *(const float *)alpha,
        *(const float *)beta,
        a,
        b,
        c,
        d,
        workspace,
        ++stamps
    };
    const void *all[] = { a, b, c, d };
    const cublasStatus_t code = handle && stream ? check_algo(&m.p, &m.algo) : CUBLAS_STATUS_INVALID_VALUE;

    if (code)
        return code;
    if (m.algo.refuses)
        return CUBLAS_STATUS_NOT_SUPPORTED;
    if (m.algo.workspace > workspace_bytes || (m.algo.workspace && (!workspace || (uintptr_t)workspace % 16)))
        return CUBLAS_STATUS_INVALID_VALUE;
    for (int i = 0; i < 4; i++)
        if (!all[i] || (uintptr_t)all[i] % m.algo.alignment[i])
            return CUBLAS_STATUS_INVALID_VALUE;
    if (c == d && m.p.c.ld != m.p.d.ld)
        return CUBLAS_STATUS_INVALID_VALUE;
    return fake_cuda_enqueue(stream, take_workspace, &m, sizeof(m)) ||
                   fake_cuda_enqueue(stream, run_matmul, &m, sizeof(m))
               ? CUBLAS_STATUS_EXECUTION_FAILED
               : CUBLAS_STATUS_SUCCESS;
}

/* --- the table -------------------------------------------------------------------------------------- */

static cublasStatus_t create(cublasLtHandle_t *handle)
{
    if (fake_cuda.blas_fails)
        return CUBLAS_STATUS_NOT_INITIALIZED;
    *handle = (cublasLtHandle_t)&fake_cuda;
    fake_cuda.handles++;
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t destroy(cublasLtHandle_t handle)
{
    (void)handle;
    fake_cuda.handles--;
    return CUBLAS_STATUS_SUCCESS;
}

static size_t version(void)
{
    return 130100;
}

static const char *status(cublasStatus_t code)
{
    switch (code) {
    case CUBLAS_STATUS_NOT_INITIALIZED:
        return "the library was not initialized";
    case CUBLAS_STATUS_INVALID_VALUE:
        return "an unsupported value or parameter was passed to the function";
    case CUBLAS_STATUS_NOT_SUPPORTED:
        return "the requested functionality is not supported";
    default:
        return "the function failed to launch on the GPU";
    }
}

const cuda_blas fake_blas = { .cublasLtCreate = create,
                              .cublasLtDestroy = destroy,
                              .cublasLtGetVersion = version,
                              .cublasLtGetStatusString = status,
                              .cublasLtMatmul = matmul,
                              .cublasLtMatmulDescInit_internal = init_desc,
                              .cublasLtMatmulDescSetAttribute = set_desc,
                              .cublasLtMatrixLayoutInit_internal = init_layout,
                              .cublasLtMatmulPreferenceCreate = create_preference,
                              .cublasLtMatmulPreferenceDestroy = destroy_preference,
                              .cublasLtMatmulPreferenceSetAttribute = set_preference,
                              .cublasLtMatmulAlgoGetHeuristic = heuristic,
                              .cublasLtMatmulAlgoCheck = algo_check };

#include "base/error.h"
#include "tests/cuda/fake/dnn.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CODES_MAX = 1 << 16 };

/* --- a plan's code ---------------------------------------------------------------------------- */

static struct {
    bool loaded, unloaded;
} codes[CODES_MAX];

int fake_dnn_new_code(void)
{
    static int count;

    dr_assert(++count < CODES_MAX);
    return count;
}

void fake_dnn_unload(int code)
{
    codes[code].unloaded = true;
}

static cudnnStatus_t load(int code)
{
    if (!codes[code].loaded && fake_cuda_call_relaxed())
        return fake_dnn_fail(CUDNN_STATUS_EXECUTION_FAILED_CUDA_DRIVER, "loading the kernel's code");
    codes[code].loaded = true;
    return CUDNN_STATUS_SUCCESS;
}

/* --- the graph -------------------------------------------------------------------------------- */

/* Is it [rows, heads, tokens, channels], with vectors that begin at multiples of 16 bytes? */
static bool has_vectors(const fake_tensor *t, cudnnDataType_t type)
{
    bool has = t->type == type && t->strides[3] == 1 && t->sides[3] % 8 == 0 && t->alignment >= 16;

    for (int i = 0; i < 3; i++)
        has &= t->strides[i] % 8 == 0;
    return has && !t->is_virtual && !t->by_value;
}

bool fake_dnn_has_attention(const fake_graph *g)
{
    const cudnnDataType_t type = g->q.type;
    const int64_t *s = g->scale.sides;

    return (type == CUDNN_DATA_HALF || type == CUDNN_DATA_BFLOAT16) && has_vectors(&g->q, type) &&
           has_vectors(&g->k, type) && has_vectors(&g->v, type) && has_vectors(&g->y, type) &&
           g->scale.by_value && g->scale.type == CUDNN_DATA_FLOAT && s[0] * s[1] * s[2] * s[3] == 1;
}

/* --- running ---------------------------------------------------------------------------------- */

typedef struct attend_args {
    fake_graph g;
    fake_kernel kernel;
    const void *q, *k, *v;
    void *y, *workspace;
    float scale;
    size_t workspace_bytes;
    int code;
} attend_args;

static size_t place(const fake_tensor *t, int64_t n, int64_t head, int64_t token)
{
    return (size_t)(n * t->strides[0] + head * t->strides[1] + token * t->strides[2]);
}

/* The values of one head in one row: [tokens, channels]. */
static float *unpack(const void *memory, const fake_tensor *t, int64_t n, int64_t head)
{
    const int64_t channels = t->sides[3];
    float *values = malloc((size_t)(t->sides[2] * channels) * sizeof(*values));

    dr_assert(values);
    for (int64_t i = 0; i < t->sides[2]; i++)
        for (int64_t c = 0; c < channels; c++)
            values[i * channels + c] = fake_dnn_read(memory, t->type, place(t, n, head, i) + (size_t)c);
    return values;
}

/* A sum over the keys in steps, as a kernel's is. */
typedef struct stepped {
    float sum, part;
    int64_t count;
} stepped;

static void add(stepped *s, int64_t step, float value)
{
    s->part += value;
    if (++s->count == step) {
        s->sum += s->part;
        s->part = 0.0f;
        s->count = 0;
    }
}

/* Computes the weights of the keys for one query, rounded to the storage type for the second product.
 * Returns the sum of the weights before rounding. */
static float weigh(const attend_args *r, int64_t step, const float *q, const float *k, float *weight)
{
    const int64_t keys = r->g.k.sides[2], channels = r->g.k.sides[3];
    stepped all = { 0.0f, 0.0f, 0 };
    float most = -INFINITY;
    uint16_t stored;

    for (int64_t i = 0; i < keys; i++) {
        weight[i] = 0.0f;
        for (int64_t c = 0; c < channels; c++)
            weight[i] += q[c] * k[i * channels + c];
        weight[i] *= r->scale;
        most = fmaxf(most, weight[i]);
    }
    for (int64_t i = 0; i < keys; i++) {
        weight[i] = expf(weight[i] - most);
        add(&all, step, weight[i]);
        fake_dnn_write(&stored, r->g.q.type, 0, weight[i]);
        weight[i] = fake_dnn_read(&stored, r->g.q.type, 0);
    }
    return all.sum + all.part;
}

static void attend(const attend_args *r, int64_t step, int64_t n, int64_t head)
{
    const fake_graph *g = &r->g;
    const int64_t keys = g->k.sides[2], channels = g->q.sides[3];
    float *q = unpack(r->q, &g->q, n, head), *k = unpack(r->k, &g->k, n, head);
    float *v = unpack(r->v, &g->v, n, head), *weight = malloc((size_t)keys * sizeof(*weight));

    dr_assert(weight);
    for (int64_t token = 0; token < g->q.sides[2]; token++) {
        const float all = weigh(r, step, q + token * channels, k, weight);
        for (int64_t c = 0; c < channels; c++) {
            stepped mean = { 0.0f, 0.0f, 0 };
            for (int64_t i = 0; i < keys; i++)
                add(&mean, step, weight[i] * v[i * channels + c]);
            fake_dnn_write(r->y, g->y.type, place(&g->y, n, head, token) + (size_t)c,
                           (mean.sum + mean.part) / all);
        }
    }
    free(q);
    free(k);
    free(v);
    free(weight);
}

static void run(const void *args)
{
    const attend_args *r = args;
    const int64_t *sides = r->g.q.sides;
    const int64_t step = r->kernel.by_columns ? 1 + sides[0] % 32 : r->kernel.step ? r->kernel.step : 8;

    dr_assert(!codes[r->code].unloaded); /* a kernel's code must still be loaded */
    if (r->workspace_bytes)
        memset(r->workspace, 0xff, r->workspace_bytes); /* destroys what anybody else left there */
    for (int64_t n = 0; n < sides[0]; n++)
        for (int64_t head = 0; head < sides[1]; head++)
            attend(r, step, n, head);
    fake_cuda.kernels++;
    fake_cuda.clock_ms += r->kernel.ms;
}

cudnnStatus_t fake_dnn_attend(const fake_engine *e, const fake_pack *pack, cudaStream_t stream)
{
    const fake_graph *g = &e->graph;
    attend_args r = { .g = *g,
                      .kernel = fake_dnn_kernel(e->index),
                      .workspace = pack->workspace,
                      .workspace_bytes = (size_t)fake_dnn_workspace(e),
                      .code = e->code };
    const void *y = NULL, *scale = NULL;
    cudnnStatus_t code = fake_dnn_find(pack, &g->q, &r.q);

    if (!code)
        code = fake_dnn_find(pack, &g->k, &r.k);
    if (!code)
        code = fake_dnn_find(pack, &g->v, &r.v);
    if (!code)
        code = fake_dnn_find(pack, &g->y, &y);
    if (!code)
        code = fake_dnn_find(pack, &g->scale, &scale);
    if (!code)
        code = load(e->code);
    if (code)
        return code;
    if (pack->count != 5 || (r.workspace_bytes && !r.workspace))
        return fake_dnn_fail(CUDNN_STATUS_BAD_PARAM, "too many tensors, or no workspace");
    if (r.kernel.refuses)
        return fake_dnn_fail(CUDNN_STATUS_EXECUTION_FAILED, "the kernel does not start");
    r.y = (void *)(uintptr_t)y;
    r.scale = *(const float *)scale;
    return fake_cuda_enqueue(stream, run, &r, sizeof(r))
               ? fake_dnn_fail(CUDNN_STATUS_EXECUTION_FAILED_CUDART, "the launch")
               : CUDNN_STATUS_SUCCESS;
}

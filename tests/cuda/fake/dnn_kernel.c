#include "tests/cuda/fake/dnn.h"

#include "base/error.h"
#include "base/half.h"
#include "tests/cuda/fake/runtime.h"

#include <stdlib.h>
#include <string.h>

enum { FALLBACK = FAKE_KERNELS_MAX }; /* an engine that is offered only to those who ask for the fallback */

fake_kernel fake_dnn_kernel(int index)
{
    return index == FALLBACK ? (fake_kernel){ .step = 4, .ms = 1000 } : fake_cuda.dnn_kernel[index];
}

/* --- engines ------------------------------------------------------------------------------ */

int fake_dnn_engines(const fake_graph *graph, cudnnBackendHeurMode_t mode, int first_to_last[16])
{
    int count = 0;

    if (!graph->compiled)
        return 0;
    if (mode == CUDNN_HEUR_MODE_FALLBACK) {
        first_to_last[0] = FALLBACK;
        return fake_cuda.dnn_falls_back;
    }
    for (; count < fake_cuda.dnn_kernels_offered; count++)
        first_to_last[count] = count;
    return count;
}

int fake_dnn_knobs(int index, fake_knob knob[4])
{
    const fake_kernel k = fake_dnn_kernel(index);
    int count = 0;

    knob[count++] = (fake_knob){ CUDNN_KNOB_TYPE_TILE_SIZE, index + 1 };
    knob[count++] = (fake_knob){ CUDNN_KNOB_TYPE_SPLIT_K_SLC, k.splits ? 4 : 1 };
    if (k.streams)
        knob[count++] = (fake_knob){ CUDNN_KNOB_TYPE_STREAM_K, 1 };
    return count;
}

int fake_dnn_notes(int index, cudnnBackendNumericalNote_t note[2])
{
    note[0] = CUDNN_NUMERICAL_NOTE_TENSOR_CORE;
    note[1] = CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC;
    return fake_dnn_kernel(index).unsure ? 2 : 1;
}

bool fake_dnn_compiles_late(const fake_engine *e)
{
    return e->graph.attends || fake_dnn_kernel(e->index).compiled_late;
}

int64_t fake_dnn_workspace(const fake_engine *e)
{
    return fake_dnn_kernel(e->index).workspace * e->graph.rows;
}

/* A build of the library may lack an engine that another build had.  Some engines do only a few shapes. */
cudnnStatus_t fake_dnn_check_engine(const fake_engine *e)
{
    const bool there = e->index == FALLBACK || (e->index >= 0 && e->index < fake_cuda.dnn_kernels_offered);

    if (!e->graph.compiled || !there || e->build != fake_cuda.dnn_build)
        return fake_dnn_fail(CUDNN_STATUS_NOT_SUPPORTED, "no such engine");
    if (fake_dnn_kernel(e->index).rows_max && e->graph.rows > fake_dnn_kernel(e->index).rows_max)
        return fake_dnn_fail(CUDNN_STATUS_NOT_SUPPORTED_SHAPE, "too many rows");
    return CUDNN_STATUS_SUCCESS;
}

/* --- running ---------------------------------------------------------------------------------- */

typedef struct run_args {
    fake_graph g;
    fake_kernel kernel;
    const void *x, *weight, *added, *bias;
    void *y, *workspace;
    size_t workspace_bytes;
} run_args;

float fake_dnn_read(const void *memory, cudnnDataType_t type, size_t i)
{
    return type == CUDNN_DATA_HALF ? dr_float_from_f16(((const uint16_t *)memory)[i])
                                   : dr_float_from_bf16(((const uint16_t *)memory)[i]);
}

void fake_dnn_write(void *memory, cudnnDataType_t type, size_t i, float value)
{
    ((uint16_t *)memory)[i] = type == CUDNN_DATA_HALF ? dr_f16_from_float(value) : dr_bf16_from_float(value);
}

static float *unpack(const void *memory, const fake_tensor *t)
{
    const size_t count = (size_t)(t->sides[0] * t->sides[1] * t->sides[2] * t->sides[3]);
    float *values = malloc(count * sizeof(*values));

    dr_assert(values);
    for (size_t i = 0; i < count; i++)
        values[i] = fake_dnn_read(memory, t->type, i);
    return values;
}

/* The sum of a filter over its window at (i, j) of a row of x, in steps as a kernel's are. */
static float sum_at(const fake_graph *g, int64_t step, const float *row, const float *filter, int64_t i,
                    int64_t j)
{
    const int64_t channels = g->x.sides[1], h = g->x.sides[2], w = g->x.sides[3], kernel = g->weight.sides[3];
    float sum = 0.0f, part = 0.0f;
    int64_t added = 0;

    for (int64_t t = 0; t < kernel * kernel; t++) {
        const int64_t y_at = i * g->stride[0] - g->before[0] + t / kernel;
        const int64_t x_at = j * g->stride[1] - g->before[1] + t % kernel;
        const bool inside = y_at >= 0 && y_at < h && x_at >= 0 && x_at < w;
        const float *pixel = inside ? row + (y_at * w + x_at) * channels : NULL;

        for (int64_t c = 0; c < channels; c++) {
            part += inside ? pixel[c] * filter[t * channels + c] : 0.0f;
            if (++added == step) {
                sum += part;
                part = 0.0f;
                added = 0;
            }
        }
    }
    return sum + part;
}

static void run(const void *args)
{
    const run_args *r = args;
    const fake_graph *g = &r->g;
    const int64_t *x = g->x.sides, *y = g->y.sides;
    const int64_t step = r->kernel.by_columns ? 1 + x[0] % 32 : r->kernel.step ? r->kernel.step : 8;
    const int64_t row = x[1] * x[2] * x[3], filter = x[1] * g->weight.sides[2] * g->weight.sides[3];
    float *values = unpack(r->x, &g->x), *weight = unpack(r->weight, &g->weight);

    if (r->workspace_bytes)
        memset(r->workspace, 0xff, r->workspace_bytes); /* destroys what anybody else left there */
    for (int64_t at = 0; at < y[0] * y[1] * y[2] * y[3]; at++) {
        const int64_t k = at % y[1], pixel = at / y[1] % (y[2] * y[3]), n = at / y[1] / (y[2] * y[3]);
        float value = sum_at(g, step, values + n * row, weight + k * filter, pixel / y[3], pixel % y[3]);

        if (g->has_added)
            value += fake_dnn_read(r->added, g->y.type, (size_t)at);
        value += fake_dnn_read(r->bias, g->y.type, (size_t)k);
        fake_dnn_write(r->y, g->y.type, (size_t)at, value);
    }
    free(values);
    free(weight);
    fake_cuda.kernels++;
    fake_cuda.clock_ms += r->kernel.ms;
}

cudnnStatus_t fake_dnn_find(const fake_pack *pack, const fake_tensor *t, const void **memory)
{
    int found = 0;

    for (int i = 0; i < pack->count; i++)
        if (pack->name[i] == t->name) {
            *memory = pack->memory[i];
            found++;
        }
    if (found != 1 || !*memory)
        return fake_dnn_fail(CUDNN_STATUS_BAD_PARAM, "a tensor of the graph is not in the pack, or twice");
    if (!t->by_value && (uintptr_t)*memory % (uintptr_t)t->alignment)
        return fake_dnn_fail(CUDNN_STATUS_BAD_PARAM_MISALIGNED_POINTER, "a tensor is not aligned");
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t fake_dnn_run(const fake_engine *e, const fake_pack *pack, cudaStream_t stream)
{
    run_args r = { .g = e->graph,
                   .kernel = fake_dnn_kernel(e->index),
                   .workspace = pack->workspace,
                   .workspace_bytes = (size_t)fake_dnn_workspace(e) };
    const void *y = NULL;
    cudnnStatus_t code = fake_dnn_find(pack, &e->graph.x, &r.x);

    if (!code)
        code = fake_dnn_find(pack, &e->graph.weight, &r.weight);
    if (!code && e->graph.has_added)
        code = fake_dnn_find(pack, &e->graph.added, &r.added);
    if (!code)
        code = fake_dnn_find(pack, &e->graph.bias, &r.bias);
    if (!code)
        code = fake_dnn_find(pack, &e->graph.y, &y);
    if (code)
        return code;
    if (pack->count != 4 + e->graph.has_added || (r.workspace_bytes && !r.workspace))
        return fake_dnn_fail(CUDNN_STATUS_BAD_PARAM, "too many tensors, or no workspace");
    if (r.kernel.refuses)
        return fake_dnn_fail(CUDNN_STATUS_EXECUTION_FAILED, "the kernel does not start");
    r.y = (void *)(uintptr_t)y;
    return fake_cuda_enqueue(stream, run, &r, sizeof(r))
               ? fake_dnn_fail(CUDNN_STATUS_EXECUTION_FAILED_CUDART, "the launch")
               : CUDNN_STATUS_SUCCESS;
}

#include "ops/cuda/dnn_graph.h"

#include "base/dtype.h"
#include "base/limits.h"

#include <string.h>

typedef cudnnBackendDescriptor_t descriptor;

/* Tensors' names in a graph. */
enum { X = 1, WEIGHT, CONVOLVED, ADDED, SUMMED, BIAS, Y };

enum {
    PLAN_ALIGNMENT = 16,
    RESULTS_MAX = 64, /* configurations that are looked at: the heuristic names some 40 */
    FALLBACKS = 2,    /* candidates for which room is kept: should no guess of the heuristic's do */
};

/* --- errors ---------------------------------------------------------------------------- */

static dr_status status_of(cudnnStatus_t code)
{
    if (code == CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED ||
        code == CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED)
        return DR_ENOMEM;
    return code / 1000 == CUDNN_STATUS_NOT_SUPPORTED / 1000 ? DR_EUNSUPPORTED : DR_EDEVICE;
}

/* The library's own words: which condition it was that did not hold. */
static dr_status check(const cuda_dnn *dnn, cudnnStatus_t code, const char *doing, dr_error *err)
{
    char why[160] = "";

    if (code == CUDNN_STATUS_SUCCESS)
        return DR_OK;
    dnn->cudnnGetLastErrorString(why, sizeof(why));
    return dr_fail(err, status_of(code), "cuDNN, %s: %s%s%s", doing, dnn->cudnnGetErrorString(code),
                   *why ? ": " : "", why);
}

/* --- descriptors -------------------------------------------------------------------------- */

/* What is made goes into the plan.  After the first failure nothing more is done. */
typedef struct maker {
    const cuda_dnn_place *at;
    cuda_dnn_plan *plan;
    cudnnStatus_t code;
} maker;

static descriptor make(maker *m, cudnnBackendDescriptorType_t type)
{
    descriptor made = NULL;

    if (m->code)
        return NULL;
    dr_assert(m->plan->count < CUDA_DNN_MADE_MAX);
    m->code = m->at->dnn->cudnnBackendCreateDescriptor(type, &made);
    if (!m->code)
        m->plan->made[m->plan->count++] = made;
    return made;
}

static void set(maker *m, descriptor d, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                int count, const void *values)
{
    if (!m->code)
        m->code = m->at->dnn->cudnnBackendSetAttribute(d, name, type, count, values);
}

static void set_one(maker *m, descriptor d, cudnnBackendAttributeName_t name, descriptor value)
{
    set(m, d, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value);
}

static void set_number(maker *m, descriptor d, cudnnBackendAttributeName_t name, int64_t value)
{
    set(m, d, name, CUDNN_TYPE_INT64, 1, &value);
}

static void set_type(maker *m, descriptor d, cudnnBackendAttributeName_t name, cudnnDataType_t value)
{
    set(m, d, name, CUDNN_TYPE_DATA_TYPE, 1, &value);
}

static descriptor finalize(maker *m, descriptor d)
{
    if (!m->code)
        m->code = m->at->dnn->cudnnBackendFinalize(d);
    return d;
}

static void destroy(const cuda_dnn *dnn, descriptor *made, int count)
{
    while (count > 0)
        dnn->cudnnBackendDestroyDescriptor(made[--count]);
}

/* --- the graph ------------------------------------------------------------------------------ */

static cudnnDataType_t data_type(int32_t dtype)
{
    return dtype == DR_F16 ? CUDNN_DATA_HALF : CUDNN_DATA_BFLOAT16;
}

/* Dimensions in the library's order, whatever the layout: strides say that channels lie last. */
static descriptor tensor(maker *m, int64_t name, cudnnDataType_t type, int64_t n, int64_t c, int64_t h,
                         int64_t w, bool in_memory)
{
    const int64_t sides[4] = { n, c, h, w }, strides[4] = { h * w * c, 1, w * c, c };
    const bool is_virtual = !in_memory;
    descriptor t = make(m, CUDNN_BACKEND_TENSOR_DESCRIPTOR);

    set_number(m, t, CUDNN_ATTR_TENSOR_UNIQUE_ID, name);
    set_type(m, t, CUDNN_ATTR_TENSOR_DATA_TYPE, type);
    set(m, t, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, sides);
    set(m, t, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, strides);
    set_number(m, t, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, PLAN_ALIGNMENT);
    set(m, t, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &is_virtual);
    return finalize(m, t);
}

static descriptor convolution(maker *m, const cuda_dnn_way *w, descriptor x, descriptor weight, descriptor y)
{
    const int64_t stride[2] = { w->stride, w->stride }, step[2] = { 1, 1 };
    const int64_t before[2] = { w->before, w->before }, after[2] = { w->kernel / 2, w->kernel / 2 };
    const cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    const float one = 1.0f, zero = 0.0f;
    descriptor c = make(m, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR), operation;

    set_type(m, c, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_DATA_FLOAT);
    set(m, c, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode);
    set_number(m, c, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, 2);
    set(m, c, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2, step);
    set(m, c, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2, stride);
    set(m, c, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2, before);
    set(m, c, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2, after);
    finalize(m, c);
    operation = make(m, CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR);
    set_one(m, operation, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, c);
    set_one(m, operation, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, x);
    set_one(m, operation, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, weight);
    set_one(m, operation, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, y);
    set(m, operation, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, CUDNN_TYPE_FLOAT, 1, &one);
    set(m, operation, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, CUDNN_TYPE_FLOAT, 1, &zero);
    return finalize(m, operation);
}

static descriptor addition(maker *m, descriptor adding, descriptor x, descriptor b, descriptor y)
{
    descriptor operation = make(m, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);

    set_one(m, operation, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, adding);
    set_one(m, operation, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x);
    set_one(m, operation, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, b);
    set_one(m, operation, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y);
    return finalize(m, operation);
}

static descriptor new_adding(maker *m)
{
    const cudnnPointwiseMode_t mode = CUDNN_POINTWISE_ADD;
    descriptor adding = make(m, CUDNN_BACKEND_POINTWISE_DESCRIPTOR);

    set(m, adding, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode);
    set_type(m, adding, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_DATA_FLOAT);
    return finalize(m, adding);
}

/* Since 9.8 a graph may do without a handle, and is then for the thread's current device.  All that the library has been
 * used for in the world was made with one. */
static void set_handle(maker *m, descriptor graph)
{
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
    if (m->at->handle)
        set(m, graph, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &m->at->handle);
#pragma GCC diagnostic pop
}

static descriptor describe(maker *m, const cuda_dnn_way *w, int rows)
{
    const cudnnDataType_t stored = data_type(w->storage), sum = CUDNN_DATA_FLOAT;
    descriptor x = tensor(m, X, stored, rows, w->in, w->x_h, w->x_w, true);
    descriptor weight = tensor(m, WEIGHT, stored, w->out, w->in, w->kernel, w->kernel, true);
    descriptor convolved = tensor(m, CONVOLVED, sum, rows, w->out, w->y_h, w->y_w, false);
    descriptor bias = tensor(m, BIAS, stored, 1, w->out, 1, 1, true);
    descriptor y = tensor(m, Y, stored, rows, w->out, w->y_h, w->y_w, true);
    descriptor adding = new_adding(m), operations[3], graph;
    int count = 0;

    operations[count++] = convolution(m, w, x, weight, convolved);
    if (w->has_added) {
        descriptor added = tensor(m, ADDED, stored, rows, w->out, w->y_h, w->y_w, true);
        descriptor summed = tensor(m, SUMMED, sum, rows, w->out, w->y_h, w->y_w, false);
        operations[count++] = addition(m, adding, convolved, added, summed);
        convolved = summed;
    }
    operations[count++] = addition(m, adding, convolved, bias, y);
    graph = make(m, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    set_handle(m, graph);
    set(m, graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, count, operations);
    return finalize(m, graph);
}

/* --- candidates ------------------------------------------------------------------------------ */

/* Results of attributes that are descriptors go into ones that are there. */
static cudnnStatus_t get_all(const cuda_dnn *dnn, descriptor from, cudnnBackendAttributeName_t name,
                             cudnnBackendDescriptorType_t type, descriptor *made, int most, int *count)
{
    int64_t there = 0, got = 0;
    cudnnStatus_t code =
        dnn->cudnnBackendGetAttribute(from, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, &there, NULL);

    *count = 0;
    for (int64_t i = 0; i < there && i < most && !code; i++) {
        code = dnn->cudnnBackendCreateDescriptor(type, &made[i]);
        *count += !code;
    }
    if (!code && *count > 0)
        code = dnn->cudnnBackendGetAttribute(from, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, *count, &got, made);
    for (; !code && *count > got; --*count)
        dnn->cudnnBackendDestroyDescriptor(made[*count - 1]);
    return code;
}

static cudnnStatus_t get_one(const cuda_dnn *dnn, descriptor from, cudnnBackendAttributeName_t name,
                             cudnnBackendAttributeType_t type, void *value)
{
    int64_t got = 0;
    const cudnnStatus_t code = dnn->cudnnBackendGetAttribute(from, name, type, 1, &got, value);

    return !code && got != 1 ? CUDNN_STATUS_INTERNAL_ERROR_UNEXPECTED_VALUE : code;
}

/* Sums in float32, and the same ones every time. */
static bool has_good_notes(const cudnnBackendNumericalNote_t *note, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        if (note[i] != CUDNN_NUMERICAL_NOTE_TENSOR_CORE && note[i] != CUDNN_NUMERICAL_NOTE_STRICT_NAN_PROP)
            return false;
    return true;
}

/* One that cuts a sum into pieces for several blocks cuts by how many blocks there are, or may. */
static bool splits_sums(cudnnBackendKnobType_t type, int64_t value)
{
    switch (type) {
    case CUDNN_KNOB_TYPE_SPLIT_K_BUF:
    case CUDNN_KNOB_TYPE_SPLIT_K_SLC:
    case CUDNN_KNOB_TYPE_SPLIT_P_SLC:
    case CUDNN_KNOB_TYPE_SPLIT_COLS:
        return value > 1;
    case CUDNN_KNOB_TYPE_STREAM_K:
        return value > 0;
    default:
        return false;
    }
}

static cudnnStatus_t read_engine(const cuda_dnn *dnn, descriptor config, cuda_dnn_choice *choice,
                                 bool *usable)
{
    cudnnBackendNumericalNote_t note[CUDNN_NUMERICAL_NOTE_TYPE_COUNT];
    int64_t index = 0, notes = 0;
    descriptor engine = NULL;
    cudnnStatus_t code = dnn->cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINE_DESCRIPTOR, &engine);

    if (code)
        return code;
    code = get_one(dnn, config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, &engine);
    if (!code)
        code = get_one(dnn, engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, &index);
    if (!code)
        code =
            dnn->cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE,
                                          CUDNN_NUMERICAL_NOTE_TYPE_COUNT, &notes, note);
    dnn->cudnnBackendDestroyDescriptor(engine);
    choice->engine = (int32_t)index;
    *usable = !code && has_good_notes(note, notes);
    return code;
}

static cudnnStatus_t read_knobs(const cuda_dnn *dnn, descriptor config, cuda_dnn_choice *choice, bool *usable)
{
    descriptor knob[CUDA_DNN_KNOBS_MAX + 1]; /* more than there is room for shows */
    int count;
    cudnnStatus_t code = get_all(dnn, config, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES,
                                 CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR, knob, CUDA_DNN_KNOBS_MAX + 1, &count);

    *usable &= count <= CUDA_DNN_KNOBS_MAX;
    for (int i = 0; i < count && *usable && !code; i++) {
        cudnnBackendKnobType_t type = CUDNN_KNOB_TYPE_COUNTS;
        int64_t value = 0;
        code = get_one(dnn, knob[i], CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, CUDNN_TYPE_KNOB_TYPE, &type);
        if (!code)
            code = get_one(dnn, knob[i], CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, CUDNN_TYPE_INT64, &value);
        choice->knob[i].type = (int32_t)type;
        choice->knob[i].value = (int32_t)value;
        *usable &= value == choice->knob[i].value && !splits_sums(type, value);
    }
    choice->knobs = count;
    destroy(dnn, knob, count);
    return code;
}

static cudnnStatus_t read_config(const cuda_dnn *dnn, descriptor config, size_t workspace_max,
                                 cuda_dnn_choice *choice, bool *usable)
{
    int64_t workspace = 0;
    cudnnStatus_t code;

    memset(choice, 0, sizeof(*choice));
    code = get_one(dnn, config, CUDNN_ATTR_ENGINECFG_WORKSPACE_SIZE, CUDNN_TYPE_INT64, &workspace);
    if (!code)
        code = read_engine(dnn, config, choice, usable);
    *usable = !code && *usable && workspace >= 0 && (uint64_t)workspace <= workspace_max;
    if (!code && *usable)
        code = read_knobs(dnn, config, choice, usable);
    return code;
}

/* Adds to *count, up to `most`. */
static void ask_heuristic(maker *m, descriptor graph, cudnnBackendHeurMode_t mode, size_t workspace_max,
                          cuda_dnn_choice *choice, int most, int *count)
{
    const cuda_dnn *dnn = m->at->dnn;
    descriptor heuristic = make(m, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR), config[RESULTS_MAX];
    int configs = 0;

    set_one(m, heuristic, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
    set(m, heuristic, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
    if (m->at->properties)
        set_one(m, heuristic, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, m->at->properties);
    finalize(m, heuristic);
    if (!m->code)
        m->code = get_all(dnn, heuristic, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR,
                          config, RESULTS_MAX, &configs);
    for (int i = 0; i < configs && *count < most && !m->code; i++) {
        bool usable = false;
        m->code = read_config(dnn, config[i], workspace_max, &choice[*count], &usable);
        *count += usable;
    }
    destroy(dnn, config, configs);
}

dr_status cuda_dnn_candidates(const cuda_dnn_place *at, const cuda_dnn_way *way, int rows,
                              size_t workspace_max, cuda_dnn_choice *choice, int *count, dr_error *err)
{
    cuda_dnn_plan asked = { .count = 0 };
    maker m = { .at = at, .plan = &asked };
    descriptor graph = describe(&m, way, rows);
    dr_status rc;

    *count = 0;
    ask_heuristic(&m, graph, CUDNN_HEUR_MODE_A, workspace_max, choice, DR_CUDA_CANDIDATES_MAX - FALLBACKS,
                  count);
    ask_heuristic(&m, graph, CUDNN_HEUR_MODE_FALLBACK, workspace_max, choice, DR_CUDA_CANDIDATES_MAX, count);
    rc = check(at->dnn, m.code, "asking for kernels", err);
    cuda_dnn_plan_free(&asked, at);
    return !rc && *count == 0 ? dr_fail(err, DR_EUNSUPPORTED, "cuDNN has no kernel that we can use") : rc;
}

/* --- plans -------------------------------------------------------------------------------------- */

static descriptor new_engine(maker *m, descriptor graph, const cuda_dnn_choice *choice)
{
    descriptor engine = make(m, CUDNN_BACKEND_ENGINE_DESCRIPTOR);

    set_one(m, engine, CUDNN_ATTR_ENGINE_OPERATION_GRAPH, graph);
    set_number(m, engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, choice->engine);
    if (m->at->properties)
        set_one(m, engine, CUDNN_ATTR_ENGINE_DEVICEPROP, m->at->properties);
    return finalize(m, engine);
}

static descriptor new_config(maker *m, descriptor engine, const cuda_dnn_choice *choice)
{
    descriptor knob[CUDA_DNN_KNOBS_MAX], config;

    for (int i = 0; i < choice->knobs; i++) {
        const cudnnBackendKnobType_t type = (cudnnBackendKnobType_t)choice->knob[i].type;
        knob[i] = make(m, CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR);
        set(m, knob[i], CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, CUDNN_TYPE_KNOB_TYPE, 1, &type);
        set_number(m, knob[i], CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, choice->knob[i].value);
        finalize(m, knob[i]);
    }
    config = make(m, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    set_one(m, config, CUDNN_ATTR_ENGINECFG_ENGINE, engine);
    if (choice->knobs > 0)
        set(m, config, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, CUDNN_TYPE_BACKEND_DESCRIPTOR, choice->knobs, knob);
    return finalize(m, config);
}

dr_status cuda_dnn_plan_make(cuda_dnn_plan *plan, const cuda_dnn_place *at, const cuda_dnn_way *way,
                             const cuda_dnn_choice *choice, int rows, dr_error *err)
{
    maker m = { .at = at, .plan = plan };
    int64_t workspace = 0;
    descriptor config, made;

    *plan = (cuda_dnn_plan){ .count = 0 };
    if (choice->knobs < 0 || choice->knobs > CUDA_DNN_KNOBS_MAX)
        return dr_fail(err, DR_EUNSUPPORTED, "a kernel of cuDNN's with %d knobs", (int)choice->knobs);
    config = new_config(&m, new_engine(&m, describe(&m, way, rows), choice), choice);
    made = make(&m, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    set_one(&m, made, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config);
    finalize(&m, made);
    if (!m.code)
        m.code =
            get_one(at->dnn, made, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, &workspace);
    plan->workspace_bytes = (size_t)workspace;
    return check(at->dnn, m.code, "making a plan", err);
}

void cuda_dnn_plan_free(cuda_dnn_plan *plan, const cuda_dnn_place *at)
{
    destroy(at->dnn, plan->made, plan->count);
    plan->count = 0;
}

/* --- running --------------------------------------------------------------------------------------- */

dr_status cuda_dnn_plan_run(const cuda_dnn_plan *plan, const cuda_dnn_place *at, const cuda_dnn_args *a,
                            dr_error *err)
{
    const int64_t name[] = { X, WEIGHT, BIAS, Y, ADDED };
    const void *const memory[] = { a->x, a->weight, a->bias, a->y, a->added };
    const int count = a->added ? 5 : 4;
    cuda_dnn_plan packed = { .count = 0 };
    maker m = { .at = at, .plan = &packed };
    descriptor pack = make(&m, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    dr_status rc;

    set(&m, pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, count, name);
    set(&m, pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, count, memory);
    set(&m, pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &a->workspace);
    finalize(&m, pack);
    if (!m.code)
        m.code = at->dnn->cudnnBackendExecute(at->handle, plan->made[plan->count - 1], pack);
    rc = check(at->dnn, m.code, "starting a convolution", err);
    cuda_dnn_plan_free(&packed, at);
    return rc;
}

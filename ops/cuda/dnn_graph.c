#include "ops/cuda/dnn_graph.h"

#include "base/limits.h"

#include <string.h>

typedef cudnnBackendDescriptor_t descriptor;

enum {
    RESULTS_MAX =
        64, /* how many configurations are looked at: the heuristic names some 40, and few for attention */
    FALLBACKS = 2, /* room that is kept for other candidates, in case no guess of the heuristic will do */
};

/* --- errors ---------------------------------------------------------------------------- */

static dr_status status_of(cudnnStatus_t code)
{
    if (code == CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED ||
        code == CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED)
        return DR_ENOMEM;
    return code / 1000 == CUDNN_STATUS_NOT_SUPPORTED / 1000 ? DR_EUNSUPPORTED : DR_EDEVICE;
}

/* The library's own message.  It has several lines, and says which condition did not hold. */
static dr_status check(const cuda_dnn *dnn, cudnnStatus_t code, const char *doing, dr_error *err)
{
    char why[160] = "";

    if (code == CUDNN_STATUS_SUCCESS)
        return DR_OK;
    dnn->cudnnGetLastErrorString(why, sizeof(why));
    why[strcspn(why, "\n")] = 0;
    return dr_fail(err, status_of(code), "cuDNN, %s: %s%s%s", doing, dnn->cudnnGetErrorString(code),
                   *why ? ": " : "", why);
}

/* --- the graph ------------------------------------------------------------------------------ */

/* Since cuDNN 9.8 a graph needs no handle.  It is then for the thread's current device.  We give it a
 * handle all the same, as everybody else does: that way is well tried. */
static void set_handle(cuda_dnn_maker *m, descriptor graph)
{
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
    if (m->at->handle)
        cuda_dnn_set(m, graph, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &m->at->handle);
#pragma GCC diagnostic pop
}

static descriptor describe(cuda_dnn_maker *m, const cuda_dnn_operator *op, const void *way, int rows)
{
    descriptor operations[CUDA_DNN_OPERATIONS_MAX], graph;
    const int count = op->describe(m, way, rows, operations);

    graph = cuda_dnn_make(m, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    set_handle(m, graph);
    cuda_dnn_set(m, graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, count, operations);
    return cuda_dnn_finalize(m, graph);
}

/* --- candidates ------------------------------------------------------------------------------ */

/* Reads an attribute whose values are descriptors.  The caller must make descriptors first, and the
 * library fills them.  (The library can be asked how many there will be, but for the knobs of an
 * attention engine it answers 0.) */
static cudnnStatus_t get_all(const cuda_dnn *dnn, descriptor from, cudnnBackendAttributeName_t name,
                             cudnnBackendDescriptorType_t type, descriptor *made, int most, int *count)
{
    cudnnStatus_t code = CUDNN_STATUS_SUCCESS;
    int64_t got = 0;

    for (*count = 0; *count < most && !code; *count += !code)
        code = dnn->cudnnBackendCreateDescriptor(type, &made[*count]);
    if (!code)
        code = dnn->cudnnBackendGetAttribute(from, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, most, &got, made);
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

/* Whether a kernel's sums are float32, and the same every time. */
static bool has_good_notes(const cudnnBackendNumericalNote_t *note, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        if (note[i] != CUDNN_NUMERICAL_NOTE_TENSOR_CORE && note[i] != CUDNN_NUMERICAL_NOTE_STRICT_NAN_PROP)
            return false;
    return true;
}

/* Whether a kernel splits a sum over several blocks.  How it splits the sum depends, or may depend, on
 * the number of blocks. */
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

/* Whether a kernel is compiled anew for each number of rows. */
static bool is_compiled_late(const cudnnBackendBehaviorNote_t *note, int64_t count)
{
    bool late = false;

    for (int64_t i = 0; i < count; i++)
        late |= note[i] == CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION;
    return late;
}

static cudnnStatus_t read_engine(const cuda_dnn *dnn, descriptor config, bool may_compile,
                                 cuda_dnn_choice *choice, bool *usable)
{
    cudnnBackendNumericalNote_t note[CUDNN_NUMERICAL_NOTE_TYPE_COUNT];
    cudnnBackendBehaviorNote_t behavior[CUDNN_BEHAVIOR_NOTE_TYPE_COUNT];
    int64_t index = 0, notes = 0, behaviors = 0;
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
    if (!code)
        code =
            dnn->cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE, CUDNN_TYPE_BEHAVIOR_NOTE,
                                          CUDNN_BEHAVIOR_NOTE_TYPE_COUNT, &behaviors, behavior);
    dnn->cudnnBackendDestroyDescriptor(engine);
    choice->engine = (int32_t)index;
    *usable = !code && has_good_notes(note, notes) && (may_compile || !is_compiled_late(behavior, behaviors));
    return code;
}

static cudnnStatus_t read_knobs(const cuda_dnn *dnn, descriptor config, cuda_dnn_choice *choice, bool *usable)
{
    descriptor knob[CUDA_DNN_KNOBS_MAX + 1]; /* one more than allowed, to notice when there are too many */
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
    cuda_dnn_destroy(dnn, knob, count);
    return code;
}

static cudnnStatus_t read_config(const cuda_dnn *dnn, descriptor config, bool may_compile,
                                 size_t workspace_max, cuda_dnn_choice *choice, bool *usable)
{
    int64_t workspace = 0;
    cudnnStatus_t code;

    memset(choice, 0, sizeof(*choice));
    code = get_one(dnn, config, CUDNN_ATTR_ENGINECFG_WORKSPACE_SIZE, CUDNN_TYPE_INT64, &workspace);
    if (!code)
        code = read_engine(dnn, config, may_compile, choice, usable);
    *usable = !code && *usable && workspace >= 0 && (uint64_t)workspace <= workspace_max;
    if (!code && *usable)
        code = read_knobs(dnn, config, choice, usable);
    return code;
}

/* Adds candidates to choice[*count], up to `most`. */
static void ask_heuristic(cuda_dnn_maker *m, descriptor graph, cudnnBackendHeurMode_t mode, bool may_compile,
                          size_t workspace_max, cuda_dnn_choice *choice, int most, int *count)
{
    const cuda_dnn *dnn = m->at->dnn;
    descriptor heuristic = cuda_dnn_make(m, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR), config[RESULTS_MAX];
    int configs = 0;

    cuda_dnn_set_one(m, heuristic, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
    cuda_dnn_set(m, heuristic, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
    if (m->at->properties)
        cuda_dnn_set_one(m, heuristic, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, m->at->properties);
    cuda_dnn_finalize(m, heuristic);
    if (!m->code)
        m->code = get_all(dnn, heuristic, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR,
                          config, RESULTS_MAX, &configs);
    for (int i = 0; i < configs && *count < most && !m->code; i++) {
        bool usable = false;
        m->code = read_config(dnn, config[i], may_compile, workspace_max, &choice[*count], &usable);
        *count += usable;
    }
    cuda_dnn_destroy(dnn, config, configs);
}

dr_status cuda_dnn_candidates(const cuda_dnn_place *at, const cuda_dnn_operator *op, const void *way,
                              int rows, size_t workspace_max, cuda_dnn_choice *choice, int *count,
                              dr_error *err)
{
    cuda_dnn_made asked = { .count = 0 };
    cuda_dnn_maker m = { .at = at, .made = &asked };
    descriptor graph = describe(&m, op, way, rows);
    dr_status rc;

    *count = 0;
    ask_heuristic(&m, graph, CUDNN_HEUR_MODE_A, op->compiles, workspace_max, choice,
                  DR_CUDA_CANDIDATES_MAX - FALLBACKS, count);
    ask_heuristic(&m, graph, CUDNN_HEUR_MODE_FALLBACK, op->compiles, workspace_max, choice,
                  DR_CUDA_CANDIDATES_MAX, count);
    rc = check(at->dnn, m.code, "asking for kernels", err);
    cuda_dnn_destroy(at->dnn, asked.made, asked.count);
    return !rc && *count == 0 ? dr_fail(err, DR_EUNSUPPORTED, "cuDNN has no kernel that we can use") : rc;
}

/* --- plans -------------------------------------------------------------------------------------- */

static descriptor new_engine(cuda_dnn_maker *m, descriptor graph, const cuda_dnn_choice *choice)
{
    descriptor engine = cuda_dnn_make(m, CUDNN_BACKEND_ENGINE_DESCRIPTOR);

    cuda_dnn_set_one(m, engine, CUDNN_ATTR_ENGINE_OPERATION_GRAPH, graph);
    cuda_dnn_set_number(m, engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, choice->engine);
    if (m->at->properties)
        cuda_dnn_set_one(m, engine, CUDNN_ATTR_ENGINE_DEVICEPROP, m->at->properties);
    return cuda_dnn_finalize(m, engine);
}

static descriptor new_config(cuda_dnn_maker *m, descriptor engine, const cuda_dnn_choice *choice)
{
    descriptor knob[CUDA_DNN_KNOBS_MAX], config;

    for (int i = 0; i < choice->knobs; i++) {
        const cudnnBackendKnobType_t type = (cudnnBackendKnobType_t)choice->knob[i].type;
        knob[i] = cuda_dnn_make(m, CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR);
        cuda_dnn_set(m, knob[i], CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, CUDNN_TYPE_KNOB_TYPE, 1, &type);
        cuda_dnn_set_number(m, knob[i], CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, choice->knob[i].value);
        cuda_dnn_finalize(m, knob[i]);
    }
    config = cuda_dnn_make(m, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    cuda_dnn_set_one(m, config, CUDNN_ATTR_ENGINECFG_ENGINE, engine);
    if (choice->knobs > 0)
        cuda_dnn_set(m, config, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                     choice->knobs, knob);
    return cuda_dnn_finalize(m, config);
}

dr_status cuda_dnn_plan_make(cuda_dnn_plan *plan, const cuda_dnn_place *at, const cuda_dnn_operator *op,
                             const void *way, const cuda_dnn_choice *choice, int rows, dr_error *err)
{
    cuda_dnn_maker m = { .at = at, .made = &plan->descriptors };
    int64_t workspace = 0;
    descriptor config, made;

    *plan = (cuda_dnn_plan){ .workspace_bytes = 0 };
    if (choice->knobs < 0 || choice->knobs > CUDA_DNN_KNOBS_MAX)
        return dr_fail(err, DR_EUNSUPPORTED, "a kernel of cuDNN's with %d knobs", (int)choice->knobs);
    config = new_config(&m, new_engine(&m, describe(&m, op, way, rows), choice), choice);
    made = cuda_dnn_make(&m, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    cuda_dnn_set_one(&m, made, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config);
    cuda_dnn_finalize(&m, made);
    if (!m.code)
        m.code =
            get_one(at->dnn, made, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, &workspace);
    plan->workspace_bytes = (size_t)workspace;
    return check(at->dnn, m.code, "making a plan", err);
}

void cuda_dnn_plan_free(cuda_dnn_plan *plan, const cuda_dnn_place *at)
{
    cuda_dnn_destroy(at->dnn, plan->descriptors.made, plan->descriptors.count);
    plan->descriptors.count = 0;
}

/* --- running --------------------------------------------------------------------------------------- */

dr_status cuda_dnn_plan_run(const cuda_dnn_plan *plan, const cuda_dnn_place *at, const cuda_dnn_pack *a,
                            dr_error *err)
{
    const cuda_dnn_made *of = &plan->descriptors;
    cuda_dnn_made packed = { .count = 0 };
    cuda_dnn_maker m = { .at = at, .made = &packed };
    descriptor pack = cuda_dnn_make(&m, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    dr_status rc;

    cuda_dnn_set(&m, pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, a->count, a->name);
    cuda_dnn_set(&m, pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, a->count, a->memory);
    cuda_dnn_set(&m, pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &a->workspace);
    cuda_dnn_finalize(&m, pack);
    if (!m.code)
        m.code = at->dnn->cudnnBackendExecute(at->handle, of->made[of->count - 1], pack);
    rc = check(at->dnn, m.code, "starting a kernel", err);
    cuda_dnn_destroy(at->dnn, packed.made, packed.count);
    return rc;
}

#include "tests/cuda/fake/dnn_descriptor.h"

#include "base/error.h"
#include "tests/cuda/fake/runtime.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BAD(why) fake_dnn_fail(CUDNN_STATUS_BAD_PARAM, why)

/* --- errors ---------------------------------------------------------------------------------- */

static char last_error[128];

cudnnStatus_t fake_dnn_fail(cudnnStatus_t code, const char *why)
{
    snprintf(last_error, sizeof(last_error), "%s", why);
    return code;
}

static void get_last_error(char *message, size_t bytes)
{
    snprintf(message, bytes, "%s", last_error);
    *last_error = 0;
}

static const char *error_string(cudnnStatus_t code)
{
    switch (code / 1000) {
    case 2:
        return "CUDNN_STATUS_BAD_PARAM";
    case 3:
        return "CUDNN_STATUS_NOT_SUPPORTED";
    case 4:
        return "CUDNN_STATUS_INTERNAL_ERROR";
    default:
        return "CUDNN_STATUS_EXECUTION_FAILED";
    }
}

/* Any call can be made to fail. */
static cudnnStatus_t call(void)
{
    if (++fake_cuda.dnn_calls == fake_cuda.dnn_fail_call)
        return fake_dnn_fail(fake_cuda.dnn_error, "as it was told to");
    return CUDNN_STATUS_SUCCESS;
}

static fake_descriptor *descriptor_of(cudnnBackendDescriptor_t d)
{
    fake_descriptor *f = (fake_descriptor *)d;

    dr_assert(f && f->magic == FAKE_DNN_MAGIC); /* otherwise the program would crash, or worse */
    return f;
}

/* --- descriptors --------------------------------------------------------------------------------- */

static cudnnStatus_t create(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t *d)
{
    const cudnnStatus_t code = call();
    fake_descriptor *f;

    if (code)
        return code;
    f = calloc(1, sizeof(*f));
    dr_assert(f);
    f->magic = FAKE_DNN_MAGIC;
    f->type = type;
    *d = (cudnnBackendDescriptor_t)f;
    fake_cuda.handles++;
    return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t destroy(cudnnBackendDescriptor_t d)
{
    fake_descriptor *f = descriptor_of(d);

    if (f->type == CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR && f->finalized && f->is.engine.code)
        fake_dnn_unload(f->is.engine.code);
    f->magic = 0;
    free(d);
    fake_cuda.handles--;
    return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t set_attribute(cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
                                   cudnnBackendAttributeType_t type, int64_t count, const void *values)
{
    const cudnnStatus_t code = call();

    return code ? code : fake_dnn_set(descriptor_of(d), name, type, count, values);
}

static cudnnStatus_t finalize(cudnnBackendDescriptor_t d)
{
    const cudnnStatus_t code = call();

    return code ? code : fake_dnn_finalize(descriptor_of(d));
}

/* --- asking --------------------------------------------------------------------------------------- */

/* Puts a finalized descriptor where the caller has only created one. */
static cudnnStatus_t put(void *values, int64_t i, const fake_descriptor *made)
{
    fake_descriptor *to = descriptor_of(((cudnnBackendDescriptor_t *)values)[i]);

    if (to->type != made->type || to->finalized)
        return BAD("a descriptor of another kind, or one that is finalized");
    *to = *made;
    return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t get_configs(const fake_descriptor *f, int64_t asked, int64_t *got, void *values)
{
    cudnnStatus_t code = CUDNN_STATUS_SUCCESS;
    int engine[16];
    const int there = fake_dnn_engines(&f->is.heuristic.graph, f->is.heuristic.mode, engine);

    *got = asked == 0 || there < asked ? there : asked;
    for (int64_t i = 0; i < *got && asked > 0 && !code; i++)
        code = put(values, i,
                   &(fake_descriptor){ .magic = FAKE_DNN_MAGIC,
                                       .type = CUDNN_BACKEND_ENGINECFG_DESCRIPTOR,
                                       .finalized = true,
                                       .is.engine = { .graph = f->is.heuristic.graph,
                                                      .index = engine[i],
                                                      .build = fake_cuda.dnn_build } });
    return code;
}

static cudnnStatus_t get_knobs(const fake_descriptor *f, int64_t asked, int64_t *got, void *values)
{
    cudnnStatus_t code = CUDNN_STATUS_SUCCESS;
    fake_knob knob[4];
    const int there = fake_dnn_knobs(f->is.engine.index, knob);

    *got = there < asked ? there : asked; /* the real one says 0 for attention if asked is 0 */
    for (int64_t i = 0; i < *got && asked > 0 && !code; i++)
        code = put(values, i,
                   &(fake_descriptor){ .magic = FAKE_DNN_MAGIC,
                                       .type = CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR,
                                       .finalized = true,
                                       .is.knob = knob[i] });
    return code;
}

static cudnnStatus_t get_number(int64_t value, int64_t *got, void *values)
{
    *(int64_t *)values = value;
    *got = 1;
    return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t get_notes(const fake_descriptor *f, int64_t asked, int64_t *got, void *values)
{
    cudnnBackendNumericalNote_t note[2];

    *got = fake_dnn_notes(f->is.engine.index, note);
    memcpy(values, note, (size_t)(*got < asked ? *got : asked) * sizeof(*note));
    return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t get_behaviors(const fake_descriptor *f, int64_t asked, int64_t *got, void *values)
{
    const cudnnBackendBehaviorNote_t note[] = { CUDNN_BEHAVIOR_NOTE_SUPPORTS_CUDA_GRAPH_NATIVE_API,
                                                CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION };

    *got = 1 + fake_dnn_compiles_late(&f->is.engine);
    memcpy(values, note, (size_t)(*got < asked ? *got : asked) * sizeof(*note));
    return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t get_attribute(cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
                                   cudnnBackendAttributeType_t type, int64_t asked, int64_t *got,
                                   void *values)
{
    const fake_descriptor *f = descriptor_of(d);
    const cudnnStatus_t code = call();
    fake_descriptor engine = { .magic = FAKE_DNN_MAGIC,
                               .type = CUDNN_BACKEND_ENGINE_DESCRIPTOR,
                               .finalized = true };

    (void)type;
    if (code)
        return code;
    if (!f->finalized)
        return fake_dnn_fail(CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED, "asked before it was finalized");
    switch (name) {
    case CUDNN_ATTR_ENGINEHEUR_RESULTS:
        return get_configs(f, asked, got, values);
    case CUDNN_ATTR_ENGINECFG_ENGINE:
        engine.is.engine = f->is.engine;
        *got = 1;
        return put(values, 0, &engine);
    case CUDNN_ATTR_ENGINECFG_KNOB_CHOICES:
        return get_knobs(f, asked, got, values);
    case CUDNN_ATTR_ENGINECFG_WORKSPACE_SIZE:
    case CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE:
        return get_number(fake_dnn_workspace(&f->is.engine), got, values);
    case CUDNN_ATTR_ENGINE_GLOBAL_INDEX:
        return get_number(f->is.engine.index, got, values);
    case CUDNN_ATTR_ENGINE_NUMERICAL_NOTE:
        return get_notes(f, asked, got, values);
    case CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE:
        return get_behaviors(f, asked, got, values);
    case CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE:
        *(cudnnBackendKnobType_t *)values = f->is.knob.type;
        *got = 1;
        return CUDNN_STATUS_SUCCESS;
    case CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE:
        return get_number(f->is.knob.value, got, values);
    default:
        return BAD("no such attribute");
    }
}

/* --- the table ------------------------------------------------------------------------------------- */

static cudaStream_t current_stream;

static cudnnStatus_t create_handle(cudnnHandle_t *handle)
{
    *handle = (cudnnHandle_t)FAKE_DNN_HANDLE;
    current_stream = NULL;
    fake_cuda.handles++;
    return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t destroy_handle(cudnnHandle_t handle)
{
    dr_assert(handle == (cudnnHandle_t)FAKE_DNN_HANDLE);
    fake_cuda.handles--;
    return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t set_stream(cudnnHandle_t handle, cudaStream_t stream)
{
    dr_assert(handle == (cudnnHandle_t)FAKE_DNN_HANDLE);
    current_stream = stream;
    return call();
}

static cudnnStatus_t execute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan,
                             cudnnBackendDescriptor_t pack)
{
    const fake_descriptor *p = descriptor_of(plan), *v = descriptor_of(pack);
    const cudnnStatus_t code = call();

    if (code)
        return code;
    if (handle != (cudnnHandle_t)FAKE_DNN_HANDLE || !current_stream ||
        p->type != CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR || !p->finalized ||
        v->type != CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR || !v->finalized)
        return BAD("no handle, no stream, no plan or no pack");
    return p->is.engine.graph.attends ? fake_dnn_attend(&p->is.engine, &v->is.pack, current_stream)
                                      : fake_dnn_run(&p->is.engine, &v->is.pack, current_stream);
}

static size_t version(void)
{
    return (size_t)fake_cuda.dnn_version;
}

const cuda_dnn fake_dnn = { .cudnnCreate = create_handle,
                            .cudnnDestroy = destroy_handle,
                            .cudnnSetStream = set_stream,
                            .cudnnGetVersion = version,
                            .cudnnGetErrorString = error_string,
                            .cudnnGetLastErrorString = get_last_error,
                            .cudnnBackendCreateDescriptor = create,
                            .cudnnBackendDestroyDescriptor = destroy,
                            .cudnnBackendSetAttribute = set_attribute,
                            .cudnnBackendGetAttribute = get_attribute,
                            .cudnnBackendFinalize = finalize,
                            .cudnnBackendExecute = execute };

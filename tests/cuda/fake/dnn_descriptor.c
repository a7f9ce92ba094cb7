#include "tests/cuda/fake/dnn_descriptor.h"

#include "base/error.h"
#include "tests/cuda/fake/runtime.h"

#include <string.h>

#pragma GCC diagnostic ignored "-Wdeprecated-declarations" /* a graph's handle: see ops/cuda/dnn_graph.c */

enum { OPERATIONS_MAX = 3 };

#define BAD(why) fake_dnn_fail(CUDNN_STATUS_BAD_PARAM, why)

/* --- attributes ---------------------------------------------------------------------------------- */

/* Which attributes may be set on which descriptor, and how many values each has.  For values that are
 * descriptors: of which kind. */
static const struct rule {
    cudnnBackendDescriptorType_t on;
    cudnnBackendAttributeName_t name;
    cudnnBackendAttributeType_t type;
    int least, most;
    bool optional;
    cudnnBackendDescriptorType_t kind;
} rules[] = {
#define ON(on, ...)                                  \
    {                                                \
        CUDNN_BACKEND_##on##_DESCRIPTOR, __VA_ARGS__ \
    }
#define NUMBERS(name, count) CUDNN_ATTR_##name, CUDNN_TYPE_INT64, count, count, false, 0
#define ENUM(name, type) CUDNN_ATTR_##name, CUDNN_TYPE_##type, 1, 1, false, 0
#define ONE(name, kind) \
    CUDNN_ATTR_##name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, 1, false, CUDNN_BACKEND_##kind##_DESCRIPTOR
    ON(TENSOR, NUMBERS(TENSOR_UNIQUE_ID, 1)),
    ON(TENSOR, ENUM(TENSOR_DATA_TYPE, DATA_TYPE)),
    ON(TENSOR, NUMBERS(TENSOR_DIMENSIONS, 4)),
    ON(TENSOR, NUMBERS(TENSOR_STRIDES, 4)),
    ON(TENSOR, NUMBERS(TENSOR_BYTE_ALIGNMENT, 1)),
    ON(TENSOR, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, 1, true, 0),
    ON(TENSOR, CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, 1, 1, true, 0),
    ON(CONVOLUTION, ENUM(CONVOLUTION_COMP_TYPE, DATA_TYPE)),
    ON(CONVOLUTION, ENUM(CONVOLUTION_CONV_MODE, CONVOLUTION_MODE)),
    ON(CONVOLUTION, NUMBERS(CONVOLUTION_SPATIAL_DIMS, 1)),
    ON(CONVOLUTION, NUMBERS(CONVOLUTION_DILATIONS, 2)),
    ON(CONVOLUTION, NUMBERS(CONVOLUTION_FILTER_STRIDES, 2)),
    ON(CONVOLUTION, NUMBERS(CONVOLUTION_PRE_PADDINGS, 2)),
    ON(CONVOLUTION, NUMBERS(CONVOLUTION_POST_PADDINGS, 2)),
    ON(OPERATION_CONVOLUTION_FORWARD, ONE(OPERATION_CONVOLUTION_FORWARD_CONV_DESC, CONVOLUTION)),
    ON(OPERATION_CONVOLUTION_FORWARD, ONE(OPERATION_CONVOLUTION_FORWARD_X, TENSOR)),
    ON(OPERATION_CONVOLUTION_FORWARD, ONE(OPERATION_CONVOLUTION_FORWARD_W, TENSOR)),
    ON(OPERATION_CONVOLUTION_FORWARD, ONE(OPERATION_CONVOLUTION_FORWARD_Y, TENSOR)),
    ON(OPERATION_CONVOLUTION_FORWARD, ENUM(OPERATION_CONVOLUTION_FORWARD_ALPHA, FLOAT)),
    ON(OPERATION_CONVOLUTION_FORWARD, ENUM(OPERATION_CONVOLUTION_FORWARD_BETA, FLOAT)),
    ON(POINTWISE, ENUM(POINTWISE_MODE, POINTWISE_MODE)),
    ON(POINTWISE, ENUM(POINTWISE_MATH_PREC, DATA_TYPE)),
    ON(OPERATION_POINTWISE, ONE(OPERATION_POINTWISE_PW_DESCRIPTOR, POINTWISE)),
    ON(OPERATION_POINTWISE, ONE(OPERATION_POINTWISE_XDESC, TENSOR)),
    ON(OPERATION_POINTWISE, ONE(OPERATION_POINTWISE_BDESC, TENSOR)),
    ON(OPERATION_POINTWISE, ONE(OPERATION_POINTWISE_YDESC, TENSOR)),
    ON(OPERATION_SDPA_FWD, ONE(OPERATION_SDPA_FWD_QDESC, TENSOR)),
    ON(OPERATION_SDPA_FWD, ONE(OPERATION_SDPA_FWD_KDESC, TENSOR)),
    ON(OPERATION_SDPA_FWD, ONE(OPERATION_SDPA_FWD_VDESC, TENSOR)),
    ON(OPERATION_SDPA_FWD, ONE(OPERATION_SDPA_FWD_ODESC, TENSOR)),
    ON(OPERATION_SDPA_FWD, ONE(OPERATION_SDPA_FWD_SCALEDESC, TENSOR)),
    ON(OPERATIONGRAPH, ENUM(OPERATIONGRAPH_HANDLE, HANDLE)),
    ON(OPERATIONGRAPH, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, OPERATIONS_MAX, false,
       CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR), /* or the operation of a convolution, or of attention */
    ON(ENGINEHEUR, ONE(ENGINEHEUR_OPERATION_GRAPH, OPERATIONGRAPH)),
    ON(ENGINEHEUR, ENUM(ENGINEHEUR_MODE, HEUR_MODE)),
    ON(ENGINE, ONE(ENGINE_OPERATION_GRAPH, OPERATIONGRAPH)),
    ON(ENGINE, NUMBERS(ENGINE_GLOBAL_INDEX, 1)),
    ON(KNOB_CHOICE, ENUM(KNOB_CHOICE_KNOB_TYPE, KNOB_TYPE)),
    ON(KNOB_CHOICE, NUMBERS(KNOB_CHOICE_KNOB_VALUE, 1)),
    ON(ENGINECFG, ONE(ENGINECFG_ENGINE, ENGINE)),
    ON(ENGINECFG, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, 4, true,
       CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR),
    ON(EXECUTION_PLAN, ONE(EXECUTION_PLAN_ENGINE_CONFIG, ENGINECFG)),
    ON(VARIANT_PACK, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, 1, 8, false, 0),
    ON(VARIANT_PACK, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, 1, 8, false, 0),
    ON(VARIANT_PACK, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, 1, false, 0),
};
enum { RULES = sizeof(rules) / sizeof(rules[0]) };

static const struct rule *rule_of(const fake_descriptor *f, cudnnBackendAttributeName_t name)
{
    for (int i = 0; i < RULES; i++)
        if (rules[i].on == f->type && rules[i].name == name)
            return &rules[i];
    return NULL;
}

static size_t bytes_of(cudnnBackendAttributeType_t type)
{
    switch (type) {
    case CUDNN_TYPE_BOOLEAN:
        return sizeof(bool);
    case CUDNN_TYPE_INT64:
    case CUDNN_TYPE_VOID_PTR:
    case CUDNN_TYPE_HANDLE:
    case CUDNN_TYPE_BACKEND_DESCRIPTOR:
        return 8;
    default:
        return 4;
    }
}

static bool fits(const struct rule *r, const fake_descriptor *value)
{
    return value->finalized && (value->type == r->kind ||
                                (r->on == CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR &&
                                 (value->type == CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR ||
                                  value->type == CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR)));
}

cudnnStatus_t fake_dnn_set(fake_descriptor *f, cudnnBackendAttributeName_t name,
                           cudnnBackendAttributeType_t type, int64_t count, const void *values)
{
    const struct rule *r = rule_of(f, name);

    if (f->finalized || !r || r->type != type || count < r->least || count > r->most || (count && !values))
        return BAD("no such attribute, or not so many, or of another type, or too late");
    dr_assert(f->attributes < (int)(sizeof(f->attribute) / sizeof(f->attribute[0])));
    struct fake_attribute *a = &f->attribute[f->attributes++];
    *a = (struct fake_attribute){ .name = name, .count = count };
    for (int64_t i = 0; i < count; i++) {
        memcpy(&a->values[i], (const char *)values + (size_t)i * bytes_of(type), bytes_of(type));
        if (type == CUDNN_TYPE_BACKEND_DESCRIPTOR && !fits(r, (const fake_descriptor *)a->values[i]))
            return BAD("a descriptor of another kind, or not finalized");
    }
    return CUDNN_STATUS_SUCCESS;
}

static const struct fake_attribute *attribute(const fake_descriptor *f, cudnnBackendAttributeName_t name)
{
    static const struct fake_attribute none;

    for (int i = 0; i < f->attributes; i++)
        if (f->attribute[i].name == name)
            return &f->attribute[i];
    return &none;
}

static int64_t number(const fake_descriptor *f, cudnnBackendAttributeName_t name)
{
    return attribute(f, name)->values[0];
}

static const fake_descriptor *part(const fake_descriptor *f, cudnnBackendAttributeName_t name)
{
    return (const fake_descriptor *)number(f, name);
}

/* --- finalizing ----------------------------------------------------------------------------------- */

static cudnnStatus_t finish_tensor(fake_descriptor *f)
{
    fake_tensor *t = &f->is.tensor;

    *t = (fake_tensor){ .name = number(f, CUDNN_ATTR_TENSOR_UNIQUE_ID),
                        .type = (cudnnDataType_t)number(f, CUDNN_ATTR_TENSOR_DATA_TYPE),
                        .alignment = number(f, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT),
                        .is_virtual = number(f, CUDNN_ATTR_TENSOR_IS_VIRTUAL),
                        .by_value = number(f, CUDNN_ATTR_TENSOR_IS_BY_VALUE) };
    memcpy(t->sides, attribute(f, CUDNN_ATTR_TENSOR_DIMENSIONS)->values, sizeof(t->sides));
    memcpy(t->strides, attribute(f, CUDNN_ATTR_TENSOR_STRIDES)->values, sizeof(t->strides));
    for (int i = 0; i < 4; i++)
        if (t->sides[i] < 1 || t->strides[i] < 1)
            return BAD("a side or stride of a tensor below 1");
    if (t->alignment < 2 || (t->alignment & (t->alignment - 1)))
        return BAD("a tensor's alignment is no power of two");
    return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t finish_convolution(fake_descriptor *f)
{
    fake_convolution *c = &f->is.convolution;
    const int64_t *dilation = attribute(f, CUDNN_ATTR_CONVOLUTION_DILATIONS)->values;

    memcpy(c->stride, attribute(f, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES)->values, sizeof(c->stride));
    memcpy(c->before, attribute(f, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS)->values, sizeof(c->before));
    memcpy(c->after, attribute(f, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS)->values, sizeof(c->after));
    if (number(f, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS) != 2 || c->stride[0] < 1 || c->stride[1] < 1 ||
        dilation[0] != 1 || dilation[1] != 1 || c->before[0] < 0 || c->after[0] < 0)
        return BAD("a convolution's strides, dilations or paddings");
    if (number(f, CUDNN_ATTR_CONVOLUTION_CONV_MODE) != CUDNN_CROSS_CORRELATION ||
        number(f, CUDNN_ATTR_CONVOLUTION_COMP_TYPE) != CUDNN_DATA_FLOAT)
        return fake_dnn_fail(CUDNN_STATUS_NOT_SUPPORTED, "a convolution's mode or type");
    return CUDNN_STATUS_SUCCESS;
}

static float float_of(const fake_descriptor *f, cudnnBackendAttributeName_t name)
{
    float value;

    memcpy(&value, attribute(f, name)->values, sizeof(value));
    return value;
}

static cudnnStatus_t finish_convolving(fake_descriptor *f)
{
    fake_operation *o = &f->is.operation;
    const fake_convolution *c;

    *o = (fake_operation){ .convolves = true,
                           .convolution =
                               part(f, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC)->is.convolution,
                           .x = part(f, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X)->is.tensor,
                           .b = part(f, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W)->is.tensor,
                           .y = part(f, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y)->is.tensor };
    c = &o->convolution;
    if (o->x.sides[0] != o->y.sides[0] || o->x.sides[1] != o->b.sides[1] || o->y.sides[1] != o->b.sides[0])
        return BAD("rows or channels of a convolution");
    for (int i = 0; i < 2; i++)
        if (o->y.sides[2 + i] !=
            (o->x.sides[2 + i] + c->before[i] + c->after[i] - o->b.sides[2 + i]) / c->stride[i] + 1)
            return BAD("sides of a convolution");
    if (float_of(f, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA) != 1.0f ||
        float_of(f, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA) != 0.0f)
        return fake_dnn_fail(CUDNN_STATUS_NOT_SUPPORTED, "a convolution that is scaled");
    return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t finish_pointwise(fake_descriptor *f)
{
    if (number(f, CUDNN_ATTR_POINTWISE_MODE) != CUDNN_POINTWISE_ADD ||
        number(f, CUDNN_ATTR_POINTWISE_MATH_PREC) != CUDNN_DATA_FLOAT)
        return fake_dnn_fail(CUDNN_STATUS_NOT_SUPPORTED, "an operation that is no addition in float32");
    return CUDNN_STATUS_SUCCESS;
}

static bool same_sides(const fake_tensor *a, const fake_tensor *b)
{
    return memcmp(a->sides, b->sides, sizeof(a->sides)) == 0;
}

static cudnnStatus_t finish_adding(fake_descriptor *f)
{
    fake_operation *o = &f->is.operation;

    *o = (fake_operation){ .x = part(f, CUDNN_ATTR_OPERATION_POINTWISE_XDESC)->is.tensor,
                           .b = part(f, CUDNN_ATTR_OPERATION_POINTWISE_BDESC)->is.tensor,
                           .y = part(f, CUDNN_ATTR_OPERATION_POINTWISE_YDESC)->is.tensor };
    if (!same_sides(&o->x, &o->y))
        return BAD("an addition changes sides");
    for (int i = 0; i < 4; i++)
        if (o->b.sides[i] != o->y.sides[i] && o->b.sides[i] != 1)
            return BAD("what is added does not spread to the sum");
    return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t finish_attending(fake_descriptor *f)
{
    fake_operation *o = &f->is.operation;

    *o = (fake_operation){ .attends = true,
                           .q = part(f, CUDNN_ATTR_OPERATION_SDPA_FWD_QDESC)->is.tensor,
                           .k = part(f, CUDNN_ATTR_OPERATION_SDPA_FWD_KDESC)->is.tensor,
                           .v = part(f, CUDNN_ATTR_OPERATION_SDPA_FWD_VDESC)->is.tensor,
                           .y = part(f, CUDNN_ATTR_OPERATION_SDPA_FWD_ODESC)->is.tensor,
                           .scale = part(f, CUDNN_ATTR_OPERATION_SDPA_FWD_SCALEDESC)->is.tensor };
    if (!same_sides(&o->q, &o->y) || !same_sides(&o->k, &o->v) || o->k.sides[0] != o->q.sides[0] ||
        o->k.sides[1] != o->q.sides[1] || o->k.sides[3] != o->q.sides[3])
        return BAD("rows, heads, tokens or channels of attention");
    return CUDNN_STATUS_SUCCESS;
}

/* Channels last, without gaps. */
static bool dense(const fake_tensor *t)
{
    const int64_t c = t->sides[1], line = t->sides[3] * c;

    return t->strides[1] == 1 && t->strides[3] == c && t->strides[2] == line &&
           t->strides[0] == line * t->sides[2];
}

static bool stored_alike(const fake_graph *g)
{
    const fake_tensor *all[] = { &g->x, &g->weight, &g->bias, &g->y, g->has_added ? &g->added : &g->y };
    bool alike = g->x.type == CUDNN_DATA_HALF || g->x.type == CUDNN_DATA_BFLOAT16;

    for (int i = 0; i < 5; i++)
        alike &= all[i]->type == g->x.type && !all[i]->is_virtual && !all[i]->by_value && dense(all[i]) &&
                 all[i]->alignment >= 16;
    return alike;
}

static cudnnStatus_t finish_graph(fake_descriptor *f)
{
    const struct fake_attribute *ops = attribute(f, CUDNN_ATTR_OPERATIONGRAPH_OPS);
    const fake_operation *o[OPERATIONS_MAX] = { NULL };
    fake_graph *g = &f->is.graph;
    const int last = (int)ops->count - 1;

    if (number(f, CUDNN_ATTR_OPERATIONGRAPH_HANDLE) != FAKE_DNN_HANDLE)
        return BAD("a graph without a handle");
    for (int i = 0; i <= last; i++)
        o[i] = &((const fake_descriptor *)ops->values[i])->is.operation;
    if (o[0]->attends) {
        *g = (fake_graph){ .attends = true,
                           .q = o[0]->q,
                           .k = o[0]->k,
                           .v = o[0]->v,
                           .scale = o[0]->scale,
                           .y = o[0]->y,
                           .rows = o[0]->y.sides[0] };
        g->compiled = last == 0 && fake_dnn_has_attention(g);
        return CUDNN_STATUS_SUCCESS;
    }
    for (int i = 0; i <= last; i++) {
        const bool inner = i < last;
        if (o[i]->convolves != (i == 0) || (i > 0 && o[i]->x.name != o[i - 1]->y.name))
            return fake_dnn_fail(CUDNN_STATUS_NOT_SUPPORTED_GRAPH_PATTERN, "operations in another order");
        if (o[i]->y.is_virtual != inner || (inner && o[i]->y.type != CUDNN_DATA_FLOAT))
            return BAD("what is between is in memory, or not in float32; or the result is not");
        for (int j = 0; j < i; j++)
            if (o[i]->b.name == o[j]->b.name || o[i]->y.name == o[j]->y.name || o[i]->b.name == o[j]->y.name)
                return fake_dnn_fail(CUDNN_STATUS_BAD_PARAM_DUPLICATED_ENTRIES, "two tensors of one name");
    }
    *g = (fake_graph){
        .x = o[0]->x, .weight = o[0]->b, .y = o[last]->y, .has_added = last == 2, .rows = o[0]->x.sides[0]
    };
    if (last == 0)
        return CUDNN_STATUS_SUCCESS; /* legal, but no kernels here are for it */
    g->bias = o[last]->b;
    if (g->has_added)
        g->added = o[1]->b;
    memcpy(g->stride, o[0]->convolution.stride, sizeof(g->stride));
    memcpy(g->before, o[0]->convolution.before, sizeof(g->before));
    g->compiled = stored_alike(g) && (!g->has_added || same_sides(&g->added, &g->y)) &&
                  g->bias.sides[0] == 1 && g->bias.sides[1] == g->y.sides[1] && g->bias.sides[2] == 1 &&
                  g->bias.sides[3] == 1 && g->x.sides[1] % 8 == 0 && g->y.sides[1] % 8 == 0;
    return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t finish_heuristic(fake_descriptor *f)
{
    f->is.heuristic.graph = part(f, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH)->is.graph;
    f->is.heuristic.mode = (cudnnBackendHeurMode_t)number(f, CUDNN_ATTR_ENGINEHEUR_MODE);
    fake_cuda.choices += f->is.heuristic.mode == CUDNN_HEUR_MODE_A;
    return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t finish_engine(fake_descriptor *f)
{
    f->is.engine = (fake_engine){ .graph = part(f, CUDNN_ATTR_ENGINE_OPERATION_GRAPH)->is.graph,
                                  .index = (int)number(f, CUDNN_ATTR_ENGINE_GLOBAL_INDEX),
                                  .build = fake_cuda.dnn_build };
    return fake_dnn_check_engine(&f->is.engine);
}

/* An engine has its own knobs, and each knob accepts one value. */
static cudnnStatus_t finish_config(fake_descriptor *f)
{
    const struct fake_attribute *set = attribute(f, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES);
    const fake_engine *e = &part(f, CUDNN_ATTR_ENGINECFG_ENGINE)->is.engine;
    fake_knob knob[4];

    if (set->count != fake_dnn_knobs(e->index, knob))
        return BAD("too few knobs, or too many");
    for (int64_t i = 0; i < set->count; i++) {
        const fake_knob *k = &((const fake_descriptor *)set->values[i])->is.knob;
        if (k->type != knob[i].type || k->value != knob[i].value)
            return fake_dnn_fail(CUDNN_STATUS_NOT_SUPPORTED, "a knob that is not the engine's");
    }
    f->is.engine = *e;
    return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t finish_plan(fake_descriptor *f)
{
    const fake_engine *e = &part(f, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG)->is.engine;
    const cudnnStatus_t code = fake_dnn_check_engine(e);

    f->is.engine = *e;
    if (!code && e->graph.attends)
        f->is.engine.code = fake_dnn_new_code();
    return code;
}

static cudnnStatus_t finish_pack(fake_descriptor *f)
{
    const struct fake_attribute *name = attribute(f, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
    const struct fake_attribute *memory = attribute(f, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS);
    fake_pack *p = &f->is.pack;

    if (name->count != memory->count)
        return BAD("a pack with more names than pointers, or fewer");
    *p = (fake_pack){ .count = (int)name->count,
                      .workspace = (void *)number(f, CUDNN_ATTR_VARIANT_PACK_WORKSPACE) };
    memcpy(p->name, name->values, sizeof(p->name));
    memcpy(p->memory, memory->values, sizeof(p->memory));
    return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t finish(fake_descriptor *f)
{
    switch (f->type) {
    case CUDNN_BACKEND_TENSOR_DESCRIPTOR:
        return finish_tensor(f);
    case CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR:
        return finish_convolution(f);
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR:
        return finish_convolving(f);
    case CUDNN_BACKEND_POINTWISE_DESCRIPTOR:
        return finish_pointwise(f);
    case CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR:
        return finish_adding(f);
    case CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR:
        return finish_attending(f);
    case CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR:
        return finish_graph(f);
    case CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR:
        return finish_heuristic(f);
    case CUDNN_BACKEND_ENGINE_DESCRIPTOR:
        return finish_engine(f);
    case CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR:
        f->is.knob = (fake_knob){ (cudnnBackendKnobType_t)number(f, CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE),
                                  number(f, CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE) };
        return CUDNN_STATUS_SUCCESS;
    case CUDNN_BACKEND_ENGINECFG_DESCRIPTOR:
        return finish_config(f);
    case CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR:
        return finish_plan(f);
    default:
        return finish_pack(f);
    }
}

cudnnStatus_t fake_dnn_finalize(fake_descriptor *f)
{
    cudnnStatus_t code = f->finalized ? BAD("finalized twice") : CUDNN_STATUS_SUCCESS;

    for (int i = 0; i < RULES && !code; i++)
        if (rules[i].on == f->type && !rules[i].optional && attribute(f, rules[i].name)->count == 0)
            code = BAD("an attribute was not set");
    if (!code)
        code = finish(f);
    f->finalized = !code;
    return code;
}

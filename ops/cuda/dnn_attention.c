#include "ops/cuda/dnn_attention.h"

#include "ops/cuda/check.h"
#include "ops/cuda/dnn_kernels.h"

typedef cudnnBackendDescriptor_t descriptor;

_Static_assert(sizeof(cuda_dnn_attention_way) <= CUDA_WAY_BYTES_MAX, "it is kept in files");

/* Tensors' names in the graph. */
enum { Q = 1, K, V, Y, SCALE };

static size_t part_bytes(const dr_tensor *t)
{
    return (size_t)t->c * dr_dtype_bytes(t->dtype);
}

bool cuda_dnn_attends(const dr_attention_args *a)
{
    const uintptr_t q = (uintptr_t)a->q.data, k = (uintptr_t)a->k.data, v = (uintptr_t)a->v.data;
    const bool side_by_side =
        k == q + part_bytes(&a->q) && v == k + part_bytes(&a->k) && a->k.ld == a->q.ld && a->v.ld == a->q.ld;

    return !a->kv_row && !a->causal && side_by_side && a->q.c / a->heads % 8 == 0 && a->q.ld % 8 == 0 &&
           q % 16 == 0;
}

/* --- the graph ------------------------------------------------------------------------------ */

/* A tensor [rows, heads, tokens, dim] whose tokens are ld values apart. */
static descriptor new_tensor(cuda_dnn_maker *m, int64_t name, const cuda_dnn_attention_way *w, int rows,
                             int64_t ld)
{
    return cuda_dnn_new_tensor(m, &(cuda_dnn_tensor){ .name = name,
                                                      .type = cuda_dnn_type(w->storage),
                                                      .sides = { rows, w->heads, w->tokens, w->dim },
                                                      .strides = { w->tokens * ld, w->dim, ld, 1 } });
}

static int describe(cuda_dnn_maker *m, const void *way, int rows,
                    descriptor operation[CUDA_DNN_OPERATIONS_MAX])
{
    const cuda_dnn_attention_way *w = way;
    descriptor q = new_tensor(m, Q, w, rows, w->ld), k = new_tensor(m, K, w, rows, w->ld);
    descriptor v = new_tensor(m, V, w, rows, w->ld);
    descriptor y = new_tensor(m, Y, w, rows, (int64_t)w->heads * w->dim);
    descriptor scale = cuda_dnn_new_tensor(m, &(cuda_dnn_tensor){ .name = SCALE,
                                                                  .type = CUDNN_DATA_FLOAT,
                                                                  .sides = { 1, 1, 1, 1 },
                                                                  .strides = { 1, 1, 1, 1 },
                                                                  .by_value = true });
    descriptor attends = cuda_dnn_make(m, CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR);

    cuda_dnn_set_one(m, attends, CUDNN_ATTR_OPERATION_SDPA_FWD_QDESC, q);
    cuda_dnn_set_one(m, attends, CUDNN_ATTR_OPERATION_SDPA_FWD_KDESC, k);
    cuda_dnn_set_one(m, attends, CUDNN_ATTR_OPERATION_SDPA_FWD_VDESC, v);
    cuda_dnn_set_one(m, attends, CUDNN_ATTR_OPERATION_SDPA_FWD_ODESC, y);
    cuda_dnn_set_one(m, attends, CUDNN_ATTR_OPERATION_SDPA_FWD_SCALEDESC, scale);
    operation[0] = cuda_dnn_finalize(m, attends);
    return 1;
}

static cuda_dnn_pack pack_of(const cuda_dnn_attention_way *w, const void *q, const void *y)
{
    const size_t part = (size_t)w->heads * (size_t)w->dim * dr_dtype_bytes((dr_dtype)w->storage);

    return (cuda_dnn_pack){
        .name = { Q, K, V, Y, SCALE },
        .memory = { q, (const char *)q + part, (const char *)q + 2 * part, y, &w->scale },
        .count = 5,
    };
}

/* --- trials ----------------------------------------------------------------------------------- */

static void set_trial(const void *way, cuda_trial *trial)
{
    const cuda_dnn_attention_way *w = way;
    const int channels = w->heads * w->dim;

    *trial = (cuda_trial){ .storage = w->storage,
                           .y_dtype = w->storage,
                           .attends = true,
                           .in = 3 * channels,
                           .out = channels,
                           .x_ld = w->ld,
                           .y_ld = channels,
                           .x_lines = (size_t)w->tokens,
                           .y_lines = (size_t)w->tokens };
}

static cuda_dnn_pack pack_trial(const void *way, const cuda_trial_data *data)
{
    return pack_of(way, data->x, data->y);
}

const cuda_dnn_operator cuda_dnn_attention_operator = { .name = "attention",
                                                        .kind = CUDA_PLAN_ATTENTION,
                                                        .way_bytes = sizeof(cuda_dnn_attention_way),
                                                        .compiles = true,
                                                        .describe = describe,
                                                        .set_trial = set_trial,
                                                        .pack_trial = pack_trial };

/* --- the operator ------------------------------------------------------------------------------ */

dr_status cuda_dnn_attention(dr_pass *p, const dr_attention_args *a)
{
    const cuda_dnn_operator *op = &cuda_dnn_attention_operator;
    cuda_device *d = cuda_of(p->device);
    const cuda_dnn_attention_way w = { .heads = a->heads,
                                       .dim = a->q.c / a->heads,
                                       .tokens = a->q.h * a->q.w,
                                       .ld = a->q.ld,
                                       .storage = a->q.dtype,
                                       .scale = a->scale };
    const cuda_dnn_pack pack = pack_of(&w, a->q.data, a->y.data);
    const cuda_dnn_plan *plan = NULL;
    dr_status rc = cuda_dnn_find_plan(&plan, d, op, &w, a->q.n, p->planning, &p->error);

    if (!rc && !p->planning)
        rc = cuda_dnn_start(d, p->lane, op, plan, &pack, &p->error);
    if (rc && !cuda_check_alive(d, NULL))
        dr_fail_within(&p->error, "attention of %d heads of %d channels, %d rows of %d tokens", w.heads,
                       w.dim, a->q.n, w.tokens);
    return rc;
}

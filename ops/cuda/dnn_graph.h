/* dnn_graph.h - asks cuDNN's graph API for kernels of an operator, makes plans and runs them.
 *
 *     engine   a family of kernels; with values for its knobs (tiles, clusters) it is the one that is chosen
 *     plan     that kernel for one shape and one number of rows
 *
 * The operators are in dnn_conv.h and dnn_attention.h.  A plan keeps all descriptors that it was made from.
 * */
#ifndef DR_OPS_CUDA_DNN_GRAPH_H
#define DR_OPS_CUDA_DNN_GRAPH_H

#include "ops/cuda/choose_library_kernel.h"
#include "ops/cuda/dnn_descriptor.h"
#include "ops/cuda/plans.h"

#include <stddef.h>

enum { CUDA_DNN_KNOBS_MAX = 15 }; /* an engine has 8, and few have so many */

/* A kernel, as one version of the library names it. */
typedef struct cuda_dnn_choice {
    int32_t engine, knobs;
    struct {
        int32_t type, value;
    } knob[CUDA_DNN_KNOBS_MAX];
} cuda_dnn_choice;

typedef struct cuda_dnn_plan {
    cuda_dnn_made descriptors; /* the last one is the plan */
    size_t workspace_bytes;
} cuda_dnn_plan;

enum { CUDA_DNN_TENSORS_MAX = 5, CUDA_DNN_OPERATIONS_MAX = 3 };

/* The tensors of a run, by their names.  Each is device memory at a multiple of 16 bytes, or a value on
 * the host. */
typedef struct cuda_dnn_pack {
    int64_t name[CUDA_DNN_TENSORS_MAX];
    const void *memory[CUDA_DNN_TENSORS_MAX];
    int count;
    void *workspace; /* has plan->workspace_bytes bytes */
} cuda_dnn_pack;

/* An operator.  A way of calling it is way_bytes bytes without padding. */
typedef struct cuda_dnn_operator {
    const char *name;    /* "a convolution" */
    cuda_plan_kind kind; /* the kind under which its choices are remembered */
    size_t way_bytes;

    /* Each plan has code of its own.  The code is made and loaded with the plan, and is freed with it.
     * If false, the code is the library's. */
    bool compiles;

    /* Makes the operations of its graph, finalized and in their order.  Returns how many. */
    int (*describe)(cuda_dnn_maker *m, const void *way, int rows,
                    cudnnBackendDescriptor_t operation[CUDA_DNN_OPERATIONS_MAX]);

    /* Says on what candidates are tried: fills the trial, except for units, start, self and candidates. */
    void (*set_trial)(const void *way, cuda_trial *trial);
    cuda_dnn_pack (*pack_trial)(const void *way, const cuda_trial_data *data);
} cuda_dnn_operator;

/* The library's candidates for that many rows: choice[*count], its best guesses first, at most
 * DR_CUDA_CANDIDATES_MAX.  Some kernels are left out: those that split sums, those that the library calls
 * not deterministic or less exact than float32 sums, and those that need more than workspace_max bytes of
 * workspace.  DR_EUNSUPPORTED: none is left. */
dr_status cuda_dnn_candidates(const cuda_dnn_place *at, const cuda_dnn_operator *op, const void *way,
                              int rows, size_t workspace_max, cuda_dnn_choice *choice, int *count,
                              dr_error *err);

/* Makes a plan.  It must be freed with cuda_dnn_plan_free(), also after a failure.  DR_EUNSUPPORTED: the
 * kernel can't do the shape. */
dr_status cuda_dnn_plan_make(cuda_dnn_plan *plan, const cuda_dnn_place *at, const cuda_dnn_operator *op,
                             const void *way, const cuda_dnn_choice *choice, int rows, dr_error *err);
void cuda_dnn_plan_free(cuda_dnn_plan *plan, const cuda_dnn_place *at);

/* Enqueues the plan on the handle's stream. */
dr_status cuda_dnn_plan_run(const cuda_dnn_plan *plan, const cuda_dnn_place *at, const cuda_dnn_pack *pack,
                            dr_error *err);

#endif

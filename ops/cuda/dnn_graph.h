/* dnn_graph.h - an operator as cuDNN's graph API sees it: asking for kernels, making plans, running.
 *
 *     engine   a family of kernels; with values of its knobs (tiles, clusters) one kernel: what is chosen, and kept
 *     plan     that kernel for one shape, with how many rows there are
 *
 * Which operators there are: dnn_conv.h, dnn_attention.h.  A plan keeps all descriptors that it was made from. */
#ifndef DR_OPS_CUDA_DNN_GRAPH_H
#define DR_OPS_CUDA_DNN_GRAPH_H

#include "ops/cuda/choose.h"
#include "ops/cuda/dnn_descriptor.h"
#include "ops/cuda/plans.h"

#include <stddef.h>

enum { CUDA_DNN_KNOBS_MAX = 15 }; /* an engine has 8, and few have so many */

/* A kernel, in the words of one version of the library. */
typedef struct cuda_dnn_choice {
    int32_t engine, knobs;
    struct {
        int32_t type, value;
    } knob[CUDA_DNN_KNOBS_MAX];
} cuda_dnn_choice;

typedef struct cuda_dnn_plan {
    cuda_dnn_made descriptors; /* the plan is the last */
    size_t workspace_bytes;
} cuda_dnn_plan;

enum { CUDA_DNN_TENSORS_MAX = 5, CUDA_DNN_OPERATIONS_MAX = 3 };

/* The tensors of a run, by their names: device memory at multiples of 16 bytes, or a value on the host. */
typedef struct cuda_dnn_pack {
    int64_t name[CUDA_DNN_TENSORS_MAX];
    const void *memory[CUDA_DNN_TENSORS_MAX];
    int count;
    void *workspace; /* plan->workspace_bytes */
} cuda_dnn_pack;

/* An operator.  A way of calling it is bytes without padding, way_bytes of them. */
typedef struct cuda_dnn_operator {
    const char *name;    /* "a convolution" */
    cuda_plan_kind kind; /* as which its choices are remembered */
    size_t way_bytes;

    /* A kernel has code of its own, made and loaded for its plan and gone with it; else all are the library's. */
    bool compiles;

    /* Its graph's operations, finalized, in their order; returns how many. */
    int (*describe)(cuda_dnn_maker *m, const void *way, int rows,
                    cudnnBackendDescriptor_t operation[CUDA_DNN_OPERATIONS_MAX]);

    /* What candidates are tried on: all of it but units, start, self and candidates. */
    void (*set_trial)(const void *way, cuda_trial *trial);
    cuda_dnn_pack (*pack_trial)(const void *way, const cuda_trial_data *data);
} cuda_dnn_operator;

/* The library's candidates for that many rows, the best guesses first, at most DR_CUDA_CANDIDATES_MAX; none that splits
 * sums, is said not to be deterministic or to be less exact than float32 sums, or wants more workspace than
 * workspace_max.  None at all: DR_EUNSUPPORTED. */
dr_status cuda_dnn_candidates(const cuda_dnn_place *at, const cuda_dnn_operator *op, const void *way,
                              int rows, size_t workspace_max, cuda_dnn_choice *choice, int *count,
                              dr_error *err);

/* To be ended with cuda_dnn_plan_free(), failed or not.  A kernel that does not do the shape: DR_EUNSUPPORTED. */
dr_status cuda_dnn_plan_make(cuda_dnn_plan *plan, const cuda_dnn_place *at, const cuda_dnn_operator *op,
                             const void *way, const cuda_dnn_choice *choice, int rows, dr_error *err);
void cuda_dnn_plan_free(cuda_dnn_plan *plan, const cuda_dnn_place *at);

/* Enqueues it on the handle's stream. */
dr_status cuda_dnn_plan_run(const cuda_dnn_plan *plan, const cuda_dnn_place *at, const cuda_dnn_pack *pack,
                            dr_error *err);

#endif

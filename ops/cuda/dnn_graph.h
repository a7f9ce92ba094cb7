/* dnn_graph.h - a convolution as cuDNN's graph API sees it: describing, asking for kernels, making plans, running.
 *
 *     x, weight -> [convolution] -> [+ added] -> [+ bias] -> y       float32 between the boxes, and never in memory
 *
 * This order, with a bias that is always there and is of the storage's type, is one for which cuDNN has kernels that are
 * compiled already.  Others (a bias in float32, or one for each row) are left to kernels that it compiles when a plan is
 * made, for each number of rows anew.
 *
 *     engine   a family of kernels; with values of its knobs (tiles, clusters) one kernel: what is chosen, and kept
 *     plan     that kernel for one shape, with how many rows there are
 *
 * The API is made of descriptors with attributes, which are finalized and then never change.  A plan keeps all those that
 * it was made from.  The library's thread rules are a handle's: one thread at a time. */
#ifndef DR_OPS_CUDA_DNN_GRAPH_H
#define DR_OPS_CUDA_DNN_GRAPH_H

#include "ops/cuda/libraries.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where plans are for. */
typedef struct cuda_dnn_place {
    const cuda_dnn *dnn;
    cudnnHandle_t handle; /* of a device; or NULL, and */
    cudnnBackendDescriptor_t
        properties; /* those of one that is not here: plans can be made, and run nowhere */
} cuda_dnn_place;

/* One way of being called.  Dense, channels last.  No padding: ways are compared, and kept in files, as bytes. */
typedef struct cuda_dnn_way {
    int32_t in, out;        /* multiples of 8: pixels start at multiples of 16 bytes */
    int32_t kernel, stride; /* 1 or 3, 1 or 2 */
    int32_t before;         /* zeros above and left of x; with kernel 3 there is 1 right and below */
    int32_t x_h, x_w, y_h, y_w;
    int32_t storage; /* dr_dtype: DR_F16, DR_BF16; of everything */
    int32_t has_added;
} cuda_dnn_way;

enum { CUDA_DNN_KNOBS_MAX = 15 }; /* an engine has 8, and few have so many */

/* A kernel, in the words of one version of the library. */
typedef struct cuda_dnn_choice {
    int32_t engine, knobs;
    struct {
        int32_t type, value;
    } knob[CUDA_DNN_KNOBS_MAX];
} cuda_dnn_choice;

enum { CUDA_DNN_MADE_MAX = 32 };

typedef struct cuda_dnn_plan {
    cudnnBackendDescriptor_t made[CUDA_DNN_MADE_MAX]; /* the plan is the last */
    int count;
    size_t workspace_bytes;
} cuda_dnn_plan;

/* Device memory, all at multiples of 16 bytes; the weight is [out, kernel, kernel, in], without gaps. */
typedef struct cuda_dnn_args {
    const void *x, *weight;
    const void *added; /* NULL without; may be y */
    const void *bias;
    void *y;
    void *workspace; /* plan->workspace_bytes */
} cuda_dnn_args;

/* The library's candidates for that many rows, the best guesses first, at most DR_CUDA_CANDIDATES_MAX; none that splits
 * sums, is said not to be deterministic or to be less exact than float32 sums, or wants more workspace than
 * workspace_max.  None at all: DR_EUNSUPPORTED. */
dr_status cuda_dnn_candidates(const cuda_dnn_place *at, const cuda_dnn_way *way, int rows,
                              size_t workspace_max, cuda_dnn_choice *choice, int *count, dr_error *err);

/* To be ended with cuda_dnn_plan_free(), failed or not.  A kernel that does not do the shape: DR_EUNSUPPORTED. */
dr_status cuda_dnn_plan_make(cuda_dnn_plan *plan, const cuda_dnn_place *at, const cuda_dnn_way *way,
                             const cuda_dnn_choice *choice, int rows, dr_error *err);
void cuda_dnn_plan_free(cuda_dnn_plan *plan, const cuda_dnn_place *at);

/* Enqueues it on the handle's stream. */
dr_status cuda_dnn_plan_run(const cuda_dnn_plan *plan, const cuda_dnn_place *at, const cuda_dnn_args *a,
                            dr_error *err);

#endif

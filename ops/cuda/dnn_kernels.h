/* dnn_kernels.h - which of cuDNN's kernels does an operator, and its plans for numbers of rows.
 *
 *     way (a shape, but for how many rows)  ->  kernel, chosen once        the same for any number of rows
 *     kernel, rows                          ->  plan, made while planning  DR_CUDA_DNN_PLANS_MAX are kept
 *
 * Which kernel follows choose.h's rules, and is remembered in the device's plans (plans.h).
 *
 * A plan whose code is its own (cuda_dnn_operator, compiles) takes a third of a second to make, and is not given up while
 * there is a recording, which may start that code: then there can be more plans than that. */
#ifndef DR_OPS_CUDA_DNN_KERNELS_H
#define DR_OPS_CUDA_DNN_KERNELS_H

#include "ops/cuda/dnn_graph.h"
#include "ops/lanes.h"

typedef struct cuda_dnn_kernel cuda_dnn_kernel;

/* A device's; all zeros: there are none. */
typedef struct cuda_dnn_kernels {
    cuda_dnn_kernel *first; /* one for each way that was planned */
    int plans;
    uint64_t clock; /* counts uses of plans: the one that was used longest ago makes room */
} cuda_dnn_kernels;

void cuda_dnn_kernels_close(cuda_device *d);

/* A plan, good until the next call.  Planning: a kernel is chosen and the plan made, where they are not there.  What runs
 * was planned. */
dr_status cuda_dnn_find_plan(const cuda_dnn_plan **out, cuda_device *d, const cuda_dnn_operator *op,
                             const void *way, int rows, bool planning, dr_error *err);

/* Enqueues it, in the lane's workspace (which pack need not name). */
dr_status cuda_dnn_start(cuda_device *d, dr_lane lane, const cuda_dnn_operator *op, const cuda_dnn_plan *plan,
                         const cuda_dnn_pack *pack, dr_error *err);

#endif

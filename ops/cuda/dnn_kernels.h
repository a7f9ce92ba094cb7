/* dnn_kernels.h - chooses the cuDNN kernel that does an operator, and keeps its plans for numbers of
 * rows.
 *
 *     way (a shape without its number of rows)  ->  kernel, chosen once         for any number of rows
 *     kernel, rows                              ->  plan, made while planning   up to DR_CUDA_DNN_PLANS_MAX
 *
 * A kernel is chosen by the rules of choose_library_kernel.h and remembered in the device's plans
 * (plans.h).
 *
 * A plan with code of its own (cuda_dnn_operator, compiles) takes a third of a second to make.  While
 * there is a recording, such a plan is not freed, because the recording may start its code.  There can be
 * more than DR_CUDA_DNN_PLANS_MAX plans then. */
#ifndef DR_OPS_CUDA_DNN_KERNELS_H
#define DR_OPS_CUDA_DNN_KERNELS_H

#include "ops/cuda/dnn_graph.h"
#include "ops/lanes.h"

typedef struct cuda_dnn_kernel cuda_dnn_kernel;

/* The kernels of a device.  All zeros: there are none. */
typedef struct cuda_dnn_kernels {
    cuda_dnn_kernel *first; /* one for each way that was planned */
    int plans;
    uint64_t clock; /* counts uses of plans: the plan that was used longest ago is freed to make room */
} cuda_dnn_kernels;

/* Frees all kernels and plans.  The caller has drained the device. */
void cuda_dnn_kernels_close(cuda_device *d);

/* Finds the plan for a way and a number of rows.  *out is good until the next call.  While planning, this
 * chooses the kernel if it is not yet known, and makes the plan if it is missing.  Afterwards the kernel
 * is known, because whatever runs was planned. */
dr_status cuda_dnn_find_plan(const cuda_dnn_plan **out, cuda_device *d, const cuda_dnn_operator *op,
                             const void *way, int rows, bool planning, dr_error *err);

/* Enqueues a plan on the lane's stream, in the lane's workspace. pack need not name the workspace. */
dr_status cuda_dnn_start(cuda_device *d, dr_lane lane, const cuda_dnn_operator *op, const cuda_dnn_plan *plan,
                         const cuda_dnn_pack *pack, dr_error *err);

#endif

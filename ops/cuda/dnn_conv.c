#include "ops/cuda/dnn_conv.h"

#include "kernels/cuda.h"
#include "ops/cuda/choose.h"
#include "ops/cuda/cuda.h"

#include <stdlib.h>
#include <string.h>

typedef struct planned {
    struct planned *next;
    int rows;
    uint64_t used;
    cuda_dnn_plan plan;
} planned;

struct cuda_dnn_kernel {
    cuda_dnn_kernel *next;
    cuda_dnn_way way;
    cuda_dnn_choice choice;
    planned *plans;
};

/* Workspace at CUDA_ROWS_PLANNED rows: twice as many rows fit into the lane's. */
enum { CHOSEN_WORKSPACE_MAX = DR_CUDA_BLAS_WORKSPACE_BYTES / 2 };

_Static_assert(sizeof(cuda_dnn_way) <= CUDA_WAY_BYTES_MAX && sizeof(cuda_dnn_choice) <= CUDA_CHOICE_BYTES_MAX,
               "they are kept in files");

bool cuda_dnn_does(const dr_conv_desc *desc)
{
    const int filter = desc->in * desc->kernel * desc->kernel;

    return !desc->upsample && desc->in % 8 == 0 && desc->out % 8 == 0 &&
           dr_cuda_conv_weight_ld(desc->in, desc->kernel) == filter; /* filters without gaps */
}

static cuda_dnn_place place_of(const cuda_device *d)
{
    return (cuda_dnn_place){ .dnn = &d->dnn, .handle = d->dnn_handle };
}

/* A CUDA error is behind it, and is the end of the device; or it is cuDNN's alone. */
static dr_status blame(cuda_device *d, dr_status rc, const dr_error *why, dr_error *err)
{
    if (!rc)
        return DR_OK;
    if (cuda_check(d, cudaPeekAtLastError(), "a convolution by cuDNN", err))
        return err ? err->status : DR_EDEVICE;
    return dr_fail(err, rc, "%s: %s", d->name, why->text);
}

static dr_status make_plan(cuda_device *d, cuda_dnn_plan *plan, const cuda_dnn_way *way,
                           const cuda_dnn_choice *choice, int rows, dr_error *err)
{
    const cuda_dnn_place at = place_of(d);
    dr_error why;
    dr_status rc = cuda_dnn_plan_make(plan, &at, way, choice, rows, &why);

    if (!rc && plan->workspace_bytes > DR_CUDA_BLAS_WORKSPACE_BYTES)
        rc = dr_fail(&why, DR_EUNSUPPORTED, "a kernel of cuDNN's wants %zu bytes of workspace and has %d",
                     plan->workspace_bytes, DR_CUDA_BLAS_WORKSPACE_BYTES);
    if (rc)
        cuda_dnn_plan_free(plan, &at);
    return blame(d, rc, &why, err);
}

static dr_status run_plan(cuda_device *d, dr_lane lane, const cuda_dnn_plan *plan, const cuda_dnn_args *args,
                          dr_error *err)
{
    const cuda_dnn_place at = place_of(d);
    cuda_dnn_args a = *args;
    dr_error why = { .status = DR_OK };
    dr_status rc = DR_OK;

    a.workspace = d->blas_workspace[lane];
    if (d->dnn.cudnnSetStream(d->dnn_handle, d->stream[lane]) != CUDNN_STATUS_SUCCESS)
        rc = dr_fail(&why, DR_EDEVICE, "cuDNN does not take the stream");
    if (!rc)
        rc = cuda_dnn_plan_run(plan, &at, &a, &why);
    return blame(d, rc, &why, err);
}

/* --- choosing ------------------------------------------------------------------------------ */

/* Plans of the candidate that is tried: for all units, and for those that are alone. */
typedef struct conv_trial {
    cuda_device *d;
    const cuda_dnn_way *way;
    cuda_dnn_choice candidate[DR_CUDA_CANDIDATES_MAX];
    int tried; /* -1: none yet */
    struct {
        size_t rows; /* 0: there is no plan */
        cuda_dnn_plan plan;
    } made[2];
} conv_trial;

static void forget_tried(conv_trial *t)
{
    const cuda_dnn_place at = place_of(t->d);

    for (int i = 0; i < 2; i++) {
        if (t->made[i].rows)
            cuda_dnn_plan_free(&t->made[i].plan, &at);
        t->made[i].rows = 0;
    }
}

static dr_status start_candidate(void *self, int candidate, const cuda_trial_data *data, dr_error *err)
{
    conv_trial *t = self;
    const int i = t->made[0].rows && t->made[0].rows != data->units && t->tried == candidate;

    if (t->tried != candidate)
        forget_tried(t);
    t->tried = candidate;
    if (!t->made[i].rows) {
        const dr_status rc =
            make_plan(t->d, &t->made[i].plan, t->way, &t->candidate[candidate], (int)data->units, err);
        if (rc)
            return rc;
        t->made[i].rows = data->units;
    }
    dr_assert(t->made[i].rows == data->units);
    return run_plan(
        t->d, DR_LANE_DENOISE, &t->made[i].plan,
        &(cuda_dnn_args){
            .x = data->x, .weight = data->weight, .added = data->added, .bias = data->bias, .y = data->y },
        err);
}

static dr_status choose(cuda_device *d, const cuda_dnn_way *w, cuda_dnn_choice *choice, dr_error *err)
{
    const cuda_dnn_place at = place_of(d);
    conv_trial self = { .d = d, .way = w, .tried = -1 };
    cuda_trial trial = { .storage = w->storage,
                         .y_dtype = w->storage,
                         .in = w->in,
                         .out = w->out,
                         .x_ld = w->in,
                         .y_ld = w->out,
                         .added_ld = w->has_added ? w->out : 0,
                         .has_bias = true,
                         .weight_lines = (size_t)w->out * (size_t)w->kernel * (size_t)w->kernel,
                         .x_lines = (size_t)w->x_h * (size_t)w->x_w,
                         .y_lines = (size_t)w->y_h * (size_t)w->y_w,
                         .units = CUDA_ROWS_PLANNED,
                         .units_min = 2,
                         .alone = 1,
                         .start = start_candidate,
                         .self = &self };
    dr_error why;
    int chosen;
    dr_status rc = cuda_dnn_candidates(&at, w, CUDA_ROWS_PLANNED, CHOSEN_WORKSPACE_MAX, self.candidate,
                                       &trial.candidates, &why);

    rc = blame(d, rc, &why, err);
    if (rc)
        return rc;
    rc = cuda_choose(d, &trial, &chosen, err);
    forget_tried(&self);
    if (rc)
        return rc;
    if (chosen < 0)
        return dr_fail(err, DR_EUNSUPPORTED, "%s: cuDNN has no kernel that does a row alone as in company",
                       d->name);
    *choice = self.candidate[chosen];
    return DR_OK;
}

/* What is known already, of an earlier start perhaps; else it is measured and remembered. */
static dr_status find_choice(cuda_device *d, const cuda_dnn_way *w, cuda_dnn_choice *choice, dr_error *err)
{
    const void *known = cuda_plans_find(&d->plans, CUDA_PLAN_CONVOLUTION, w, sizeof(*w));
    const cuda_dnn_place at = place_of(d);
    cuda_dnn_plan checked;
    cuda_plan plan;
    dr_error why;
    dr_status rc;

    if (known) {
        memcpy(choice, known, sizeof(*choice));
        if (!make_plan(d, &checked, w, choice, CUDA_ROWS_PLANNED, &why)) {
            cuda_dnn_plan_free(&checked, &at);
            return DR_OK;
        }
    }
    rc = choose(d, w, choice, err);
    if (rc)
        return rc;
    plan = cuda_plan_of(CUDA_PLAN_CONVOLUTION, w, sizeof(*w), choice, sizeof(*choice));
    if (cuda_plans_add(&d->plans, &plan, &why))
        cuda_note_plans(d, &why);
    return DR_OK;
}

/* --- kernels and plans ---------------------------------------------------------------------- */

static cuda_dnn_kernel *find_kernel(const cuda_device *d, const cuda_dnn_way *w)
{
    cuda_dnn_kernel *k = d->dnn_convs.kernels;

    while (k && memcmp(&k->way, w, sizeof(*w)) != 0)
        k = k->next;
    return k;
}

static dr_status new_kernel(cuda_dnn_kernel **out, cuda_device *d, const cuda_dnn_way *w, dr_error *err)
{
    cuda_dnn_kernel *k = calloc(1, sizeof(*k));
    dr_status rc;

    if (!k)
        return dr_fail(err, DR_ENOMEM, "no memory for a convolution's kernel");
    k->way = *w;
    rc = find_choice(d, w, &k->choice, err);
    if (rc) {
        free(k);
        return rc;
    }
    k->next = d->dnn_convs.kernels;
    d->dnn_convs.kernels = k;
    *out = k;
    return DR_OK;
}

static void free_planned(cuda_device *d, planned **link)
{
    const cuda_dnn_place at = place_of(d);
    planned *gone = *link;

    *link = gone->next;
    cuda_dnn_plan_free(&gone->plan, &at);
    free(gone);
    d->dnn_convs.plans--;
}

/* The one that was used longest ago goes; should it be met again, it is made again, and gives the same bits. */
static void make_room(cuda_device *d)
{
    planned **oldest = NULL;

    if (d->dnn_convs.plans < DR_CUDA_DNN_PLANS_MAX)
        return;
    for (cuda_dnn_kernel *k = d->dnn_convs.kernels; k; k = k->next)
        for (planned **link = &k->plans; *link; link = &(*link)->next)
            if (!oldest || (*link)->used < (*oldest)->used)
                oldest = link;
    free_planned(d, oldest);
}

static dr_status find_plan(const cuda_dnn_plan **out, cuda_device *d, cuda_dnn_kernel *k, int rows,
                           dr_error *err)
{
    planned *p = k->plans;
    dr_status rc;

    while (p && p->rows != rows)
        p = p->next;
    if (!p) {
        make_room(d);
        p = calloc(1, sizeof(*p));
        if (!p)
            return dr_fail(err, DR_ENOMEM, "no memory for a convolution's plan");
        p->rows = rows;
        rc = make_plan(d, &p->plan, &k->way, &k->choice, rows, err);
        if (rc) {
            free(p);
            return rc;
        }
        p->next = k->plans;
        k->plans = p;
        d->dnn_convs.plans++;
    }
    p->used = ++d->dnn_convs.clock;
    *out = &p->plan;
    return DR_OK;
}

void cuda_dnn_convs_close(cuda_device *d)
{
    for (cuda_dnn_kernel *k = d->dnn_convs.kernels, *next; k; k = next) {
        next = k->next;
        while (k->plans)
            free_planned(d, &k->plans);
        free(k);
    }
    d->dnn_convs = (cuda_dnn_convs){ .kernels = NULL };
}

/* --- the operator ------------------------------------------------------------------------------ */

static cuda_dnn_way way_of(const dr_conv2d_args *a)
{
    const dr_conv *c = a->conv;

    return (cuda_dnn_way){ .in = c->in,
                           .out = c->out,
                           .kernel = c->kernel,
                           .stride = c->stride,
                           .before = c->kernel == 3 && c->padding == DR_PAD_AROUND,
                           .x_h = a->x.h,
                           .x_w = a->x.w,
                           .y_h = a->y.h,
                           .y_w = a->y.w,
                           .storage = a->x.dtype,
                           .has_added = a->row_bias.table || a->residual };
}

static dr_status start(dr_pass *p, const dr_conv2d_args *a, const cuda_dnn_plan *plan, const void *weight,
                       const void *bias)
{
    const void *added = a->residual ? a->residual->data : NULL;

    if (a->row_bias.table) {
        dr_cuda_row_bias(cuda_stream(p), &(dr_cuda_row_bias_args){ .dtype = a->y.dtype,
                                                                   .table = a->row_bias.table,
                                                                   .index = a->row_bias.index,
                                                                   .stride = a->row_bias.stride,
                                                                   .added = added,
                                                                   .y = a->y.data,
                                                                   .n = a->y.n,
                                                                   .pixels = a->y.h * a->y.w,
                                                                   .c = a->y.c });
        added = a->y.data;
    }
    if (cuda_launched(p, "a row bias"))
        return p->error.status;
    return run_plan(cuda_of(p->device), p->lane, plan,
                    &(cuda_dnn_args){
                        .x = a->x.data, .weight = weight, .added = added, .bias = bias, .y = a->y.data },
                    &p->error);
}

dr_status cuda_dnn_conv2d(dr_pass *p, const dr_conv2d_args *a, const void *weight, const void *bias)
{
    cuda_device *d = cuda_of(p->device);
    const cuda_dnn_way w = way_of(a);
    cuda_dnn_kernel *k = find_kernel(d, &w);
    const cuda_dnn_plan *plan = NULL;
    dr_status rc = cuda_check_alive(d, &p->error);

    dr_assert(k || p->planning); /* what runs was planned */
    if (!rc && !k)
        rc = new_kernel(&k, d, &w, &p->error);
    if (!rc)
        rc = find_plan(&plan, d, k, a->x.n, &p->error);
    if (!rc && !p->planning)
        rc = start(p, a, plan, weight, bias);
    if (rc && !cuda_check_alive(d, NULL))
        dr_fail_within(&p->error, "a convolution of %d to %d channels, %d rows of %d x %d", w.in, w.out,
                       a->x.n, w.x_h, w.x_w);
    return rc;
}

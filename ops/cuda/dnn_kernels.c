#include "ops/cuda/dnn_kernels.h"

#include "ops/cuda/check.h"
#include "ops/cuda/lanes.h"
#include "ops/cuda/product.h"

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
    const cuda_dnn_operator *op;
    char way[CUDA_WAY_BYTES_MAX];
    cuda_dnn_choice choice;
    planned *plans;
};

/* Workspace limit at CUDA_ROWS_PLANNED rows: it leaves room in the lane's workspace for twice as many
 * rows. */
enum { CHOSEN_WORKSPACE_MAX = DR_CUDA_BLAS_WORKSPACE_BYTES / 2 };

_Static_assert(sizeof(cuda_dnn_choice) <= CUDA_CHOICE_BYTES_MAX, "it is kept in files");

static cuda_dnn_place place_of(const cuda_device *d)
{
    return (cuda_dnn_place){ .dnn = &d->dnn, .handle = d->dnn_handle };
}

/* Says what failed.  It is a CUDA error, which is the end of the device, or an error of cuDNN alone. */
static dr_status blame(cuda_device *d, const cuda_dnn_operator *op, dr_status rc, const dr_error *why,
                       dr_error *err)
{
    char doing[64];

    if (!rc)
        return DR_OK;
    snprintf(doing, sizeof(doing), "%s by cuDNN", op->name);
    if (cuda_check(d, cudaPeekAtLastError(), doing, err))
        return err ? err->status : DR_EDEVICE;
    return dr_fail(err, rc, "%s: %s", d->name, why->text);
}

static dr_status make_plan(cuda_device *d, cuda_dnn_plan *plan, const cuda_dnn_operator *op, const void *way,
                           const cuda_dnn_choice *choice, int rows, dr_error *err)
{
    const cuda_dnn_place at = place_of(d);
    dr_error why;
    dr_status rc = cuda_dnn_plan_make(plan, &at, op, way, choice, rows, &why);

    if (!rc && plan->workspace_bytes > DR_CUDA_BLAS_WORKSPACE_BYTES)
        rc = dr_fail(&why, DR_EUNSUPPORTED, "a kernel of cuDNN's wants %zu bytes of workspace and has %d",
                     plan->workspace_bytes, DR_CUDA_BLAS_WORKSPACE_BYTES);
    if (rc)
        cuda_dnn_plan_free(plan, &at);
    return blame(d, op, rc, &why, err);
}

/* The first start of a plan loads its code.  That must be allowed while a recording is written.  The
 * stream itself is still recorded. */
static dr_status run_plan(cuda_device *d, const cuda_dnn_plan *plan, const cuda_dnn_pack *pack, dr_error *why)
{
    enum cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
    const cuda_dnn_place at = place_of(d);
    cudaError_t code = cudaThreadExchangeStreamCaptureMode(&mode);
    dr_status rc = DR_OK;

    if (code == cudaSuccess) {
        rc = cuda_dnn_plan_run(plan, &at, pack, why);
        code = cudaThreadExchangeStreamCaptureMode(&mode);
    }
    return code == cudaSuccess ? rc : cuda_check(d, code, "setting how a stream is recorded", why);
}

dr_status cuda_dnn_start(cuda_device *d, dr_lane lane, const cuda_dnn_operator *op, const cuda_dnn_plan *plan,
                         const cuda_dnn_pack *pack, dr_error *err)
{
    cuda_dnn_pack in = *pack;
    dr_error why = { .status = DR_OK };
    dr_status rc;

    in.workspace = d->blas_workspace[lane];
    if (d->dnn.cudnnSetStream(d->dnn_handle, d->stream[lane]) != CUDNN_STATUS_SUCCESS)
        rc = dr_fail(&why, DR_EDEVICE, "cuDNN does not take the stream");
    else
        rc = run_plan(d, plan, &in, &why);
    return blame(d, op, rc, &why, err);
}

/* --- choosing ------------------------------------------------------------------------------ */

/* The plans of the candidate that is being tried: one for all units, and one for the units that are tried
 * alone. */
typedef struct dnn_trial {
    cuda_device *d;
    const cuda_dnn_operator *op;
    const void *way;
    cuda_dnn_choice candidate[DR_CUDA_CANDIDATES_MAX];
    int tried; /* -1: none yet */
    struct {
        size_t rows; /* 0: there is no plan */
        cuda_dnn_plan plan;
    } made[2];
} dnn_trial;

static void forget_tried(dnn_trial *t)
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
    dnn_trial *t = self;
    const int i = t->made[0].rows && t->made[0].rows != data->units && t->tried == candidate;
    cuda_dnn_pack pack;

    if (t->tried != candidate)
        forget_tried(t);
    t->tried = candidate;
    if (!t->made[i].rows) {
        const dr_status rc =
            make_plan(t->d, &t->made[i].plan, t->op, t->way, &t->candidate[candidate], (int)data->units, err);
        if (rc)
            return rc;
        t->made[i].rows = data->units;
    }
    dr_assert(t->made[i].rows == data->units);
    pack = t->op->pack_trial(t->way, data);
    return cuda_dnn_start(t->d, DR_LANE_DENOISE, t->op, &t->made[i].plan, &pack, err);
}

static dr_status choose(cuda_device *d, const cuda_dnn_operator *op, const void *way, cuda_dnn_choice *choice,
                        dr_error *err)
{
    const cuda_dnn_place at = place_of(d);
    dnn_trial self = { .d = d, .op = op, .way = way, .tried = -1 };
    cuda_trial trial = { .self = &self };
    dr_error why;
    int chosen;
    dr_status rc;

    op->set_trial(way, &trial);
    trial.units = CUDA_ROWS_PLANNED;
    trial.units_min = 2;
    trial.alone = 1;
    trial.start = start_candidate;
    trial.self = &self;
    rc = cuda_dnn_candidates(&at, op, way, CUDA_ROWS_PLANNED, CHOSEN_WORKSPACE_MAX, self.candidate,
                             &trial.candidates, &why);
    rc = blame(d, op, rc, &why, err);
    if (rc)
        return rc;
    rc = cuda_choose(d, &trial, &chosen, err);
    forget_tried(&self); /* no plan of it runs any more, because each run was waited for */
    if (rc)
        return rc;
    if (chosen < 0)
        return dr_fail(err, DR_EUNSUPPORTED, "%s: cuDNN has no kernel that does a row alone as in company",
                       d->name);
    *choice = self.candidate[chosen];
    return DR_OK;
}

/* --- plans ---------------------------------------------------------------------------------- */

static void free_planned(cuda_device *d, planned **link)
{
    const cuda_dnn_place at = place_of(d);
    planned *gone = *link;

    *link = gone->next;
    cuda_dnn_plan_free(&gone->plan, &at);
    free(gone);
    d->dnn_kernels.plans--;
}

/* Frees the plan that was used longest ago.  If it is needed again, it is made again, and gives the same
 * bits. */
static void make_room(cuda_device *d)
{
    const cuda_dnn_kernel *of = NULL;
    planned **oldest = NULL;

    if (d->dnn_kernels.plans < DR_CUDA_DNN_PLANS_MAX)
        return;
    for (cuda_dnn_kernel *k = d->dnn_kernels.first; k; k = k->next)
        for (planned **link = &k->plans; *link && !(k->op->compiles && d->recordings); link = &(*link)->next)
            if (!oldest || (*link)->used < (*oldest)->used) {
                oldest = link;
                of = k;
            }
    if (!oldest)
        return;
    if (of->op->compiles)
        cuda_lanes_drain(d); /* the plan's code may be running */
    free_planned(d, oldest);
}

static dr_status plan_for(planned **out, cuda_device *d, cuda_dnn_kernel *k, int rows, dr_error *err)
{
    planned *p = k->plans;
    dr_status rc;

    while (p && p->rows != rows)
        p = p->next;
    if (!p) {
        make_room(d);
        p = calloc(1, sizeof(*p));
        if (!p)
            return dr_fail(err, DR_ENOMEM, "no memory for a plan of cuDNN's");
        p->rows = rows;
        rc = make_plan(d, &p->plan, k->op, k->way, &k->choice, rows, err);
        if (rc) {
            free(p);
            return rc;
        }
        p->next = k->plans;
        k->plans = p;
        d->dnn_kernels.plans++;
    }
    p->used = ++d->dnn_kernels.clock;
    *out = p;
    return DR_OK;
}

/* --- kernels -------------------------------------------------------------------------------- */

static cuda_dnn_kernel *find_kernel(const cuda_device *d, const cuda_dnn_operator *op, const void *way)
{
    cuda_dnn_kernel *k = d->dnn_kernels.first;

    while (k && (k->op != op || memcmp(k->way, way, op->way_bytes) != 0))
        k = k->next;
    return k;
}

/* Returns the known choice, perhaps from an earlier start.  If there is none, measures one and remembers
 * it. */
static dr_status find_choice(cuda_device *d, cuda_dnn_kernel *k, dr_error *err)
{
    const cuda_dnn_operator *op = k->op;
    const void *known = cuda_plans_find(&d->plans, op->kind, k->way, op->way_bytes);
    planned *checked;
    cuda_plan plan;
    dr_error why;
    dr_status rc;

    if (known) {
        memcpy(&k->choice, known, sizeof(k->choice));
        if (!plan_for(&checked, d, k, CUDA_ROWS_PLANNED, &why))
            return DR_OK;
    }
    rc = choose(d, op, k->way, &k->choice, err);
    if (rc)
        return rc;
    plan = cuda_plan_of(op->kind, k->way, op->way_bytes, &k->choice, sizeof(k->choice));
    if (cuda_plans_add(&d->plans, &plan, &why))
        cuda_note_plans(d, &why);
    return DR_OK;
}

static dr_status new_kernel(cuda_dnn_kernel **out, cuda_device *d, const cuda_dnn_operator *op,
                            const void *way, dr_error *err)
{
    cuda_dnn_kernel *k = calloc(1, sizeof(*k));
    dr_status rc;

    if (!k)
        return dr_fail(err, DR_ENOMEM, "no memory for a kernel of cuDNN's");
    dr_assert(op->way_bytes <= sizeof(k->way));
    k->op = op;
    memcpy(k->way, way, op->way_bytes);
    rc = find_choice(d, k, err);
    if (rc) {
        free(k);
        return rc;
    }
    k->next = d->dnn_kernels.first;
    d->dnn_kernels.first = k;
    *out = k;
    return DR_OK;
}

dr_status cuda_dnn_find_plan(const cuda_dnn_plan **out, cuda_device *d, const cuda_dnn_operator *op,
                             const void *way, int rows, bool planning, dr_error *err)
{
    cuda_dnn_kernel *k = find_kernel(d, op, way);
    dr_status rc = cuda_check_alive(d, err);
    planned *p = NULL;

    dr_assert(k || planning);
    if (!rc && !k)
        rc = new_kernel(&k, d, op, way, err);
    if (!rc)
        rc = plan_for(&p, d, k, rows, err);
    if (!rc)
        *out = &p->plan;
    return rc;
}

void cuda_dnn_kernels_close(cuda_device *d)
{
    for (cuda_dnn_kernel *k = d->dnn_kernels.first, *next; k; k = next) {
        next = k->next;
        while (k->plans)
            free_planned(d, &k->plans);
        free(k);
    }
    d->dnn_kernels = (cuda_dnn_kernels){ .first = NULL };
}

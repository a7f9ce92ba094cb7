/* lanes.c - lanes as streams, marks as events. */
#include "ops/cuda/lanes.h"

#include "ops/cuda/check.h"
#include "ops/cuda/memory.h"

#include <stdlib.h>

typedef struct cuda_mark {
    dr_mark base;
    cudaEvent_t event;
} cuda_mark;

/* Text has the highest priority wherever a multiprocessor becomes free.  It is short, its kernels are
 * small, and the denoise lane, from which all pictures come, waits for it.  Decoding and denoising have
 * the same priority.  The work of both together takes equally long in either order.  So if one goes
 * first, it gains only at the other's cost.  And a picture that only needs its decoding, which takes as
 * long as a few steps, must not wait for fifty steps of other pictures. */
static dr_status open_stream(cuda_device *d, dr_lane lane, dr_error *err)
{
    int least = 0, greatest = 0;
    dr_status rc =
        cuda_check(d, cudaDeviceGetStreamPriorityRange(&least, &greatest), "asking for priorities", err);

    return rc ? rc
              : cuda_check(d,
                           cudaStreamCreateWithPriority(&d->stream[lane], cudaStreamNonBlocking,
                                                        lane == DR_LANE_TEXT ? greatest : least),
                           "making a stream", err);
}

dr_status cuda_lanes_open(cuda_device *d, dr_error *err)
{
    dr_status rc = DR_OK;

    for (int i = 0; i < DR_LANES && !rc; i++) {
        rc = open_stream(d, (dr_lane)i, err);
        if (!rc)
            rc = cuda_check(d, cudaEventCreateWithFlags(&d->passed[i], cudaEventDisableTiming),
                            "creating an event", err);
    }
    return rc;
}

void cuda_lanes_drain(cuda_device *d)
{
    for (int i = 0; i < DR_LANES; i++)
        if (d->stream[i])
            cudaStreamSynchronize(d->stream[i]);
}

void cuda_lanes_close(cuda_device *d)
{
    for (int i = 0; i < DR_LANES; i++) {
        if (d->passed[i])
            cudaEventDestroy(d->passed[i]);
        if (d->stream[i])
            cudaStreamDestroy(d->stream[i]);
    }
}

/* cudaStreamWaitEvent() waits for the work that was before the event at the time of this call.  So the
 * event can be used again at once. */
static dr_status wait_lane(dr_device *device, dr_lane lane, dr_lane on, dr_error *err)
{
    cuda_device *d = cuda_of(device);
    dr_status rc = cuda_check(d, cudaEventRecord(d->passed[on], d->stream[on]), "recording an event", err);

    return rc ? rc
              : cuda_check(d, cudaStreamWaitEvent(d->stream[lane], d->passed[on], 0), "waiting for a stream",
                           err);
}

static dr_status drain(dr_device *device, dr_error *err)
{
    cuda_device *d = cuda_of(device);
    dr_status rc = DR_OK;

    for (int i = 0; i < DR_LANES && !rc; i++)
        rc = cuda_check(d, cudaStreamSynchronize(d->stream[i]), "waiting for a stream", err);
    return rc;
}

/* --- marks ------------------------------------------------------------------------------- */

static dr_status mark_create(dr_mark **out, dr_device *device, dr_error *err)
{
    cuda_mark *m = calloc(1, sizeof(*m));
    dr_status rc;

    if (!m)
        return dr_fail(err, DR_ENOMEM, "no memory for a mark");
    m->base.device = device;
    rc = cuda_check(cuda_of(device), cudaEventCreateWithFlags(&m->event, cudaEventBlockingSync),
                    "creating an event", err);
    if (rc) {
        free(m);
        return rc;
    }
    *out = &m->base;
    return DR_OK;
}

static void mark_free(dr_mark *mark)
{
    cuda_mark *m = (cuda_mark *)mark;

    cuda_check(cuda_of(mark->device), cudaEventDestroy(m->event), "ending an event", NULL);
    free(m);
}

static dr_status mark_set(dr_mark *mark, dr_lane lane, dr_error *err)
{
    cuda_device *d = cuda_of(mark->device);

    return cuda_check(d, cudaEventRecord(((cuda_mark *)mark)->event, d->stream[lane]), "recording an event",
                      err);
}

static dr_status mark_wait(dr_mark *mark, dr_error *err)
{
    return cuda_check(cuda_of(mark->device), cudaEventSynchronize(((cuda_mark *)mark)->event),
                      "waiting for the device", err);
}

static dr_status mark_reached(dr_mark *mark, bool *reached, dr_error *err)
{
    cuda_device *d = cuda_of(mark->device);
    const cudaError_t code = cudaEventQuery(((cuda_mark *)mark)->event);

    *reached = code != cudaErrorNotReady;
    if (*reached)
        return cuda_check(d, code, "asking how far the device is", err);
    cudaGetLastError(); /* so that no later launch seems to have failed */
    return cuda_check_alive(d, err);
}

static dr_status mark_seconds(const dr_mark *begin, const dr_mark *end, double *seconds, dr_error *err)
{
    float ms = 0.0f;
    const dr_status rc = cuda_check(cuda_of(begin->device),
                                    cudaEventElapsedTime(&ms, ((const cuda_mark *)begin)->event,
                                                         ((const cuda_mark *)end)->event),
                                    "measuring time", err);

    *seconds = 1e-3 * (double)ms;
    return rc;
}

const dr_lanes_backend cuda_lanes = {
    .wait = wait_lane,
    .drain = drain,
    .upload = cuda_upload_on,
    .land = cuda_land,
    .pinned_alloc = cuda_pinned_alloc,
    .pinned_free = cuda_pinned_free,
    .mark_create = mark_create,
    .mark_free = mark_free,
    .mark_set = mark_set,
    .mark_wait = mark_wait,
    .mark_reached = mark_reached,
    .mark_seconds = mark_seconds,
};

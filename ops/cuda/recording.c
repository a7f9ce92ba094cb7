/* recording.c - a pass as a CUDA graph: hundreds of launches become one. */
#include "ops/cuda/recording.h"

#include "ops/cuda/check.h"

#include <stdlib.h>

typedef struct cuda_recording {
    dr_recording base;
    cudaGraphExec_t graph;
} cuda_recording;

dr_status cuda_recording_begin(dr_device *device, dr_error *err)
{
    cuda_device *d = cuda_of(device);
    dr_status rc = cuda_check_alive(d, err);

    if (!rc)
        rc = cuda_check(d,
                        cudaStreamBeginCapture(d->stream[DR_LANE_DENOISE], cudaStreamCaptureModeThreadLocal),
                        "beginning a recording", err);
    d->recordings += !rc;
    return rc;
}

dr_status cuda_recording_end(dr_recording **out, dr_device *device, dr_error *err)
{
    cuda_device *d = cuda_of(device);
    cuda_recording *r = calloc(1, sizeof(*r));
    cudaGraph_t written = NULL;
    dr_status rc =
        cuda_check(d, cudaStreamEndCapture(d->stream[DR_LANE_DENOISE], &written), "ending a recording", err);

    if (!rc && !r)
        rc = dr_fail(err, DR_ENOMEM, "no memory for a recording");
    if (!rc)
        rc = cuda_check(d, cudaGraphInstantiate(&r->graph, written, 0), "making a graph", err);
    if (written)
        cudaGraphDestroy(written);
    if (rc) {
        d->recordings--;
        free(r);
        return rc;
    }
    r->base.device = device;
    *out = &r->base;
    return DR_OK;
}

dr_status cuda_recording_play(dr_recording *recording, dr_error *err)
{
    cuda_device *d = cuda_of(recording->device);
    dr_status rc = cuda_check_alive(d, err);

    return rc ? rc
              : cuda_check(d,
                           cudaGraphLaunch(((cuda_recording *)recording)->graph, d->stream[DR_LANE_DENOISE]),
                           "launching a graph", err);
}

void cuda_recording_free(dr_recording *recording)
{
    cuda_recording *r = (cuda_recording *)recording;
    cuda_device *d = cuda_of(recording->device);

    dr_assert(d->recordings > 0);
    cuda_check(d, cudaGraphExecDestroy(r->graph), "ending a graph", NULL);
    d->recordings--;
    free(r);
}

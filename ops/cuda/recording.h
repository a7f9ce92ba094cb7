/* recording.h - records a pass of DR_LANE_DENOISE as a CUDA graph, as dr_backend needs it
 * (ops/backend.h). */
#ifndef DR_OPS_CUDA_RECORDING_H
#define DR_OPS_CUDA_RECORDING_H

#include "ops/cuda/cuda.h"

/* Between begin and end the stream's work is recorded and does not run.  Only one recording at a time can
 * be written. */
dr_status cuda_recording_begin(dr_device *device, dr_error *err);

/* Must be called after every begin that succeeded, even if something failed since.  On success the caller
 * owns *out. */
dr_status cuda_recording_end(dr_recording **out, dr_device *device, dr_error *err);

/* Enqueues the whole recording as one launch. */
dr_status cuda_recording_play(dr_recording *recording, dr_error *err);
void cuda_recording_free(dr_recording *recording);

#endif

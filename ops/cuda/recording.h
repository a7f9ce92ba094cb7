/* recording.h - a pass of DR_LANE_DENOISE as a CUDA graph, as dr_backend has it (ops/backend.h). */
#ifndef DR_OPS_CUDA_RECORDING_H
#define DR_OPS_CUDA_RECORDING_H

#include "ops/cuda/cuda.h"

/* Between begin and end the stream's work is written down and not run.  One recording at a time is written.
 */
dr_status cuda_recording_begin(dr_device *device, dr_error *err);

/* After every begin that went well, whatever failed since.  On success *out is the caller's. */
dr_status cuda_recording_end(dr_recording **out, dr_device *device, dr_error *err);

/* Enqueues all of it as one launch. */
dr_status cuda_recording_play(dr_recording *recording, dr_error *err);
void cuda_recording_free(dr_recording *recording);

#endif

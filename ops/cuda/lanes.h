/* lanes.h - lanes as streams, marks as events. */
#ifndef DR_OPS_CUDA_LANES_H
#define DR_OPS_CUDA_LANES_H

#include "ops/cuda/cuda.h"

/* What ops/lanes.c calls. */
extern const dr_lanes_backend cuda_lanes;

/* Makes a stream and an event for each lane.  After a failure, what was made so far stays there for
 * cuda_lanes_close(). */
dr_status cuda_lanes_open(cuda_device *d, dr_error *err);

/* Waits for all work on any lane, even if the device is half-open or lost.  Failures are not reported. */
void cuda_lanes_drain(cuda_device *d);
void cuda_lanes_close(cuda_device *d); /* the device may be half-open; it was drained before */

#endif

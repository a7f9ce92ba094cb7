/* lanes.h - lanes as streams, marks as events. */
#ifndef DR_OPS_CUDA_LANES_H
#define DR_OPS_CUDA_LANES_H

#include "ops/cuda/cuda.h"

/* What ops/lanes.c calls. */
extern const dr_lanes_backend cuda_lanes;

/* A stream and an event for each lane.  After a failure what was made is still there, for cuda_lanes_close().
 */
dr_status cuda_lanes_open(cuda_device *d, dr_error *err);

/* Waits for all that is on any lane, of a half-open or lost device too.  What fails is not told. */
void cuda_lanes_drain(cuda_device *d);
void cuda_lanes_close(cuda_device *d); /* of a half-open device too; drained before */

#endif

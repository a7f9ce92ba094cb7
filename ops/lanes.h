/* lanes.h - what a device does beside what, and how the host learns how far it has come.
 *
 *     host       step   step   finish  step   ...   take
 *     TEXT       [prompts]
 *     DENOISE         \.[UNet call][UNet call]..[UNet call]...
 *     DECODE                              \.[picture, landing]
 *
 * What is put on a lane is done in that order, later: putting it there takes no time.  Lanes go on beside each other, and
 * only dr_lane_wait() says what of one comes before what of another: whoever reads or overwrites what another lane
 * has to do with says so.  Two passes of different lanes never share scratch memory.
 *
 * A device without lanes (the CPU) does everything at once, in the order of the calls; then waiting is nothing.
 * All calls come from the thread that owns the device. */
#ifndef DR_OPS_LANES_H
#define DR_OPS_LANES_H

#include "base/error.h"

#include <darkroom/device.h>

typedef enum dr_lane {
    DR_LANE_DENOISE, /* also what is named no lane: weights, dr_device_upload(), dr_device_zero() */
    DR_LANE_TEXT,
    DR_LANE_DECODE,
    DR_LANES
} dr_lane;

bool dr_device_has_lanes(const dr_device *device);

/* What is put on `lane` from now on begins after what is on `on` now.  The host does not wait. */
dr_status dr_lane_wait(dr_device *device, dr_lane lane, dr_lane on, dr_error *err);

/* What is put on any lane from now on begins after what is on any lane now. */
dr_status dr_lanes_meet(dr_device *device, dr_error *err);

/* The host waits until all that is on any lane is done. */
dr_status dr_lanes_drain(dr_device *device, dr_error *err);

/* As dr_device_upload(), in the lane's order. */
dr_status dr_lane_upload(dr_device *device, dr_lane lane, void *to, const void *host, size_t bytes,
                         dr_error *err);

/* --- marks ------------------------------------------------------------------------------ */

/* A point in a lane's order, and when it was reached. */
typedef struct dr_mark dr_mark;

dr_status dr_mark_create(dr_mark **out, dr_device *device, dr_error *err); /* NULL on failure */
void dr_mark_free(dr_mark *mark);                                          /* NULL is allowed */

/* Behind what is on the lane now.  Where it was before is forgotten. */
dr_status dr_mark_set(dr_mark *mark, dr_lane lane, dr_error *err);

/* One that was never set has been reached. */
dr_status dr_mark_wait(dr_mark *mark, dr_error *err);
dr_status dr_mark_reached(dr_mark *mark, bool *reached, dr_error *err);

/* From one to the other; both were set, and have been reached. */
dr_status dr_mark_seconds(const dr_mark *begin, const dr_mark *end, double *seconds, dr_error *err);

/* --- landings ----------------------------------------------------------------------------- */

/* Host memory that a device writes to by itself (pinned), and a mark that says when it has. */
typedef struct dr_landing dr_landing;

dr_status dr_landing_create(dr_landing **out, dr_device *device, size_t bytes, dr_error *err);
void dr_landing_free(dr_landing *landing); /* NULL is allowed; not while a lane is on its way to it */

/* A copy of all its bytes, in the lane's order. */
dr_status dr_landing_begin(dr_landing *landing, dr_lane lane, const void *from, dr_error *err);

bool dr_landing_ready(dr_landing *landing); /* dr_landing_wait() would not wait, be it that it fails */

/* Waits for the last copy alone.  *bytes stay as they are until the next one begins. */
dr_status dr_landing_wait(dr_landing *landing, const void **bytes, dr_error *err);

#endif

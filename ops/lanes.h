/* lanes.h - what a device does at the same time, and how the host learns how far it has come.
 *
 *     host       step   step   finish  step   ...   take
 *     TEXT       [prompts]
 *     DENOISE         \.[UNet call][UNet call]..[UNet call]...
 *     DECODE                              \.[picture, landing]
 *
 * Work on a lane is done in the order in which it was put there.  Putting it there returns at once.  Lanes
 * run in parallel, and only dr_lane_wait() orders the work of one lane after the work of another.
 * Whoever reads or overwrites what another lane uses calls it.  Two passes of different lanes never share
 * scratch memory.
 *
 * A device without lanes (the CPU) does everything at once, in the order of the calls; then there is
 * nothing to wait for.
 *
 * All calls come from the thread that owns the device.  A call fails with DR_EDEVICE once the device is lost.
 */
#ifndef DR_OPS_LANES_H
#define DR_OPS_LANES_H

#include "base/error.h"

#include <darkroom/device.h>

typedef enum dr_lane {
    DR_LANE_DENOISE, /* also the lane of what names none: weights, dr_device_upload(), dr_device_zero() */
    DR_LANE_TEXT,
    DR_LANE_DECODE,
    DR_LANES
} dr_lane;

/* Whether work on one lane can run in parallel with work on another. */
bool dr_device_has_lanes(const dr_device *device);

/* Work that is put on `lane` from now on begins after the work that is on `on` now.  The host does not wait.
 */
dr_status dr_lane_wait(dr_device *device, dr_lane lane, dr_lane on, dr_error *err);

/* Work that is put on any lane from now on begins after all work that is on any lane now.  The host does
 * not wait. */
dr_status dr_lanes_meet(dr_device *device, dr_error *err);

/* The host waits until all work on all lanes is done. */
dr_status dr_lanes_drain(dr_device *device, dr_error *err);

/* dr_device_upload() in the lane's order: `host` may be changed as soon as the call returns. */
dr_status dr_lane_upload(dr_device *device, dr_lane lane, void *to, const void *host, size_t bytes,
                         dr_error *err);

/* --- marks ------------------------------------------------------------------------------ */

/* A point in a lane's order, and the time at which it was reached. */
typedef struct dr_mark dr_mark;

/* A mark that was never set.  It is the caller's, and freed before the device is closed. */
dr_status dr_mark_create(dr_mark **out, dr_device *device, dr_error *err); /* NULL on failure */
void dr_mark_free(dr_mark *mark);                                          /* NULL is allowed */

/* Puts the mark behind the work that is on the lane now.  Its earlier place is forgotten. */
dr_status dr_mark_set(dr_mark *mark, dr_lane lane, dr_error *err);

/* Wait until the mark is reached, or ask whether it is.  A mark that was never set has been reached. */
dr_status dr_mark_wait(dr_mark *mark, dr_error *err);
dr_status dr_mark_reached(dr_mark *mark, bool *reached, dr_error *err);

/* The time from one mark to the other.  Both belong to one device, were set, and have been reached. */
dr_status dr_mark_seconds(const dr_mark *begin, const dr_mark *end, double *seconds, dr_error *err);

/* --- landings ----------------------------------------------------------------------------- */

/* Host memory that a device writes by itself (pinned), and a mark that says when it has. */
typedef struct dr_landing dr_landing;

/* The caller's, and freed before the device is closed. */
dr_status dr_landing_create(dr_landing **out, dr_device *device, size_t bytes, dr_error *err);
void dr_landing_free(dr_landing *landing); /* NULL is allowed; not while a copy to it is on its way */

/* Begins a copy of all its bytes from device memory, in the lane's order. */
dr_status dr_landing_begin(dr_landing *landing, dr_lane lane, const void *from, dr_error *err);

bool dr_landing_ready(dr_landing *landing); /* dr_landing_wait() would not wait; it may fail */

/* Waits for the last copy, and for nothing else.  *bytes is the landing's memory, unchanged until the next
 * copy begins. */
dr_status dr_landing_wait(dr_landing *landing, const void **bytes, dr_error *err);

#endif

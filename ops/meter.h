/* meter.h - how long a device does nothing although it has something to do.
 *
 *     passes   [A][B].....[C][D]                 [E]
 *                    idle        pause: nobody wants anything
 *
 * Before a pass is put on a lane, the meter asks whether all passes before it are done.  If they are, the
 * device is idle from the end of the last of them to the begin of this pass.  That time is by the device's
 * own clock, and is read when the next pass comes, so that nobody waits for it.  Without lanes the clock
 * is the host's, and all time between passes is idle.
 *
 * All calls come from the thread that owns the device. */
#ifndef DR_OPS_METER_H
#define DR_OPS_METER_H

#include "ops/lanes.h"

typedef struct dr_meter dr_meter;

/* The caller's, and freed before the device is closed. */
dr_status dr_meter_create(dr_meter **out, dr_device *device, dr_error *err);
void dr_meter_free(dr_meter *meter); /* NULL is allowed, here and below */

/* Called before a pass is put on the lane, and after it.  They tell no failure: the next call on the
 * device will. */
void dr_meter_begin(dr_meter *meter, dr_lane lane);
void dr_meter_end(dr_meter *meter, dr_lane lane);

/* Nobody wants anything until the next pass; and the load since the device was opened. */
void dr_meter_pause(dr_meter *meter);
dr_device_load dr_meter_read(dr_meter *meter);

#endif

/* meter.h - how long a device does nothing although it has something to do.
 *
 *     passes   [A][B].....[C][D]                 [E]
 *                    idle        pause: nobody wants anything
 *
 * Whoever puts a pass on a lane asks first whether all passes before are done.  Where they are, the device is idle, from the
 * end of the last of them to the begin of this one: by the device's own clock, and read when the next pass comes, so
 * that nobody waits.  Without lanes it is the host's clock, and idle is all that is no pass. */
#ifndef DR_OPS_METER_H
#define DR_OPS_METER_H

#include "ops/lanes.h"

typedef struct dr_meter dr_meter;

dr_status dr_meter_create(dr_meter **out, dr_device *device, dr_error *err);
void dr_meter_free(dr_meter *meter); /* NULL is allowed, here and below */

/* Before a pass is put on the lane, and behind it.  What fails is told by what comes next. */
void dr_meter_begin(dr_meter *meter, dr_lane lane);
void dr_meter_end(dr_meter *meter, dr_lane lane);

void dr_meter_pause(dr_meter *meter);
dr_device_load dr_meter_read(dr_meter *meter);

#endif

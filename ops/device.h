/* device.h - where tensors live and operators run.
 *
 * A device is a table of function pointers filled once (ops/backend.h) and whatever its
 * backend keeps behind it.  One thread owns a device: every call on it, and on what was
 * made from it, comes from that thread. */
#ifndef DR_OPS_DEVICE_H
#define DR_OPS_DEVICE_H

#include "base/error.h"
#include "ops/lanes.h"
#include "ops/tensor.h"

#include <darkroom/device.h>

/* The type of weights and activations: DR_F32 on the CPU. */
dr_dtype dr_device_activation_dtype(const dr_device *device);

/* Device memory that outlives a pass: weights' small vectors, latents, caches.  It is aligned to 64 bytes,
 * the caller's, and freed before the device is closed.  On a device with lanes (ops/lanes.h) an upload and
 * a zeroing are done in the order of DR_LANE_DENOISE; a download waits for all work that was put on any
 * lane; freeing waits until all lanes are done.  DR_ENOMEM: there is not so much memory.  DR_EDEVICE: the
 * device is lost. */
dr_status dr_device_alloc(void **out, dr_device *device, size_t bytes, dr_error *err); /* NULL on failure */
void dr_device_free(dr_device *device, void *memory);                                  /* NULL is allowed */
dr_status dr_device_upload(dr_device *device, void *to, const void *host, size_t bytes, dr_error *err);
dr_status dr_device_download(dr_device *device, void *host, const void *from, size_t bytes, dr_error *err);
dr_status dr_device_zero(dr_device *device, void *memory, size_t bytes, dr_error *err);

/* Around the passes that are put on a lane: what lies between them counts as idle in dr_device_load_of(). */
void dr_device_begin_pass(dr_device *device, dr_lane lane);
void dr_device_end_pass(dr_device *device, dr_lane lane);

/* Work that is enqueued between begin and end is not run but written down.  It can then be run any number
 * of times, as one launch, over the same memory: a CUDA graph.  It is work of DR_LANE_DENOISE.  Uploads,
 * downloads and allocations are not allowed in between.  The CPU has no recordings, because its launches
 * cost nothing. */
typedef struct dr_recording dr_recording;
bool dr_device_records(const dr_device *device); /* whether it has them: else these must not be called */
dr_status dr_recording_begin(dr_device *device, dr_error *err); /* not between another begin and its end */

/* Follows each begin that succeeded, whatever has failed since.  *out is the caller's, NULL on failure; it
 * is freed before the device is closed. */
dr_status dr_recording_end(dr_recording **out, dr_device *device, dr_error *err);
dr_status dr_recording_play(dr_recording *recording, dr_error *err);
void dr_recording_free(dr_recording *recording); /* NULL is allowed */

#endif

/* memory.h - the device's memory, within our share of it, and copies through pinned staging buffers.
 *
 *     upload     host -> memcpy -> buffer -> copy, later -> device      returns when the buffer has the bytes
 *     download   host <- memcpy <- buffer <- copy <- device             returns when the host has the bytes
 *
 * A buffer is used again when its last copy is done: until then the next call that needs it waits.  All calls
 * come from the thread that owns the device.  Each fails with DR_EDEVICE once the device is lost. */
#ifndef DR_OPS_CUDA_MEMORY_H
#define DR_OPS_CUDA_MEMORY_H

#include "ops/cuda/cuda.h"

/* The staging buffers.  Closing also works on a half-open device, and never fails. */
dr_status cuda_staging_open(cuda_device *d, dr_error *err);
void cuda_staging_close(cuda_device *d);

/* How many bytes cuda_alloc() can still give: the rest of our share, or less if other processes have
 * taken the memory. */
size_t cuda_memory_left(const dr_device *device);

/* Allocates a block with an address of its own, also for 0 bytes.  DR_ENOMEM: more than is left.  If it
 * is more than all of our share, the error is not retriable.  *out is set on success only. */
dr_status cuda_alloc(void **out, dr_device *device, size_t bytes, dr_error *err);

/* NULL is allowed.  Waits for the device.  The next call reports a failure. */
void cuda_free(dr_device *device, void *memory);

/* In the order of DR_LANE_DENOISE, or of `lane`.  host may be changed as soon as the call returns. */
dr_status cuda_upload(dr_device *device, void *to, const void *host, size_t bytes, dr_error *err);
dr_status cuda_upload_on(dr_device *device, dr_lane lane, void *to, const void *host, size_t bytes,
                         dr_error *err);
dr_status cuda_zero(dr_device *device, void *memory, size_t bytes, dr_error *err);

/* Copies in the order of DR_LANE_DENOISE.  Waits until host has the bytes. */
dr_status cuda_download(dr_device *device, void *host, const void *from, size_t bytes, dr_error *err);

/* Allocates pinned host memory, to which the device writes by itself.  The caller owns it, and frees it
 * before the device is closed. */
dr_status cuda_pinned_alloc(void **out, dr_device *device, size_t bytes, dr_error *err);
void cuda_pinned_free(dr_device *device, void *pinned);

/* Copies to pinned memory, in the lane's order.  Does not wait: a mark after it tells when the copy is
 * done. */
dr_status cuda_land(dr_device *device, dr_lane lane, void *pinned, const void *from, size_t bytes,
                    dr_error *err);

/* Converts values that are float32 on the host to `storage`.  They go to memory that is there, or to a
 * new block.  The caller owns the new block and frees it with cuda_free(). */
dr_status cuda_put(cuda_device *d, void *to, const float *host, size_t values, dr_dtype storage,
                   dr_error *err);
dr_status cuda_pack(cuda_device *d, void **out, const float *host, size_t values, dr_dtype storage,
                    dr_error *err);

#endif

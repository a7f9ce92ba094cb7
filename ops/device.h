/* device.h - where tensors live and operators run.
 *
 * A device is a table of function pointers filled once (ops/backend.h) and whatever its
 * backend keeps behind it.  One thread owns a device: every call on it, and on what was
 * made from it, comes from that thread. */
#ifndef DR_OPS_DEVICE_H
#define DR_OPS_DEVICE_H

#include "base/error.h"
#include "ops/tensor.h"

typedef struct dr_device dr_device;

typedef struct dr_device_options {
    const char *name; /* "cpu", later "cuda:0"; "auto": the fastest there is */
    int threads;      /* CPU: at most DR_THREADS_MAX; 0 is one per core that we may run on */
    const char *isa;  /* CPU: "generic", "avx2", "avx512"; NULL: the widest there is */
} dr_device_options;

/* On success *out is the caller's, to be ended with dr_device_close() after everything
 * made from it; on failure *out is NULL. */
dr_status dr_device_open(dr_device **out, const dr_device_options *options, dr_error *err);
void dr_device_close(dr_device *device); /* NULL is allowed */

const char *dr_device_name(const dr_device *device);          /* "cpu" */
const char *dr_device_description(const dr_device *device);   /* one line: ISA, threads, library */
dr_dtype dr_device_activation_dtype(const dr_device *device); /* F32 on the CPU */

/* Device memory that outlives a pass: weights' small vectors, latents, caches. 64-byte aligned. */
void *dr_device_alloc(dr_device *device, size_t bytes, dr_error *err); /* NULL on failure */
void dr_device_free(dr_device *device, void *memory);                  /* NULL is allowed */
dr_status dr_device_upload(dr_device *device, void *to, const void *host, size_t bytes, dr_error *err);
dr_status dr_device_download(dr_device *device, void *host, const void *from, size_t bytes, dr_error *err);
dr_status dr_device_zero(dr_device *device, void *memory, size_t bytes, dr_error *err);

#endif

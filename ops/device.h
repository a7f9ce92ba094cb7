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
    const char *name; /* "cpu", "cuda:0"; "auto": the first CUDA device that can be used, else the CPU */

    int threads; /* CPU: at most DR_THREADS_MAX; 0 is one per core that we may run on */
    /* CPU: "generic", "avx2", "avx512".  CUDA, for our own kernels: "sm_80", "sm_90a".  NULL: the widest there is */
    const char *isa;

    size_t memory_max;        /* CUDA: bytes of the device's memory for us; 0: all that is free */
    const char *storage;      /* CUDA: "f16", "bf16": weights and activations; NULL: f16 */
    const char *convolutions; /* CUDA: whose: "own", "cudnn"; NULL: own */
    const char *attention;    /* CUDA: likewise */
    const char *cuda_libs; /* CUDA: folders with cuBLASLt and cuDNN, looked into first, "/a:/b"; NULL: none */
    const char *plan_cache; /* CUDA: folder for what was measured of kernels, made if need be; NULL: none */
    const char
        *fp8; /* CUDA, on Hopper: what is multiplied in 8 bits: "off", "convolutions", "all"; NULL: off */
    bool
        fast; /* CUDA: products' kernels may be chosen for the number of rows, and a row's bits depend on it */
    bool unchecked; /* CUDA: our kernels are not tried (ops/cuda/self_check.h): for who has just done so */
} dr_device_options;

/* On success *out is the caller's, to be ended with dr_device_close() after everything
 * made from it; on failure *out is NULL.
 *
 * An accelerator can fail for good: then every later call on it, and every pass, fails with DR_EDEVICE and the first
 * failure's text, and nothing that is in its memory can be had.  It is closed as ever. */
dr_status dr_device_open(dr_device **out, const dr_device_options *options, dr_error *err);
void dr_device_close(dr_device *device); /* NULL is allowed */

const char *dr_device_name(const dr_device *device);          /* "cpu" */
const char *dr_device_description(const dr_device *device);   /* one line: ISA, threads, library */
const char *dr_device_arithmetic(const dr_device *device);    /* what bits depend on: see below */
const char *dr_device_why(const dr_device *device);           /* one line: "auto: no NVIDIA driver ..." */
dr_dtype dr_device_activation_dtype(const dr_device *device); /* F32 on the CPU */
size_t dr_device_memory_left(const dr_device *device); /* of its own, for us; SIZE_MAX: it uses the host's */

/* Two devices with the same text here give the same bits: "cpu avx512", "cuda sm90 f16 cublaslt130100 wgmma".  Where "fast" is in
 * it, a row's bits depend on the number of rows as well, and on what was measured. */
enum { DR_ARITHMETIC_BYTES = 128 };

/* One line that somebody should read and nothing stops for: a cache that can't be written.  It is told once; NULL: there is
 * none that is new.  To be asked after opening a device and after planning. */
const char *dr_device_note(dr_device *device);

/* Time under load, and how much of it the device did nothing (ops/meter.h): all of both since it was opened.  Load begins
 * with a pass, and ends with dr_device_pause(): until the next pass nobody wants anything of the device. */
typedef struct dr_device_load {
    double seconds, idle_s;
} dr_device_load;
dr_device_load dr_device_load_of(dr_device *device);
void dr_device_pause(dr_device *device);

/* Device memory that outlives a pass: weights' small vectors, latents, caches. 64-byte aligned.  On a device with lanes
 * (ops/lanes.h) an upload and a zeroing are done in the order of the first one; a download after all that was put on any;
 * memory is given back when all lanes are done with what they have. */
dr_status dr_device_alloc(void **out, dr_device *device, size_t bytes, dr_error *err); /* NULL on failure */
void dr_device_free(dr_device *device, void *memory);                                  /* NULL is allowed */
dr_status dr_device_upload(dr_device *device, void *to, const void *host, size_t bytes, dr_error *err);
dr_status dr_device_download(dr_device *device, void *host, const void *from, size_t bytes, dr_error *err);
dr_status dr_device_zero(dr_device *device, void *memory, size_t bytes, dr_error *err);

/* What is enqueued between begin and end is not run but written down, and can then be run any number of
 * times, as one launch, over the same memory: a CUDA graph.  Uploads, downloads and allocations have no place
 * in it.  It is of DR_LANE_DENOISE.  The CPU has none: its launches cost nothing. */
typedef struct dr_recording dr_recording;
bool dr_device_records(const dr_device *device);
dr_status dr_recording_begin(dr_device *device, dr_error *err);
dr_status dr_recording_end(dr_recording **out, dr_device *device,
                           dr_error *err); /* after any begin, whatever failed */
dr_status dr_recording_play(dr_recording *recording, dr_error *err);
void dr_recording_free(dr_recording *recording); /* NULL is allowed */

#endif

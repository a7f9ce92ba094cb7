/* device.h - where models run: this machine's CPU, or a GPU.
 *
 * Threads: one thread owns a device.  Every call on the device, and on what was made from it, comes from that
 * thread. */
#ifndef DARKROOM_DEVICE_H
#define DARKROOM_DEVICE_H

#include <darkroom/error.h>

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dr_device dr_device;

/* Zeroes are the defaults: a device of `{ .name = "auto" }` is a good one.  Strings are borrowed for the call. */
typedef struct dr_device_options {
    /* "cpu", "cuda:0".  "auto" is the first CUDA device that can be used, and the CPU where there is none. */
    const char *name;

    int threads; /* CPU: at most DR_THREADS_MAX.  0: as many as affinity and CPU quota allow. */

    /* Instruction set.  CPU: "generic", "avx2", "avx512", "amx".  CUDA, for our own kernels: "sm_80", "sm_90a".
     * NULL is the widest that the device has. */
    const char *isa;

    size_t memory_max;   /* CUDA: bytes of the device's memory that we may use.  0 is all that is free. */
    const char *storage; /* CUDA: type of weights and activations: "f16", "bf16".  NULL is f16. */
    const char *convolutions; /* CUDA: whose convolutions run: "own", "cudnn".  NULL is own. */
    const char *attention;    /* CUDA: whose attention runs: "own", "cudnn".  NULL is own. */
    const char
        *cuda_libs; /* CUDA: folders to look for cuBLASLt and cuDNN in first: "/a:/b".  NULL is none. */
    const char *plan_cache; /* CUDA: folder that keeps what was measured of kernels.  It is made where it is
                                 missing.  NULL is none. */
    const char
        *fp8; /* CUDA, on Hopper: what is multiplied in 8 bits: "off", "convolutions", "all".  NULL is off. */
    bool fast; /* CUDA: kernels may be chosen for the number of rows.  A row's bits then depend on it. */
    bool
        unchecked; /* CUDA: the kernels are not tried on opening.  This is for a caller that has just tried them. */
} dr_device_options;

/* Open a device.  On success *out is the caller's, who ends it with dr_device_close() after everything that was made
 * from it.  On failure *out is NULL.
 *
 * An accelerator can fail for good.  Then every later call on it fails with DR_EDEVICE and the text of the first
 * failure, and nothing that is in its memory can be had.  It is closed as always. */
dr_status dr_device_open(dr_device **out, const dr_device_options *options, dr_error *err);
void dr_device_close(dr_device *device); /* NULL is allowed */

/* Texts of one line, which live as long as the device. */
const char *dr_device_name(const dr_device *device);        /* "cpu" */
const char *dr_device_description(const dr_device *device); /* instruction set, threads, libraries */
const char *dr_device_why(const dr_device *device); /* why "auto" chose it: "auto: no NVIDIA driver ..." */

/* What the bits of a picture depend on, in less than DR_ARITHMETIC_BYTES: "cpu avx512",
 * "cuda sm90 f16 cublaslt130100 wgmma".  Two devices with the same text give the same bits.  Where "fast" is in the
 * text, a row's bits depend on the number of rows as well, and on what was measured. */
const char *dr_device_arithmetic(const dr_device *device);
enum { DR_ARITHMETIC_BYTES = 128 };

/* Bytes of the device's own memory that we may still use.  SIZE_MAX: the device uses the host's memory. */
size_t dr_device_memory_left(const dr_device *device);

/* One line that somebody should read and nothing stops for, such as a cache that can't be written.  A line is told
 * once.  NULL: there is none that is new.  Ask after dr_device_open() and after dr_run_open(). */
const char *dr_device_note(dr_device *device);

/* Time under load since the device was opened, and how much of it the device did nothing.  Load begins with a step and
 * ends with dr_device_pause(), which says that until the next step nobody wants anything of the device. */
typedef struct dr_device_load {
    double seconds, idle_s;
} dr_device_load;
dr_device_load dr_device_load_of(dr_device *device);
void dr_device_pause(dr_device *device);

#ifdef __cplusplus
}
#endif

#endif

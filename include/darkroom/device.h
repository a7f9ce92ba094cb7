/* device.h - where models run: this machine's CPU, or a GPU.
 *
 * Threads: one thread owns a device.  Every call on the device, and on what was made from it, comes from that
 * thread. */
#ifndef DARKROOM_DEVICE_H
#define DARKROOM_DEVICE_H

#include <darkroom/error.h>
#include <darkroom/options.h>

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dr_device dr_device;

/* Zeroes are the defaults: `{ .name = "auto" }` is a good device.  Strings are borrowed for the call.
 *
 * Each row of darkroom/options.h is a field, and says what the field means: name, memory_max, isa, storage,
 * convolutions, attention, fp8, fast, cuda_libs, plan_cache, threads. */
typedef struct dr_device_options {
#define DR_DEVICE_TEXT(field, setting, preset, placeholder, help) const char *field;
#define DR_DEVICE_CHOICE(field, setting, preset, placeholder, help, ...) const char *field;
#define DR_DEVICE_COUNT(field, setting, preset, max, help) int field;
#define DR_DEVICE_MIB(field, setting, preset, max, help) size_t field;
#define DR_DEVICE_SWITCH(field, setting, preset, help) bool field;
    DR_DEVICE_OPTIONS(DR_DEVICE_TEXT, DR_DEVICE_CHOICE, DR_DEVICE_COUNT, DR_DEVICE_MIB, DR_DEVICE_SWITCH)
#undef DR_DEVICE_TEXT
#undef DR_DEVICE_CHOICE
#undef DR_DEVICE_COUNT
#undef DR_DEVICE_MIB
#undef DR_DEVICE_SWITCH

    bool unchecked; /* CUDA: the kernels are not tried on opening.  For a caller that has just tried them. */
} dr_device_options;

/* Open a device.  On success *out is the caller's, who ends it with dr_device_close() after everything that
 * was made from it.  On failure *out is NULL.
 *
 * An accelerator can fail for good.  Then every later call on it fails with DR_EDEVICE and the text of the
 * first failure, and nothing that is in its memory can be had.  It is closed as always. */
dr_status dr_device_open(dr_device **out, const dr_device_options *options, dr_error *err);
void dr_device_close(dr_device *device); /* NULL is allowed */

/* Texts of one line, which live as long as the device. */
const char *dr_device_name(const dr_device *device);        /* "cpu" */
const char *dr_device_description(const dr_device *device); /* instruction set, threads, libraries */
const char *dr_device_why(const dr_device *device); /* why "auto" chose it: "auto: no NVIDIA driver ..." */

/* What the bits of a picture depend on, in less than DR_ARITHMETIC_BYTES: "cpu avx512",
 * "cuda sm90 f16 cublaslt130100 wgmma".  Two devices with the same text give the same bits.  Where "fast" is in
 * the text, a row's bits depend on the number of rows as well, and on what was measured. */
const char *dr_device_arithmetic(const dr_device *device);
enum { DR_ARITHMETIC_BYTES = 128 };

/* Bytes of the device's own memory that we may still use.  SIZE_MAX: the device uses the host's memory. */
size_t dr_device_memory_left(const dr_device *device);

/* One line that somebody should read and nothing stops for, such as a cache that can't be written.  A line is
 * told once.  NULL: there is none that is new.  Ask after dr_device_open() and after dr_run_open(). */
const char *dr_device_note(dr_device *device);

/* Time under load since the device was opened, and how much of it the device did nothing.  Load begins with a
 * step and ends with dr_device_pause(), which says that until the next step nobody wants anything of the
 * device. */
typedef struct dr_device_load {
    double seconds, idle_s;
} dr_device_load;
dr_device_load dr_device_load_of(dr_device *device);
void dr_device_pause(dr_device *device);

#ifdef __cplusplus
}
#endif

#endif

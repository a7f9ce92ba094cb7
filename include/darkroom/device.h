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

    /* CUDA: the kernels are not tested when the device is opened.  For a caller that has just tested them. */
    bool unchecked;
} dr_device_options;

/* Open a device.  On success the caller owns *out, and closes it after everything that was made from it.
 * On failure *out is NULL: DR_EINVAL for an option out of range, DR_ENOTFOUND for a device that is not
 * there, DR_EUNSUPPORTED for a device that Darkroom can't use.
 *
 * An accelerator can fail for good.  Then every later call on it fails with DR_EDEVICE and the text of the
 * first failure, and nothing can be read from its memory any more.  It is closed like any other. */
dr_status dr_device_open(dr_device **out, const dr_device_options *options, dr_error *err);

/* Close a device from which nothing is left.  NULL is allowed. */
void dr_device_close(dr_device *device);

/* Texts of one line.  They live as long as the device. */
const char *dr_device_name(const dr_device *device);        /* "cpu" */
const char *dr_device_description(const dr_device *device); /* instruction set, threads, libraries */
const char *dr_device_why(const dr_device *device); /* why "auto" chose it: "auto: no NVIDIA driver ..." */

/* How the device computes, as far as the bits of a picture depend on it: "cpu avx512", "cuda sm90 f16
 * cublaslt130100 wgmma". At most DR_ARITHMETIC_BYTES with the terminator; lives as long as the device.  Two
 * devices with the same text give the same bits.  Where "fast" is in the text, the bits also depend on the
 * number of rows in the batch, and on which kernels were measured to be fast. */
const char *dr_device_arithmetic(const dr_device *device);
enum { DR_ARITHMETIC_BYTES = 128 };

/* Bytes of the device's own memory that Darkroom may still use.  SIZE_MAX: the device uses the host's
 * memory. */
size_t dr_device_memory_left(const dr_device *device);

/* A warning that an operator should read, such as a cache that can't be written.  One line, which lives
 * until the next call with this device.  Each warning is returned once.  NULL: there is no new one.  Ask
 * after dr_device_open() and after dr_run_open(). */
const char *dr_device_note(dr_device *device);

/* How busy the device was since it was opened.  The load lasts from a step to the next dr_device_pause(). */
typedef struct dr_device_load {
    double seconds; /* under load */
    double idle_s;  /* of these, how long the device did nothing */
} dr_device_load;
dr_device_load dr_device_load_of(dr_device *device);

/* The load ends here: until the next step nobody waits for the device. */
void dr_device_pause(dr_device *device);

#ifdef __cplusplus
}
#endif

#endif

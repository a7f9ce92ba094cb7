#include "ops/device.h"

#include "ops/backend.h"
#include "ops/lanes.h"
#include "ops/meter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "cuda:3" */
static bool parse_cuda(const char *name, int *ordinal)
{
    char *end;

    if (strncmp(name, "cuda:", 5) || name[5] < '0' || name[5] > '9')
        return false;
    const long number = strtol(name + 5, &end, 10);
    *ordinal = (int)number;
    return !*end && number < DR_CUDA_DEVICES_MAX;
}

static void say_why(dr_device *device, const char *who, const char *why)
{
    snprintf(device->why, sizeof(device->why), "%s%s", who, why);
}

/* Opens a CUDA device if one can be used.  Else it opens the CPU, whose device says why. */
static dr_status open_auto(dr_device **out, const dr_device_options *options, dr_error *err)
{
    dr_error cuda;
    dr_status rc = dr_cuda_device_open(out, options, DR_CUDA_ANY, &cuda);

    if (!rc) {
        say_why(*out, "auto: ", "the first that can be used");
        return DR_OK;
    }
    rc = dr_cpu_device_open(out, options, err);
    if (!rc)
        say_why(*out, "auto: ", cuda.text);
    return rc;
}

static dr_status open_named(dr_device **out, const dr_device_options *options, dr_error *err)
{
    const char *name = options->name ? options->name : "auto";
    dr_status rc;
    int ordinal;

    *out = NULL;
    if (!strcmp(name, "auto"))
        return open_auto(out, options, err);
    if (!strcmp(name, "cpu"))
        rc = dr_cpu_device_open(out, options, err);
    else if (parse_cuda(name, &ordinal))
        rc = dr_cuda_device_open(out, options, ordinal, err);
    else
        rc = dr_fail(err, DR_EINVAL,
                     "no device '%s'; there are: auto, cpu, cuda:NUMBER; in the worker also null", name);
    if (!rc)
        say_why(*out, "", "asked for");
    return rc;
}

dr_status dr_device_open(dr_device **out, const dr_device_options *options, dr_error *err)
{
    dr_device_options asked = *options;
    dr_status rc;

    if (asked.isa && !*asked.isa)
        asked.isa = NULL;
    rc = open_named(out, &asked, err);
    if (!rc)
        rc = dr_meter_create(&(*out)->meter, *out, err);
    if (rc) {
        dr_device_close(*out);
        *out = NULL;
    }
    return rc;
}

void dr_device_close(dr_device *device)
{
    if (!device)
        return;
    dr_assert(!device->is_recording);
    dr_meter_free(device->meter);
    device->backend->close(device);
}

dr_device_load dr_device_load_of(dr_device *device)
{
    return dr_meter_read(device->meter);
}

void dr_device_pause(dr_device *device)
{
    dr_meter_pause(device->meter);
}

void dr_device_begin_pass(dr_device *device, dr_lane lane)
{
    dr_meter_begin(device->meter, lane);
}

void dr_device_end_pass(dr_device *device, dr_lane lane)
{
    dr_meter_end(device->meter, lane);
}

const char *dr_device_name(const dr_device *device)
{
    return device->backend->name;
}

const char *dr_device_description(const dr_device *device)
{
    return device->description;
}

dr_dtype dr_device_activation_dtype(const dr_device *device)
{
    return device->activation_dtype;
}

const char *dr_device_arithmetic(const dr_device *device)
{
    return device->arithmetic;
}

const char *dr_device_why(const dr_device *device)
{
    return device->why;
}

const char *dr_device_note(dr_device *device)
{
    const bool noted = device->noted;

    device->noted = false;
    return noted ? device->note : NULL;
}

size_t dr_device_memory_left(const dr_device *device)
{
    return device->backend->memory_left ? device->backend->memory_left(device) : SIZE_MAX;
}

dr_status dr_device_alloc(void **out, dr_device *device, size_t bytes, dr_error *err)
{
    dr_assert(!device->is_recording);
    *out = NULL;
    return device->backend->alloc(out, device, bytes, err);
}

void dr_device_free(dr_device *device, void *memory)
{
    if (memory)
        device->backend->free(device, memory);
}

dr_status dr_device_upload(dr_device *device, void *to, const void *host, size_t bytes, dr_error *err)
{
    dr_assert(!device->is_recording);
    return device->backend->upload(device, to, host, bytes, err);
}

dr_status dr_device_download(dr_device *device, void *host, const void *from, size_t bytes, dr_error *err)
{
    dr_status rc;

    dr_assert(!device->is_recording);
    rc = dr_lanes_meet(device, err);
    return rc ? rc : device->backend->download(device, host, from, bytes, err);
}

dr_status dr_device_zero(dr_device *device, void *memory, size_t bytes, dr_error *err)
{
    return device->backend->zero(device, memory, bytes, err);
}

/* --- recordings ---------------------------------------------------------------------- */

bool dr_device_records(const dr_device *device)
{
    return device->backend->recording_begin != NULL;
}

dr_status dr_recording_begin(dr_device *device, dr_error *err)
{
    dr_status rc;

    dr_assert(dr_device_records(device) && !device->is_recording);
    rc = device->backend->recording_begin(device, err);
    device->is_recording = !rc;
    return rc;
}

dr_status dr_recording_end(dr_recording **out, dr_device *device, dr_error *err)
{
    dr_assert(device->is_recording);
    device->is_recording = false;
    *out = NULL;
    return device->backend->recording_end(out, device, err);
}

dr_status dr_recording_play(dr_recording *recording, dr_error *err)
{
    return recording->device->backend->recording_play(recording, err);
}

void dr_recording_free(dr_recording *recording)
{
    if (recording)
        recording->device->backend->recording_free(recording);
}

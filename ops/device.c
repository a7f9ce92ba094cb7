#include "ops/device.h"

#include "ops/backend.h"

#include <string.h>

dr_status dr_device_open(dr_device **out, const dr_device_options *options, dr_error *err)
{
    const char *name = options->name ? options->name : "auto";

    *out = NULL;
    if (!strcmp(name, "auto") || !strcmp(name, "cpu"))
        return dr_cpu_device_open(out, options, err);
    return dr_fail(err, DR_EINVAL, "no device '%s'; there are: auto, cpu", name);
}

void dr_device_close(dr_device *device)
{
    if (device)
        device->backend->close(device);
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
    return device->backend->activation_dtype;
}

void *dr_device_alloc(dr_device *device, size_t bytes, dr_error *err)
{
    return device->backend->alloc(device, bytes, err);
}

void dr_device_free(dr_device *device, void *memory)
{
    if (memory)
        device->backend->free(device, memory);
}

dr_status dr_device_upload(dr_device *device, void *to, const void *host, size_t bytes, dr_error *err)
{
    return device->backend->upload(device, to, host, bytes, err);
}

dr_status dr_device_download(dr_device *device, void *host, const void *from, size_t bytes, dr_error *err)
{
    return device->backend->download(device, host, from, bytes, err);
}

dr_status dr_device_zero(dr_device *device, void *memory, size_t bytes, dr_error *err)
{
    return device->backend->zero(device, memory, bytes, err);
}

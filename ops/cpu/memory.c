/* memory.c - the host's memory, which is the CPU device's. */
#include "ops/cpu/cpu.h"

#include <stdlib.h>
#include <string.h>

void *cpu_memory(size_t bytes)
{
    const size_t size = (bytes + DR_ARENA_ALIGN - 1) / DR_ARENA_ALIGN * DR_ARENA_ALIGN;

    return size >= bytes ? aligned_alloc(DR_ARENA_ALIGN, size ? size : DR_ARENA_ALIGN) : NULL;
}

dr_status cpu_alloc(void **out, dr_device *device, size_t bytes, dr_error *err)
{
    (void)device;
    *out = cpu_memory(bytes);
    return *out ? DR_OK : dr_fail(err, DR_ENOMEM, "no %zu bytes of memory", bytes);
}

void cpu_free(dr_device *device, void *memory)
{
    (void)device;
    free(memory);
}

dr_status cpu_upload(dr_device *device, void *to, const void *host, size_t bytes, dr_error *err)
{
    (void)device, (void)err;
    memcpy(to, host, bytes);
    return DR_OK;
}

dr_status cpu_download(dr_device *device, void *host, const void *from, size_t bytes, dr_error *err)
{
    (void)device, (void)err;
    memcpy(host, from, bytes);
    return DR_OK;
}

dr_status cpu_zero(dr_device *device, void *memory, size_t bytes, dr_error *err)
{
    (void)device, (void)err;
    memset(memory, 0, bytes);
    return DR_OK;
}

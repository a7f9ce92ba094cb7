/* machine.c - a real GPU. */
#include "tests/gpu/machine.h"

#include "ops/device.h"

#include <cuda_runtime_api.h>
#include <stdio.h>
#include <stdlib.h>

/* compute-sanitizer looks for leaks where the device's context ends, and the runtime ends it only when
 * told. */
static void end_context(void)
{
    cudaDeviceReset();
}

int machine_begin(void)
{
    dr_device *device;
    dr_error err;

    if (dr_device_open(&device, &(dr_device_options){ .name = "cuda:0", .unchecked = true }, &err)) {
        printf("no GPU: %s\n", err.text);
        return MACHINE_ABSENT;
    }
    printf("%s\n", dr_device_description(device));
    dr_device_close(device);
    return atexit(end_context);
}

bool machine_has_time(void)
{
    return !getenv("GPU_TESTS_SHORT");
}

int machine_graphs_launched(void)
{
    return -1;
}

size_t machine_free_bytes(void)
{
    size_t free_bytes = 0, total;

    cudaDeviceSynchronize();
    cudaMemGetInfo(&free_bytes, &total);
    return free_bytes;
}

void machine_assert_clean(void)
{
    /* A driver does not tell which memory is ours.  compute-sanitizer tells it at the end
     * (tests/gpu/run.sh). */
}

/* h200.h - asks the real cuDNN for an H200 that this machine does not have.  Since version 9.8 the library
 * accepts a device's properties in place of the device, answers its heuristic, and makes plans.  Programs
 * that include this are linked with a made-up driver (driver.c), so that the answers include kernels that are
 * compiled when a plan is made, as on a real machine. */
#ifndef DR_TESTS_CUDA_H200_H
#define DR_TESTS_CUDA_H200_H

#include "ops/cuda/dnn_descriptor.h"
#include "tests/support/support.h"

#include <string.h>

/* The properties in the form of CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION of version 9.19.  The names are
 * those that cuDNN asks for.  The values are those of an H200 by its documentation and CUDA's ("Technical
 * Specifications per Compute Capability"). */
static const char H200[] =
    "{\"maxGridSize\":[2147483647,65535,65535],\"maxBlockSize\":[1024,1024,64],"
    "\"regsPerBlock\":65536,\"multiProcessorCount\":132,\"warpSize\":32,"
    "\"maxSharedMemoryPerBlock\":49152,\"maxSharedMemoryPerBlockOptin\":232448,"
    "\"reservedSharedMemoryPerBlock\":1024,\"maxRegistersPerSM\":65536,"
    "\"maxCtasPerSM\":32,\"maxThreadsPerBlock\":1024,\"maxThreadsPerSM\":2048,"
    "\"pciDeviceId\":0,\"isTccDriver\":0,\"supportCoopLaunch\":1,"
    "\"totalGlobalMem\":150109880320,\"smClockRateKHz\":1980000,"
    "\"memClockRateKHz\":3201000,\"l2CacheSize\":62914560,\"cudaDeviceId\":0,"
    "\"deviceVer\":900,\"driverVer\":13000,\"deviceName\":\"NVIDIA H200\"}";

/* Without a device the library leaks some of its engines' memory.  The made-up cuDNN counts whether ours is
 * freed (tests/cuda/fake/dnn_conv_test.c). */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}

static cuda_dnn dnn;
static cuda_dnn_place h200 = { .dnn = &dnn };

static void check(cudnnStatus_t code)
{
    char why[200] = "";

    if (code == CUDNN_STATUS_SUCCESS)
        return;
    dnn.cudnnGetLastErrorString(why, sizeof(why));
    fail_msg("%s: %s", dnn.cudnnGetErrorString(code), why);
}

static int open_library(void **state)
{
    dr_error err;
    (void)state;

    if (cuda_dnn_open(&dnn, NULL, &err) || cuda_nvrtc_open(NULL, &err))
        fail_msg("%s", err.text);
    check(dnn.cudnnBackendCreateDescriptor(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, &h200.properties));
    check(dnn.cudnnBackendSetAttribute(h200.properties, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION,
                                       CUDNN_TYPE_CHAR, (int64_t)strlen(H200), H200));
    check(dnn.cudnnBackendFinalize(h200.properties));
    return 0;
}

static int close_library(void **state)
{
    (void)state;
    check(dnn.cudnnBackendDestroyDescriptor(h200.properties));
    return 0;
}

#endif

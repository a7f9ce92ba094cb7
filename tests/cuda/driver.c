/* driver.c - a libcuda.so.1 for machines that have none: a driver without a device.
 *
 * cuDNN offers kernels that are compiled when a plan is made only where it finds a driver.  Compiling needs
 * no driver: NVRTC compiles the code, and cuDNN loads it at the first run.  So this library has the functions
 * that cuDNN looks for; it calls only those that ask what the device is.  It is a shared library with the
 * driver's name, and a test's program is linked with it. cuDNN looks for the driver by that name, and finds
 * the library that is already loaded. */
#include <cuda.h>

#include <stdlib.h>

void never_called(void);
void never_called(void)
{
    abort();
}

#define NEVER_CALLED(name) \
    __asm__(".globl " #name "\n.type " #name ", @function\n.set " #name ", never_called");
NEVER_CALLED(cuCtxGetCurrent)
NEVER_CALLED(cuCtxGetDevice)
NEVER_CALLED(cuCtxGetLimit)
NEVER_CALLED(cuCtxPopCurrent)
NEVER_CALLED(cuCtxPushCurrent)
NEVER_CALLED(cuDeviceGet)
NEVER_CALLED(cuDeviceGetAttribute)
NEVER_CALLED(cuDevicePrimaryCtxRelease)
NEVER_CALLED(cuDevicePrimaryCtxReset)
NEVER_CALLED(cuDevicePrimaryCtxRetain)
NEVER_CALLED(cuFuncGetAttribute)
NEVER_CALLED(cuFuncSetAttribute)
NEVER_CALLED(cuKernelGetAttribute)
NEVER_CALLED(cuKernelSetAttribute)
NEVER_CALLED(cuLaunchCooperativeKernel)
NEVER_CALLED(cuLaunchKernel)
NEVER_CALLED(cuLaunchKernelEx)
NEVER_CALLED(cuLibraryGetKernel)
NEVER_CALLED(cuLibraryLoadData)
NEVER_CALLED(cuLibraryLoadFromFile)
NEVER_CALLED(cuLibraryUnload)
NEVER_CALLED(cuLinkAddData)
NEVER_CALLED(cuLinkAddData_v2)
NEVER_CALLED(cuLinkAddFile_v2)
NEVER_CALLED(cuLinkComplete)
NEVER_CALLED(cuLinkCreate)
NEVER_CALLED(cuLinkCreate_v2)
NEVER_CALLED(cuLinkDestroy)
NEVER_CALLED(cuMemcpyDtoH_v2)
NEVER_CALLED(cuModuleGetFunction)
NEVER_CALLED(cuModuleGetGlobal_v2)
NEVER_CALLED(cuModuleLoadData)
NEVER_CALLED(cuModuleLoadDataEx)
NEVER_CALLED(cuModuleLoadFatBinary)
NEVER_CALLED(cuModuleUnload)
NEVER_CALLED(cuOccupancyMaxActiveBlocksPerMultiprocessor)
NEVER_CALLED(cuOccupancyMaxPotentialClusterSize)
NEVER_CALLED(cuStreamGetCtx)
NEVER_CALLED(cuStreamSynchronize)
NEVER_CALLED(cuTensorMapEncodeTiled)

CUresult cuInit(unsigned flags)
{
    (void)flags;
    return CUDA_ERROR_NO_DEVICE;
}

CUresult cuDriverGetVersion(int *version)
{
    *version = CUDA_VERSION;
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetCount(int *count)
{
    *count = 0;
    return CUDA_SUCCESS;
}

CUresult cuGetErrorName(CUresult code, const char **name)
{
    (void)code;
    *name = "CUDA_ERROR_OF_A_DRIVER_THAT_IS_MADE_UP";
    return CUDA_SUCCESS;
}

CUresult cuGetErrorString(CUresult code, const char **text)
{
    return cuGetErrorName(code, text);
}

/* The runtime that is linked into cuDNN asks for all functions of the driver.  It works without the functions
 * that are missing. */
CUresult cuGetProcAddress_v2(const char *name, void **function, int version, cuuint64_t flags,
                             CUdriverProcAddressQueryResult *found)
{
    (void)name, (void)version, (void)flags;
    *function = NULL;
    if (found)
        *found = CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
    return CUDA_ERROR_NOT_FOUND;
}

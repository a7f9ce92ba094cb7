#include "tests/cuda/fake/runtime.h"

#include "base/error.h"
#include "tests/cuda/shim/run.h"

#include <stdlib.h>
#include <string.h>

fake_machine fake_cuda;
static cudaError_t last_error;

void fake_cuda_reset(void)
{
    fake_cuda_forget();
    fake_cuda = (fake_machine){ .devices = 2,
                                .driver = 13000,
                                .major = 9,
                                .free_bytes = (size_t)8 << 30,
                                .total_bytes = (size_t)16 << 30,
                                .kernels_offered = 1,
                                .dnn_kernels_offered = 1,
                                .dnn_version = 91900 };
    last_error = cudaSuccess;
    fake_cuda_seed(1);
}

/* --- failing ------------------------------------------------------------------------ */

cudaError_t fake_cuda_answer(cudaError_t code)
{
    if (code != cudaSuccess)
        last_error = code;
    return code;
}

/* After a kernel that went wrong, every call fails. */
cudaError_t fake_cuda_call(void)
{
    const int call = ++fake_cuda.calls;
    const bool fails = fake_cuda.fail_call &&
                       (call == fake_cuda.fail_call || (fake_cuda.sticky && call > fake_cuda.fail_call));

    if (shim_error())
        return fake_cuda_answer(cudaErrorLaunchFailure);
    return fake_cuda_answer(fails ? fake_cuda.error : cudaSuccess);
}

cudaError_t cudaGetLastError(void)
{
    const cudaError_t code = last_error;

    last_error = cudaSuccess;
    return code;
}

cudaError_t cudaPeekAtLastError(void)
{
    return last_error;
}

static const struct {
    cudaError_t code;
    const char *name, *text;
} errors[] = {
    { cudaErrorIllegalAddress, "cudaErrorIllegalAddress", "an illegal memory access was encountered" },
    { cudaErrorLaunchFailure, "cudaErrorLaunchFailure", "a kernel went wrong" },
    { cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported",
      "operation not permitted when stream is capturing" },
    { cudaErrorStreamCaptureIsolation, "cudaErrorStreamCaptureIsolation",
      "dependency created on uncaptured work in another stream" },
    { cudaErrorCapturedEvent, "cudaErrorCapturedEvent",
      "operation not permitted on an event last recorded in a capturing stream" },
    { cudaErrorStreamCaptureInvalidated, "cudaErrorStreamCaptureInvalidated",
      "operation failed due to a previous error during capture" },
};

const char *cudaGetErrorName(cudaError_t code)
{
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
        if (errors[i].code == code)
            return errors[i].name;
    return "cudaErrorOfAKind";
}

const char *cudaGetErrorString(cudaError_t code)
{
    if (code == cudaErrorLaunchFailure && shim_error())
        return shim_error();
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
        if (errors[i].code == code)
            return errors[i].text;
    return "something failed";
}

/* --- the machine --------------------------------------------------------------------- */

cudaError_t cudaGetDeviceCount(int *count)
{
    *count = fake_cuda.count_error ? 0 : fake_cuda.devices;
    return fake_cuda_answer(fake_cuda.count_error);
}

cudaError_t cudaDriverGetVersion(int *version)
{
    *version = fake_cuda.driver;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *p, int device)
{
    dr_assert(device >= 0 && device < fake_cuda.devices);
    memset(p, 0, sizeof(*p));
    strcpy(p->name, "NVIDIA Pretend");
    p->major = fake_cuda.major;
    p->minor = fake_cuda.minor;
    p->totalGlobalMem = fake_cuda.total_bytes;
    return fake_cuda_call();
}

cudaError_t cudaInitDevice(int device, unsigned device_flags, unsigned flags)
{
    (void)device, (void)device_flags, (void)flags;
    return fake_cuda.init_error ? fake_cuda_answer(fake_cuda.init_error) : fake_cuda_call();
}

cudaError_t cudaSetDevice(int device)
{
    (void)device;
    return fake_cuda_call();
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total)
{
    *free_bytes = fake_cuda.free_bytes;
    *total = fake_cuda.total_bytes;
    return fake_cuda_call();
}

/* --- memory --------------------------------------------------------------------------- */

enum { ALIGNMENT = 256, POISONED_BYTES_MAX = 4 << 20 };

/* A header before each block, so that freeing the block can give back its bytes. */
typedef union header {
    struct {
        size_t bytes;
        union header *next; /* of those on the device */
    };
    char padding[ALIGNMENT];
} header;

static header *blocks;

/* Takes exactly the bytes that were asked for, so that AddressSanitizer sees the end of the block. */
static cudaError_t take(void **memory, size_t bytes, int *count)
{
    const cudaError_t code = fake_cuda_call_outside_capture();

    header *block;

    *memory = NULL;
    if (code)
        return code;
    dr_assert(posix_memalign((void **)&block, ALIGNMENT, sizeof(*block) + bytes) == 0);
    block->bytes = bytes;
    *memory = block + 1;
    memset(*memory, 0xff, bytes < POISONED_BYTES_MAX ? bytes : POISONED_BYTES_MAX);
    ++*count;
    return cudaSuccess;
}

static size_t give_back(void *memory, int *count)
{
    header *block = (header *)memory - 1;
    const size_t bytes = block->bytes;

    free(block);
    --*count;
    return bytes;
}

cudaError_t cudaMalloc(void **memory, size_t bytes)
{
    cudaError_t code;

    *memory = NULL;
    if (bytes > fake_cuda.free_bytes)
        return fake_cuda_answer(cudaErrorMemoryAllocation);
    code = take(memory, bytes, &fake_cuda.blocks);
    if (code)
        return code;
    fake_cuda.free_bytes -= bytes;
    ((header *)*memory - 1)->next = blocks;
    blocks = (header *)*memory - 1;
    return cudaSuccess;
}

static void leave_list(const header *block)
{
    header **at = &blocks;

    while (*at != block)
        at = &(*at)->next;
    *at = block->next;
}

void fake_cuda_each_block(void (*see)(char *memory, size_t bytes, void *arg), void *arg)
{
    for (header *b = blocks; b; b = b->next)
        see((char *)(b + 1), b->bytes, arg);
}

cudaError_t cudaHostAlloc(void **memory, size_t bytes, unsigned flags)
{
    (void)flags;
    return take(memory, bytes, &fake_cuda.pinned);
}

/* The memory is freed even if the call fails, because the tests count whether cudaFree() was called. */
cudaError_t cudaFree(void *memory)
{
    fake_cuda_wait();
    leave_list((header *)memory - 1);
    fake_cuda.free_bytes += give_back(memory, &fake_cuda.blocks);
    return fake_cuda_call_outside_capture();
}

cudaError_t cudaFreeHost(void *memory)
{
    give_back(memory, &fake_cuda.pinned);
    return fake_cuda_call_outside_capture();
}

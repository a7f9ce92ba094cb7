#include "tests/cuda/fake/runtime.h"

#include "base/error.h"

#include <stdlib.h>
#include <string.h>

enum { QUEUE_MAX = 64 };

/* Work that waits: a copy, or the mark that an event left. */
typedef struct work {
    void *to;
    const void *from; /* NULL: zeros */
    size_t bytes;
    cudaEvent_t event; /* not NULL: a mark */
} work;

fake_machine fake_cuda;
static work queue[QUEUE_MAX];
static int queued;
static cudaError_t last_error;

void fake_cuda_reset(void)
{
    fake_cuda = (fake_machine){ .devices = 2,
                                .driver = 13000,
                                .major = 9,
                                .free_bytes = (size_t)8 << 30,
                                .total_bytes = (size_t)16 << 30 };
    queued = 0;
    last_error = cudaSuccess;
}

/* --- failing ------------------------------------------------------------------------ */

static cudaError_t answer(cudaError_t code)
{
    if (code != cudaSuccess)
        last_error = code;
    return code;
}

/* Of a call that can be made to fail. */
static cudaError_t fate(void)
{
    const int call = ++fake_cuda.calls;
    const bool fails = fake_cuda.fail_call &&
                       (call == fake_cuda.fail_call || (fake_cuda.sticky && call > fake_cuda.fail_call));

    return answer(fails ? fake_cuda.error : cudaSuccess);
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

const char *cudaGetErrorName(cudaError_t code)
{
    return code == cudaErrorIllegalAddress ? "cudaErrorIllegalAddress" : "cudaErrorOfAKind";
}

const char *cudaGetErrorString(cudaError_t code)
{
    return code == cudaErrorIllegalAddress ? "an illegal memory access was encountered" : "something failed";
}

/* --- the machine --------------------------------------------------------------------- */

cudaError_t cudaGetDeviceCount(int *count)
{
    *count = fake_cuda.count_error ? 0 : fake_cuda.devices;
    return answer(fake_cuda.count_error);
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
    return fate();
}

cudaError_t cudaInitDevice(int device, unsigned device_flags, unsigned flags)
{
    (void)device, (void)device_flags, (void)flags;
    return fake_cuda.init_error ? answer(fake_cuda.init_error) : fate();
}

cudaError_t cudaSetDevice(int device)
{
    (void)device;
    return fate();
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total)
{
    *free_bytes = fake_cuda.free_bytes;
    *total = fake_cuda.total_bytes;
    return fate();
}

/* --- memory --------------------------------------------------------------------------- */

static cudaError_t take(void **memory, size_t bytes, int *count)
{
    cudaError_t code = fate();

    *memory = code ? NULL : malloc(bytes);
    dr_assert(code || *memory);
    *count += *memory != NULL;
    return code;
}

cudaError_t cudaMalloc(void **memory, size_t bytes)
{
    return take(memory, bytes, &fake_cuda.blocks);
}

cudaError_t cudaHostAlloc(void **memory, size_t bytes, unsigned flags)
{
    (void)flags;
    return take(memory, bytes, &fake_cuda.pinned);
}

static void do_work(int count)
{
    for (int i = 0; i < count; i++) {
        const work *w = &queue[i];
        if (w->from)
            memcpy(w->to, w->from, w->bytes);
        else if (w->to)
            memset(w->to, 0, w->bytes);
    }
    queued -= count;
    memmove(queue, queue + count, (size_t)queued * sizeof(queue[0]));
    fake_cuda.copies_waiting = queued;
}

/* The memory comes back even where the call fails: what is counted is that it was called. */
cudaError_t cudaFree(void *memory)
{
    do_work(queued);
    free(memory);
    fake_cuda.blocks--;
    return fate();
}

cudaError_t cudaFreeHost(void *memory)
{
    free(memory);
    fake_cuda.pinned--;
    return fate();
}

/* --- streams and events ----------------------------------------------------------------- */

/* Streams and events are opaque: any address will do. */
static void *handle(int *count)
{
    void *memory = malloc(1);

    dr_assert(memory);
    ++*count;
    return memory;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags)
{
    const cudaError_t code = fate();

    (void)flags;
    *stream = code ? NULL : handle(&fake_cuda.streams);
    return code;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    free(stream);
    fake_cuda.streams--;
    return fate();
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    (void)stream;
    do_work(queued);
    return fate();
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags)
{
    const cudaError_t code = fate();

    (void)flags;
    *event = code ? NULL : handle(&fake_cuda.events);
    return code;
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    free(event);
    fake_cuda.events--;
    return fate();
}

static cudaError_t enqueue(work w)
{
    const cudaError_t code = fate();

    if (code)
        return code;
    dr_assert(queued < QUEUE_MAX);
    queue[queued++] = w;
    fake_cuda.copies_waiting = queued;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    (void)stream;
    return enqueue((work){ .event = event });
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    int last = queued;

    while (last > 0 && queue[last - 1].event != event) /* where it was recorded last */
        last--;
    do_work(last);
    return fate();
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind,
                            cudaStream_t stream)
{
    (void)kind, (void)stream;
    return enqueue((work){ .to = to, .from = from, .bytes = bytes });
}

cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream)
{
    (void)stream;
    dr_assert(value == 0);
    return enqueue((work){ .to = to, .bytes = bytes });
}

/* --- graphs ----------------------------------------------------------------------------- */

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode)
{
    (void)stream, (void)mode;
    return fate();
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph)
{
    const cudaError_t code = fate();

    (void)stream;
    *graph = code ? NULL : handle(&fake_cuda.graphs);
    return code;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    free(graph);
    fake_cuda.graphs--;
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long flags)
{
    const cudaError_t code = fate();

    (void)graph, (void)flags;
    *exec = code ? NULL : handle(&fake_cuda.graphs);
    return code;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
    free(exec);
    fake_cuda.graphs--;
    return fate();
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream)
{
    (void)exec, (void)stream;
    fake_cuda.launches++;
    return fate();
}

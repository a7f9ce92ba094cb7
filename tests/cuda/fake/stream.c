/* stream.c - one stream in order, its events, and graphs of what was captured instead of run.  (A program that uses more
 * streams than one has them run one after the other.) */
#include "tests/cuda/fake/runtime.h"

#include "base/error.h"
#include "tests/cuda_shim_run.h"

#include <stdlib.h>
#include <string.h>

/* Work that waits, or the mark that an event left. */
typedef struct work {
    struct work *next;
    cudaEvent_t event; /* not NULL: a mark */
    void (*run)(const void *args);
    size_t bytes;
    max_align_t args[];
} work;

typedef struct work_list {
    work *first, *last;
} work_list;

static work_list queue;
static struct {
    bool on, spoilt;
    work_list list;
} capture;

/* --- lists ------------------------------------------------------------------------------ */

static void append(work_list *list, cudaEvent_t event, void (*run)(const void *args), const void *args,
                   size_t bytes)
{
    work *w = malloc(sizeof(*w) + bytes);

    dr_assert(w);
    *w = (work){ .event = event, .run = run, .bytes = bytes };
    if (bytes)
        memcpy(w->args, args, bytes);
    if (list->first)
        list->last->next = w;
    else
        list->first = w;
    list->last = w;
}

static work *take_first(work_list *list)
{
    work *w = list->first;

    list->first = w->next;
    return w;
}

static void empty(work_list *list)
{
    while (list->first)
        free(take_first(list));
}

/* --- running ------------------------------------------------------------------------------ */

/* After a kernel that went wrong nothing runs. */
static void run_first(void)
{
    work *w = take_first(&queue);

    if (w->run && !shim_error())
        w->run(w->args);
    if (w->event)
        *(double *)w->event = fake_cuda.clock_ms;
    free(w);
    fake_cuda.waiting--;
}

void fake_cuda_wait(void)
{
    while (queue.first)
        run_first();
}

/* To where the event was recorded last. */
static void wait_for(cudaEvent_t event)
{
    int count = 0, last = 0;

    for (const work *w = queue.first; w; w = w->next) {
        count++;
        if (w->event == event)
            last = count;
    }
    while (last-- > 0)
        run_first();
}

void fake_cuda_forget(void)
{
    empty(&queue);
    empty(&capture.list);
    capture.on = capture.spoilt = false;
    fake_cuda.waiting = 0;
}

/* --- putting on the stream ------------------------------------------------------------------ */

cudaError_t fake_cuda_call_outside_capture(void)
{
    const cudaError_t code = fake_cuda_call();

    if (code || !capture.on)
        return code;
    capture.spoilt = true;
    return fake_cuda_answer(cudaErrorStreamCaptureUnsupported);
}

static cudaError_t enqueue(cudaEvent_t event, void (*run)(const void *args), const void *args, size_t bytes)
{
    const cudaError_t code = fake_cuda_call();

    if (code)
        return code;
    if (capture.spoilt)
        return fake_cuda_answer(cudaErrorStreamCaptureInvalidated);
    append(capture.on ? &capture.list : &queue, event, run, args, bytes);
    fake_cuda.waiting += !capture.on;
    return cudaSuccess;
}

cudaError_t fake_cuda_enqueue(void (*run)(const void *args), const void *args, size_t bytes)
{
    return enqueue(NULL, run, args, bytes);
}

/* --- copies ------------------------------------------------------------------------------------ */

typedef struct copy_args {
    void *to;
    const void *from; /* NULL: zeros */
    size_t bytes;
} copy_args;

static void run_copy(const void *args)
{
    const copy_args *a = args;

    if (a->from)
        memcpy(a->to, a->from, a->bytes);
    else
        memset(a->to, 0, a->bytes);
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind,
                            cudaStream_t stream)
{
    const copy_args a = { to, from, bytes };

    (void)kind, (void)stream;
    return fake_cuda_enqueue(run_copy, &a, sizeof(a));
}

cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream)
{
    const copy_args a = { to, NULL, bytes };

    (void)stream;
    dr_assert(value == 0);
    return fake_cuda_enqueue(run_copy, &a, sizeof(a));
}

/* --- kernels ------------------------------------------------------------------------------------ */

/* A launch, with the bytes of its arguments behind it. */
typedef struct kernel_args {
    shim_grid grid;
    max_align_t args[];
} kernel_args;

static void run_kernel(const void *args)
{
    const kernel_args *k = args;
    shim_grid grid = k->grid;

    grid.args = k->args;
    shim_run_grid(&grid);
    fake_cuda.kernels++;
}

static void launch_kernel(void *stream, const shim_grid *grid)
{
    const size_t bytes = sizeof(kernel_args) + grid->args_bytes;
    kernel_args *k = malloc(bytes);

    (void)stream;
    dr_assert(k);
    k->grid = *grid;
    memcpy(k->args, grid->args, grid->args_bytes);
    fake_cuda_enqueue(run_kernel, k, bytes); /* the caller reads what became of it from the last error */
    free(k);
}

/* --- streams and events ------------------------------------------------------------------------- */

void *fake_cuda_handle(int *count)
{
    void *memory = calloc(1, sizeof(double));

    dr_assert(memory);
    ++*count;
    return memory;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags)
{
    const cudaError_t code = fake_cuda_call();

    (void)flags;
    shim_stream = launch_kernel;
    *stream = code ? NULL : fake_cuda_handle(&fake_cuda.streams);
    return code;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    free(stream);
    fake_cuda.streams--;
    return fake_cuda_call();
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    const cudaError_t code = fake_cuda_call_outside_capture();

    (void)stream;
    fake_cuda_wait();
    return code ? code : fake_cuda_answer(shim_error() ? cudaErrorLaunchFailure : cudaSuccess);
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags)
{
    const cudaError_t code = fake_cuda_call();

    (void)flags;
    *event = code ? NULL : fake_cuda_handle(&fake_cuda.events);
    return code;
}

/* An event is the time at which it was reached. */
cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t begin, cudaEvent_t end)
{
    *ms = (float)(*(double *)end - *(double *)begin);
    return fake_cuda_call();
}

/* At once, even where the stream has yet to come to it. */
cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    for (work *w = queue.first; w; w = w->next)
        if (w->event == event)
            w->event = NULL;
    free(event);
    fake_cuda.events--;
    return fake_cuda_call();
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    (void)stream;
    return enqueue(event, NULL, NULL, 0);
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    const cudaError_t code = fake_cuda_call_outside_capture();

    wait_for(event);
    return code ? code : fake_cuda_answer(shim_error() ? cudaErrorLaunchFailure : cudaSuccess);
}

/* --- graphs ----------------------------------------------------------------------------- */

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode)
{
    const cudaError_t code = fake_cuda_call_outside_capture();

    (void)stream, (void)mode;
    capture.on |= !code;
    return code;
}

static work_list *new_graph(void)
{
    work_list *list = calloc(1, sizeof(*list));

    dr_assert(list);
    fake_cuda.graphs++;
    return list;
}

static void end_graph(void *graph)
{
    empty(graph);
    free(graph);
    fake_cuda.graphs--;
}

/* What was captured is taken from the stream even where the call fails: it would be in the next graph. */
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph)
{
    const cudaError_t code = fake_cuda_call();
    const bool spoilt = capture.spoilt;

    (void)stream;
    dr_assert(capture.on);
    capture.on = capture.spoilt = false;
    *graph = NULL;
    if (code || spoilt) {
        empty(&capture.list);
        return code ? code : fake_cuda_answer(cudaErrorStreamCaptureInvalidated);
    }
    *graph = (cudaGraph_t)new_graph();
    *(work_list *)*graph = capture.list;
    capture.list = (work_list){ 0 };
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    end_graph(graph);
    return cudaSuccess;
}

static void append_all(work_list *list, const work_list *more)
{
    for (const work *w = more->first; w; w = w->next)
        append(list, w->event, w->run, w->args, w->bytes);
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long flags)
{
    const cudaError_t code = fake_cuda_call();

    (void)flags;
    *exec = NULL;
    if (code)
        return code;
    *exec = (cudaGraphExec_t)new_graph();
    append_all((work_list *)*exec, (const work_list *)graph);
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
    end_graph(exec);
    return fake_cuda_call();
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream)
{
    const cudaError_t code = fake_cuda_call_outside_capture();

    (void)stream;
    if (code)
        return code;
    for (const work *w = ((const work_list *)exec)->first; w; w = w->next)
        fake_cuda.waiting++;
    append_all(&queue, (const work_list *)exec);
    fake_cuda.launches++;
    return cudaSuccess;
}

/* stream.c - streams and their events.  Each stream keeps its order; between streams any order is
 * possible. */
#include "tests/cuda/fake/stream.h"

#include "base/error.h"
#include "tests/cuda/shim/run.h"

#include <stdlib.h>
#include <string.h>

enum { FAKE_PRIORITY_GREATEST = -5 }; /* the smaller number, as CUDA has it */

static fake_stream *streams; /* all that there are */
static fake_stream *favourite;
static uint64_t random_state, orders;

/* --- lists ------------------------------------------------------------------------------ */

static fake_event *use(fake_event *event)
{
    if (event)
        event->users++;
    return event;
}

static void leave(fake_event *event)
{
    if (event && --event->users == 0)
        free(event);
}

void fake_list_append(fake_list *list, const fake_work *work, const void *args)
{
    fake_work *w = malloc(sizeof(*w) + work->bytes);

    dr_assert(w);
    *w = *work;
    w->next = NULL;
    w->order = orders++;
    use(w->mark);
    use(w->wait);
    if (w->bytes)
        memcpy(w->args, args, w->bytes);
    if (list->first)
        list->last->next = w;
    else
        list->first = w;
    list->last = w;
}

static fake_work *take_first(fake_list *list)
{
    fake_work *w = list->first;

    list->first = w->next;
    return w;
}

static void end_work(fake_work *w)
{
    leave(w->mark);
    leave(w->wait);
    free(w);
}

void fake_list_empty(fake_list *list)
{
    while (list->first)
        end_work(take_first(list));
}

/* --- whose turn it is ------------------------------------------------------------------- */

void fake_cuda_seed(uint64_t seed)
{
    shim_seed(seed);
    random_state = seed;
    favourite = NULL;
}

static unsigned draw(unsigned below) /* Knuth's MMIX, upper half */
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(random_state >> 33) % below;
}

static bool can_go_on(const fake_stream *s)
{
    const fake_work *w = s->list.first;

    return w && (!w->wait || w->wait->reached >= w->number);
}

static fake_stream *drawn_stream(void)
{
    fake_stream *chosen = NULL;
    unsigned count = 0;

    for (fake_stream *s = streams; s; s = s->next)
        if (can_go_on(s) && draw(++count) == 0)
            chosen = s;
    return chosen;
}

static fake_stream *oldest_stream(void)
{
    fake_stream *oldest = NULL;

    for (fake_stream *s = streams; s; s = s->next)
        if (can_go_on(s) && (!oldest || s->list.first->order < oldest->list.first->order))
            oldest = s;
    return oldest;
}

/* For a while one stream runs as far as it can, so that it gets far ahead of the others.  For a while the
 * streams take turns. */
static fake_stream *next_stream(void)
{
    enum { STRETCH = 64 }; /* works, on average */

    if (fake_cuda.in_turn)
        return oldest_stream();
    if (draw(STRETCH) == 0)
        favourite = draw(4) ? drawn_stream() : NULL;
    return favourite && can_go_on(favourite) ? favourite : drawn_stream();
}

/* --- running ------------------------------------------------------------------------------ */

/* After a kernel that went wrong nothing runs. */
static void run_one(void)
{
    fake_stream *s = next_stream();
    fake_work *w;

    dr_assert(s); /* else every stream waits for another */
    w = take_first(&s->list);
    if (w->run && !shim_error())
        w->run(w->args);
    if (w->mark) {
        w->mark->reached = w->number;
        w->mark->ms = fake_cuda.clock_ms;
    }
    end_work(w);
    fake_cuda.waiting--;
}

void fake_cuda_wait(void)
{
    while (fake_cuda.waiting > 0)
        run_one();
}

void fake_cuda_forget(void)
{
    for (fake_stream *s = streams; s; s = s->next)
        fake_list_empty(&s->list);
    fake_list_empty(&fake_captured.list);
    fake_captured.stream = NULL;
    fake_captured.spoilt = false;
    fake_cuda.waiting = 0;
}

/* --- putting on a stream -------------------------------------------------------------------- */

cudaError_t fake_cuda_call_outside_capture(void)
{
    const cudaError_t code = fake_cuda_call();

    if (code || !fake_captured.stream)
        return code;
    fake_captured.spoilt = true;
    return fake_cuda_answer(cudaErrorStreamCaptureUnsupported);
}

cudaError_t fake_cuda_call_relaxed(void)
{
    return fake_captured.relaxed ? fake_cuda_call() : fake_cuda_call_outside_capture();
}

static fake_stream *stream_of(cudaStream_t handle)
{
    for (fake_stream *s = streams; s; s = s->next)
        if (s == (fake_stream *)handle)
            return s;
    dr_assert(!"a stream that there is: the default one waits for all others");
    return NULL;
}

cudaError_t fake_stream_put(cudaStream_t stream, const fake_work *work, const void *args)
{
    fake_stream *s = stream_of(stream);
    const cudaError_t code = fake_cuda_call();

    if (code)
        return code;
    if (s == fake_captured.stream && fake_captured.spoilt)
        return fake_cuda_answer(cudaErrorStreamCaptureInvalidated);
    if (s == fake_captured.stream) {
        fake_list_append(&fake_captured.list, work, args);
        return cudaSuccess;
    }
    fake_list_append(&s->list, work, args);
    fake_cuda.waiting++;
    return cudaSuccess;
}

cudaError_t fake_cuda_enqueue(cudaStream_t stream, void (*run)(const void *args), const void *args,
                              size_t bytes)
{
    return fake_stream_put(stream, &(fake_work){ .run = run, .bytes = bytes }, args);
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

    (void)kind;
    return fake_cuda_enqueue(stream, run_copy, &a, sizeof(a));
}

cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream)
{
    const copy_args a = { to, NULL, bytes };

    dr_assert(value == 0);
    return fake_cuda_enqueue(stream, run_copy, &a, sizeof(a));
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
    if (fake_cuda.wrong_kernel && strstr(grid.kernel, fake_cuda.wrong_kernel))
        fake_cuda_run_wrongly(&grid);
    else
        shim_run_grid(&grid);
    fake_cuda.kernels++;
}

static void launch_kernel(void *stream, const shim_grid *grid)
{
    const size_t bytes = sizeof(kernel_args) + grid->args_bytes;
    kernel_args *k = malloc(bytes);

    dr_assert(k);
    k->grid = *grid;
    memcpy(k->args, grid->args, grid->args_bytes);
    fake_cuda_enqueue(stream, run_kernel, k, bytes); /* the caller reads the result from the last error */
    free(k);
}

/* --- streams ------------------------------------------------------------------------------------- */

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags)
{
    const cudaError_t code = fake_cuda_call();
    fake_stream *s;

    dr_assert(flags == cudaStreamNonBlocking);
    shim_stream = launch_kernel;
    *stream = NULL;
    if (code)
        return code;
    s = calloc(1, sizeof(*s));
    dr_assert(s);
    s->next = streams;
    streams = s;
    fake_cuda.streams++;
    *stream = (cudaStream_t)s;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest)
{
    *least = 0;
    *greatest = FAKE_PRIORITY_GREATEST;
    return fake_cuda_call();
}

/* The order between streams is still random, because a priority promises nothing. */
cudaError_t cudaStreamCreateWithPriority(cudaStream_t *stream, unsigned flags, int priority)
{
    dr_assert(priority <= 0 && priority >= FAKE_PRIORITY_GREATEST);
    return cudaStreamCreateWithFlags(stream, flags);
}

/* The work that is on the stream is still done. */
cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    fake_stream *s = stream_of(stream), **at = &streams;

    while (s->list.first)
        run_one();
    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    if (favourite == s)
        favourite = NULL;
    free(s);
    fake_cuda.streams--;
    return fake_cuda_call();
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    fake_stream *s = stream_of(stream);
    const cudaError_t code = fake_cuda_call_outside_capture();

    while (s->list.first)
        run_one();
    return code ? code : fake_cuda_answer(shim_error() ? cudaErrorLaunchFailure : cudaSuccess);
}

/* Waits for the event's latest recording.  Does not wait for an event that was never recorded. */
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags)
{
    fake_event *e = (fake_event *)event;
    const bool in_capture = stream_of(stream) == fake_captured.stream;

    dr_assert(flags == 0);
    if (e->captured == in_capture)
        return fake_stream_put(stream, &(fake_work){ .wait = in_capture ? NULL : e, .number = e->recorded },
                               NULL);
    fake_captured.spoilt =
        true; /* the event is of work outside the graph, or the wait would draw work into a graph */
    return fake_cuda_answer(cudaErrorStreamCaptureIsolation);
}

/* --- events -------------------------------------------------------------------------------------- */

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags)
{
    const cudaError_t code = fake_cuda_call();
    fake_event *e;

    *event = NULL;
    if (code)
        return code;
    e = calloc(1, sizeof(*e));
    dr_assert(e);
    e->users = 1;
    e->timed = !(flags & cudaEventDisableTiming);
    fake_cuda.events++;
    *event = (cudaEvent_t)e;
    return cudaSuccess;
}

/* Destroys the event at once, even if a stream has not reached it yet. */
cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    leave((fake_event *)event);
    fake_cuda.events--;
    return fake_cuda_call();
}

/* In a graph it leaves nothing. */
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    fake_event *e = (fake_event *)event;
    cudaError_t code;

    if (stream_of(stream) == fake_captured.stream) {
        e->captured = true;
        return fake_stream_put(stream, &(fake_work){ .run = NULL }, NULL);
    }
    code = fake_stream_put(stream, &(fake_work){ .mark = e, .number = e->recorded + 1 }, NULL);
    if (code)
        return code;
    e->recorded++;
    e->captured = false;
    return cudaSuccess;
}

static bool is_reached(const fake_event *e)
{
    return e->reached == e->recorded;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    fake_event *e = (fake_event *)event;
    const cudaError_t code = fake_cuda_call_outside_capture();

    if (e->captured)
        return code ? code : fake_cuda_answer(cudaErrorCapturedEvent);
    while (!is_reached(e))
        run_one();
    return code ? code : fake_cuda_answer(shim_error() ? cudaErrorLaunchFailure : cudaSuccess);
}

/* Meanwhile the device does a little work.  It does none if everything runs in turn, because then the test
 * says when. */
cudaError_t cudaEventQuery(cudaEvent_t event)
{
    enum { MEANWHILE = 32 }; /* works, on average half as many */
    const fake_event *e = (const fake_event *)event;
    const cudaError_t code = fake_cuda_call_outside_capture();

    if (code)
        return code;
    for (unsigned i = fake_cuda.in_turn ? 0 : draw(MEANWHILE); i > 0 && fake_cuda.waiting > 0; i--)
        run_one();
    if (shim_error())
        return fake_cuda_answer(cudaErrorLaunchFailure);
    return fake_cuda_answer(is_reached(e) ? cudaSuccess : cudaErrorNotReady);
}

cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t begin, cudaEvent_t end)
{
    const fake_event *b = (const fake_event *)begin, *e = (const fake_event *)end;
    const cudaError_t code = fake_cuda_call();

    if (code)
        return code;
    if (!b->timed || !e->timed || b->recorded == 0 || e->recorded == 0)
        return fake_cuda_answer(cudaErrorInvalidResourceHandle);
    if (!is_reached(b) || !is_reached(e))
        return fake_cuda_answer(cudaErrorNotReady);
    *ms = (float)(e->ms - b->ms);
    return cudaSuccess;
}

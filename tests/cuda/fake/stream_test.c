/* Tests the made-up runtime itself: work on a stream waits, a graph has the work that was captured, and
 * mistakes show. */
#include "base/error.h"
#include "tests/cuda/fake/runtime.h"
#include "tests/cuda/shim/kernels.h"
#include "tests/cuda/shim/run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { THREADS = 128 };

static cudaStream_t stream, other;

static int open_stream(void **state)
{
    (void)state;
    fake_cuda_reset();
    return cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) ||
           cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking);
}

static int close_stream(void **state)
{
    (void)state;
    fake_cuda_wait();
    cudaStreamDestroy(stream);
    cudaStreamDestroy(other);
    fake_cuda_reset();
    return 0;
}

static void work_waits_until_somebody_does(void **state)
{
    float value = 1.0f, copy = 0.0f, out[THREADS];
    (void)state;

    memset(out, 0, sizeof(out));
    assert_int_equal(cudaMemcpyAsync(&copy, &value, sizeof(copy), cudaMemcpyHostToDevice, stream),
                     cudaSuccess);
    shim_run_sample(stream, SAMPLE_REVERSE, out, THREADS);
    assert_int_equal(fake_cuda.waiting, 2);
    value = 2.0f; /* written too early: these values arrive */
    assert_true(copy == 0.0f && out[0] == 0.0f);
    assert_int_equal(cudaStreamSynchronize(stream), cudaSuccess);
    assert_true(copy == 2.0f && out[0] == (float)(THREADS - 1));
    assert_int_equal(fake_cuda.waiting, 0);
}

static void an_event_is_reached_when_what_is_before_it_is_done(void **state)
{
    const float one = 1.0f;
    float first = 0.0f, second = 0.0f;
    cudaEvent_t event;
    (void)state;

    assert_int_equal(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), cudaSuccess);
    cudaMemcpyAsync(&first, &one, sizeof(one), cudaMemcpyHostToDevice, stream);
    cudaEventRecord(event, stream);
    cudaMemcpyAsync(&second, &one, sizeof(one), cudaMemcpyHostToDevice, stream);
    assert_int_equal(cudaEventSynchronize(event), cudaSuccess);
    assert_true(first == 1.0f && second == 0.0f);
    cudaStreamSynchronize(stream);
    assert_true(second == 1.0f);
    cudaEventDestroy(event);
}

/* Two counters on two streams.  Each copies the other one, to see how far the other stream has come. */
typedef struct race {
    int count[2], seen[2];
} race;

static void count_up(const void *args)
{
    race *const *r = args;
    (*r)->count[0]++;
}

static void count_other(const void *args)
{
    race *const *r = args;
    (*r)->count[1]++;
    (*r)->seen[1] = (*r)->count[0];
}

/* Returns how far the first stream had come when the second one was done. */
static int run_race(uint64_t seed, bool waits)
{
    enum { COUNT = 8 };
    race r = { { 0 }, { 0 } }, *args = &r;
    cudaEvent_t event;

    fake_cuda_seed(seed);
    assert_int_equal(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), cudaSuccess);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(fake_cuda_enqueue(stream, count_up, &args, sizeof(args)), cudaSuccess);
    assert_int_equal(cudaEventRecord(event, stream), cudaSuccess);
    if (waits)
        assert_int_equal(cudaStreamWaitEvent(other, event, 0), cudaSuccess);
    assert_int_equal(cudaEventDestroy(event), cudaSuccess); /* which does not matter to the wait */
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(fake_cuda_enqueue(other, count_other, &args, sizeof(args)), cudaSuccess);
    assert_int_equal(cudaStreamSynchronize(other), cudaSuccess);
    assert_int_equal(r.count[1], COUNT);
    cudaStreamSynchronize(stream);
    assert_int_equal(r.count[0], COUNT);
    return r.seen[1];
}

static void streams_go_beside_each_other_but_for_their_events(void **state)
{
    bool none = false, some = false, all = false;
    (void)state;

    for (uint64_t seed = 1; seed <= 100; seed++) {
        const int seen = run_race(seed, false);

        none |= seen == 0, all |= seen == 8, some |= seen > 0 && seen < 8;
        assert_int_equal(run_race(seed, true), 8);
    }
    assert_true(none && some && all);
    fake_cuda.in_turn = true;
    for (uint64_t seed = 1; seed <= 10; seed++)
        assert_int_equal(run_race(seed, false), 8);
}

/* A wait is for the recording that exists at the time of the call, and not for a later one. */
static void a_wait_is_for_what_was_recorded(void **state)
{
    const float one = 1.0f;
    float first = 0.0f, second = 0.0f;
    cudaEvent_t event;
    (void)state;

    assert_int_equal(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), cudaSuccess);
    assert_int_equal(cudaStreamWaitEvent(other, event, 0), cudaSuccess); /* for nothing */
    assert_int_equal(cudaStreamSynchronize(other), cudaSuccess);
    cudaMemcpyAsync(&first, &one, sizeof(one), cudaMemcpyHostToDevice, stream);
    cudaEventRecord(event, stream);
    assert_int_equal(cudaStreamWaitEvent(other, event, 0), cudaSuccess);
    cudaMemcpyAsync(&second, &first, sizeof(one), cudaMemcpyDeviceToDevice, other);
    assert_int_equal(cudaStreamWaitEvent(stream, event, 0), cudaSuccess); /* its own: no matter */
    cudaEventRecord(event, stream);
    assert_int_equal(cudaStreamSynchronize(other), cudaSuccess);
    assert_true(second == 1.0f);
    cudaStreamSynchronize(stream);
    cudaEventDestroy(event);
}

static void an_event_can_be_asked_for(void **state)
{
    float value = 1.0f, copy = 0.0f, ms = 0.0f;
    cudaEvent_t event, timed;
    int asked = 0;
    (void)state;

    assert_int_equal(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), cudaSuccess);
    assert_int_equal(cudaEventCreateWithFlags(&timed, cudaEventDefault), cudaSuccess);
    assert_int_equal(cudaEventQuery(event), cudaSuccess); /* it was never recorded */
    for (int i = 0; i < 100; i++)
        cudaMemcpyAsync(&copy, &value, sizeof(copy), cudaMemcpyHostToDevice, stream);
    cudaEventRecord(event, stream);
    while (cudaEventQuery(event) == cudaErrorNotReady) {
        assert_int_equal(cudaPeekAtLastError(), cudaErrorNotReady); /* and the error has to be cleared */
        cudaGetLastError();
        asked++;
    }
    assert_true(asked > 0 && copy == 1.0f);
    assert_int_equal(cudaEventElapsedTime(&ms, timed, timed), cudaErrorInvalidResourceHandle);
    cudaEventRecord(timed, stream);
    assert_int_equal(cudaEventElapsedTime(&ms, timed, timed), cudaErrorNotReady);
    cudaEventSynchronize(timed);
    assert_int_equal(cudaEventElapsedTime(&ms, timed, timed), cudaSuccess);
    assert_int_equal(cudaEventElapsedTime(&ms, timed, event), cudaErrorInvalidResourceHandle);
    cudaEventDestroy(event);
    cudaEventDestroy(timed);
}

static void a_graph_is_what_was_captured(void **state)
{
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    float out[THREADS];
    (void)state;

    memset(out, 0, sizeof(out));
    assert_int_equal(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
    shim_run_sample(stream, SAMPLE_REVERSE, out, THREADS);
    assert_int_equal(cudaStreamEndCapture(stream, &graph), cudaSuccess);
    assert_int_equal(cudaGraphInstantiate(&exec, graph, 0), cudaSuccess);
    cudaGraphDestroy(graph);
    cudaStreamSynchronize(stream);
    assert_true(out[0] == 0.0f); /* it was not run */
    for (int i = 0; i < 2; i++) {
        memset(out, 0, sizeof(out));
        assert_int_equal(cudaGraphLaunch(exec, stream), cudaSuccess);
        assert_true(out[0] == 0.0f);
        cudaStreamSynchronize(stream);
        assert_true(out[0] == (float)(THREADS - 1));
    }
    cudaGraphExecDestroy(exec);
    assert_int_equal(fake_cuda.graphs, 0);
}

/* Tests calls that CUDA calls unsafe during a capture.  The work that was captured by then makes no graph. */
static void what_has_no_place_in_a_capture_spoils_it(void **state)
{
    cudaGraph_t graph;
    void *memory;
    (void)state;

    for (int i = 0; i < 2; i++) {
        assert_int_equal(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
        assert_int_equal(i ? cudaStreamSynchronize(stream) : cudaMalloc(&memory, 1),
                         cudaErrorStreamCaptureUnsupported);
        assert_int_equal(cudaMemsetAsync(&memory, 0, 1, stream), cudaErrorStreamCaptureInvalidated);
        assert_int_equal(cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureInvalidated);
        assert_null(graph);
    }
    assert_int_equal(cudaMemsetAsync(&memory, 0, 1, stream), cudaSuccess);
    assert_int_equal(cudaStreamSynchronize(stream), cudaSuccess);
}

/* While one stream is captured, the other runs.  The two must not wait for each other.  An event that was
 * recorded in a capture is never reached. */
static void a_capture_is_of_one_stream(void **state)
{
    const float one = 1.0f;
    cudaEvent_t before, inside;
    cudaGraph_t graph;
    float copy = 0.0f;
    (void)state;

    assert_int_equal(cudaEventCreateWithFlags(&before, cudaEventDisableTiming), cudaSuccess);
    assert_int_equal(cudaEventCreateWithFlags(&inside, cudaEventDisableTiming), cudaSuccess);
    cudaEventRecord(before, other);
    assert_int_equal(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
    assert_int_equal(cudaMemcpyAsync(&copy, &one, sizeof(one), cudaMemcpyHostToDevice, other), cudaSuccess);
    assert_int_equal(cudaStreamEndCapture(stream, &graph), cudaSuccess);
    cudaGraphDestroy(graph);
    cudaStreamSynchronize(other);
    assert_true(copy == 1.0f);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
        assert_int_equal(cudaEventRecord(inside, stream), cudaSuccess);
        assert_int_equal(i ? cudaStreamWaitEvent(stream, before, 0) : cudaStreamWaitEvent(other, inside, 0),
                         cudaErrorStreamCaptureIsolation);
        assert_int_equal(cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureInvalidated);
        assert_int_equal(cudaEventSynchronize(inside), cudaErrorCapturedEvent);
    }
    cudaEventDestroy(before);
    cudaEventDestroy(inside);
}

static void a_kernel_that_goes_wrong_is_the_end(void **state)
{
    float out[THREADS];
    void *memory;
    (void)state;

    shim_run_sample(stream, SAMPLE_DIVERGENT_BARRIER, out, THREADS);
    assert_int_equal(cudaPeekAtLastError(), cudaSuccess); /* it has been launched */
    assert_int_equal(cudaStreamSynchronize(stream), cudaErrorLaunchFailure);
    assert_string_equal(cudaGetErrorString(cudaErrorLaunchFailure), shim_error());
    assert_int_equal(cudaMalloc(&memory, 1), cudaErrorLaunchFailure);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(work_waits_until_somebody_does, open_stream, close_stream),
        cmocka_unit_test_setup_teardown(an_event_is_reached_when_what_is_before_it_is_done, open_stream,
                                        close_stream),
        cmocka_unit_test_setup_teardown(streams_go_beside_each_other_but_for_their_events, open_stream,
                                        close_stream),
        cmocka_unit_test_setup_teardown(a_wait_is_for_what_was_recorded, open_stream, close_stream),
        cmocka_unit_test_setup_teardown(an_event_can_be_asked_for, open_stream, close_stream),
        cmocka_unit_test_setup_teardown(a_graph_is_what_was_captured, open_stream, close_stream),
        cmocka_unit_test_setup_teardown(what_has_no_place_in_a_capture_spoils_it, open_stream, close_stream),
        cmocka_unit_test_setup_teardown(a_capture_is_of_one_stream, open_stream, close_stream),
        cmocka_unit_test_setup_teardown(a_kernel_that_goes_wrong_is_the_end, open_stream, close_stream),
    };
    return cmocka_run_group_tests_name("cuda stream", tests, NULL, NULL);
}

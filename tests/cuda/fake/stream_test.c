/* The made-up runtime itself: what is on a stream waits, a graph is what was captured, and mistakes show. */
#include "base/error.h"
#include "tests/cuda/fake/runtime.h"
#include "tests/cuda_shim_kernels.h"
#include "tests/cuda_shim_run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { THREADS = 128 };

static cudaStream_t stream;

static int open_stream(void **state)
{
    (void)state;
    fake_cuda_reset();
    return cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
}

static int close_stream(void **state)
{
    (void)state;
    fake_cuda_wait();
    cudaStreamDestroy(stream);
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
    shim_run_sample(SAMPLE_REVERSE, out, THREADS);
    assert_int_equal(fake_cuda.waiting, 2);
    value = 2.0f; /* too early: that is what arrives */
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

static void a_graph_is_what_was_captured(void **state)
{
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    float out[THREADS];
    (void)state;

    memset(out, 0, sizeof(out));
    assert_int_equal(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
    shim_run_sample(SAMPLE_REVERSE, out, THREADS);
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

/* What CUDA calls unsafe between begin and end; and what was captured by then is no graph. */
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

static void a_kernel_that_goes_wrong_is_the_end(void **state)
{
    float out[THREADS];
    void *memory;
    (void)state;

    shim_run_sample(SAMPLE_DIVERGENT_BARRIER, out, THREADS);
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
        cmocka_unit_test_setup_teardown(a_graph_is_what_was_captured, open_stream, close_stream),
        cmocka_unit_test_setup_teardown(what_has_no_place_in_a_capture_spoils_it, open_stream, close_stream),
        cmocka_unit_test_setup_teardown(a_kernel_that_goes_wrong_is_the_end, open_stream, close_stream),
    };
    return cmocka_run_group_tests_name("cuda stream", tests, NULL, NULL);
}

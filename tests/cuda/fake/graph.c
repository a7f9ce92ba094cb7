/* graph.c - graphs of work that was captured and not run. */
#include "tests/cuda/fake/stream.h"

#include "base/error.h"

#include <stdlib.h>

fake_capture fake_captured;

/* --- capturing ------------------------------------------------------------------------------ */

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode)
{
    const cudaError_t code = fake_cuda_call_outside_capture();

    (void)mode;
    if (!code)
        fake_captured.stream = (fake_stream *)stream;
    return code;
}

cudaError_t cudaThreadExchangeStreamCaptureMode(enum cudaStreamCaptureMode *mode)
{
    const bool relaxed = fake_captured.relaxed;
    const cudaError_t code = fake_cuda_call();

    if (code)
        return code;
    fake_captured.relaxed = *mode == cudaStreamCaptureModeRelaxed;
    *mode = relaxed ? cudaStreamCaptureModeRelaxed : cudaStreamCaptureModeGlobal;
    return cudaSuccess;
}

static fake_list *new_graph(void)
{
    fake_list *list = calloc(1, sizeof(*list));

    dr_assert(list);
    fake_cuda.graphs++;
    return list;
}

static void end_graph(void *graph)
{
    fake_list_empty(graph);
    free(graph);
    fake_cuda.graphs--;
}

/* Takes the captured work from the stream even if the call fails.  Otherwise it would be in the next
 * graph. */
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph)
{
    const cudaError_t code = fake_cuda_call();
    const bool spoilt = fake_captured.spoilt;

    dr_assert(fake_captured.stream == (fake_stream *)stream);
    fake_captured.stream = NULL;
    fake_captured.spoilt = false;
    *graph = NULL;
    if (code || spoilt) {
        fake_list_empty(&fake_captured.list);
        return code ? code : fake_cuda_answer(cudaErrorStreamCaptureInvalidated);
    }
    *graph = (cudaGraph_t)new_graph();
    *(fake_list *)*graph = fake_captured.list;
    fake_captured.list = (fake_list){ 0 };
    return cudaSuccess;
}

/* --- graphs ----------------------------------------------------------------------------------- */

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    end_graph(graph);
    return cudaSuccess;
}

static void append_all(fake_list *list, const fake_list *more)
{
    for (const fake_work *w = more->first; w; w = w->next)
        fake_list_append(list, w, w->args);
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long flags)
{
    const cudaError_t code = fake_cuda_call();

    (void)flags;
    *exec = NULL;
    if (code)
        return code;
    *exec = (cudaGraphExec_t)new_graph();
    append_all((fake_list *)*exec, (const fake_list *)graph);
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
    end_graph(exec);
    return fake_cuda_call();
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream)
{
    fake_stream *s = (fake_stream *)stream;
    const cudaError_t code = fake_cuda_call_outside_capture();

    if (code)
        return code;
    for (const fake_work *w = ((const fake_list *)exec)->first; w; w = w->next)
        fake_cuda.waiting++;
    append_all(&s->list, (const fake_list *)exec);
    fake_cuda.launches++;
    return cudaSuccess;
}

/* runtime.h - a CUDA runtime that is made up, so that ops/cuda runs where there is no GPU.
 *
 * It takes the place of libcudart: the same functions, over the host's memory.  fake_cuda has what they
 * say of the machine; a test sets it before it opens a device.  Any call can be made to fail.
 *
 *     runtime.c     the machine, its memory, its errors
 *     stream.c      streams: copies, kernels and products, each stream in its order; events
 *     graph.c       graphs of what was captured
 *     libraries.c   opens cuBLASLt (blas.c) and cuDNN (dnn.h)
 *     wrong.c       kernels of ours that compute wrongly
 *
 * Our kernels run in the shim (tests/cuda/shim/run.h).  Work is done late: not before somebody waits for
 * it.  So a buffer that is filled again too early shows.  Streams go on beside each other in an order that
 * is drawn, and only their events say what comes first.  So a missing wait shows.  A kernel that goes
 * wrong ends the device, as it would end a real one, and every later error has the shim's text.  While a
 * stream is captured, its work is not run; calls that CUDA forbids then are refused and spoil the graph.
 * Memory is all ones (NaN in every float format) until it is written. */
#ifndef DR_TESTS_CUDA_FAKE_RUNTIME_H
#define DR_TESTS_CUDA_FAKE_RUNTIME_H

#include <cuda_runtime_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A kernel that cuBLASLt has for any product, or cuDNN for any convolution and any attention. */
typedef struct fake_kernel {
    int step;  /* products that are summed before they join the sum; 0: as the heuristic likes */
    double ms; /* that it takes for any product */
    bool
        by_columns; /* cuts its sums by the number of columns (rows) it finds, whatever the preferences say */
    bool refuses;   /* when it is to be started */

    bool splits, streams; /* cuDNN: a knob says that it splits sums */
    bool unsure;          /* it is noted for not being deterministic */
    bool compiled_late;   /* a convolution's: it is compiled when a plan is made, as attention's all are */
    int rows_max;         /* that it does; 0: any */
    int workspace;        /* bytes for each row */
} fake_kernel;

enum { FAKE_KERNELS_MAX = 16 };

typedef struct fake_machine {
    int devices, driver;                 /* driver: 13000 is CUDA 13.0; 0: none */
    int major, minor;                    /* compute capability */
    size_t free_bytes, total_bytes;      /* what is allocated is no longer free */
    cudaError_t count_error, init_error; /* of cudaGetDeviceCount(), of cudaInitDevice() */
    bool blas_fails, dnn_absent;         /* the one does not start, the other is not there */
    bool nvrtc_absent;

    fake_kernel kernel[FAKE_KERNELS_MAX]; /* of cuBLASLt, in the heuristic's order */
    int kernels_offered;
    int blas_build; /* what one build of the library chose, another refuses */
    int choices;    /* times a library was asked to choose, so far */

    fake_kernel dnn_kernel[FAKE_KERNELS_MAX]; /* cuDNN's */
    int dnn_kernels_offered;
    bool dnn_falls_back; /* it has one more that is slow, and always works */
    int dnn_version;
    int dnn_build;
    int dnn_calls, dnn_fail_call; /* as below, of its own */
    int dnn_error;                /* cudnnStatus_t */

    const char *wrong_kernel; /* of ours: whose name has this in it leaves two values wrong; NULL: none */

    int calls;         /* so far, of those that can fail */
    int fail_call;     /* this call fails, counted from 1; 0: none does */
    cudaError_t error; /* with this */
    bool sticky;       /* and so does every later one */

    int blocks, pinned, events, streams, handles; /* that are there */
    int graphs;                                   /* and what was made of them, that are there */
    int waiting;                                  /* work that is still on a stream */
    bool in_turn;    /* whichever stream it is on, work is done in the order in which it came */
    int launches;    /* of graphs, so far */
    double clock_ms; /* how long its products took */
    int kernels;     /* and products that have run, so far */
} fake_machine;

extern fake_machine fake_cuda;

/* A machine with two good devices.  Order within kernels and between streams follows from the seed. */
void fake_cuda_reset(void);
void fake_cuda_seed(uint64_t seed);

/* --- between the parts of the runtime -------------------------------------------------- */

/* A runtime call's answer: code where it is none of the failures that were asked for.  What fails is
 * remembered as the last error. */
cudaError_t fake_cuda_answer(cudaError_t code);
cudaError_t fake_cuda_call(void);

/* Puts run(args) on the stream, args copied; or into the graph that it is written to. */
cudaError_t fake_cuda_enqueue(cudaStream_t stream, void (*run)(const void *args), const void *args,
                              size_t bytes);

void fake_cuda_wait(void);   /* does all work that is on any stream */
void fake_cuda_forget(void); /* drops all work that is on any stream */

/* All that cudaMalloc() gave and cudaFree() has not had. */
void fake_cuda_each_block(void (*see)(char *memory, size_t bytes, void *arg), void *arg);

/* Runs it; then the first values that it changed are others. */
typedef struct shim_grid shim_grid;
void fake_cuda_run_wrongly(const shim_grid *grid);

/* A call that has no place between the begin and the end of a capture; and one that has, but only where
 * the thread has said so (cudaThreadExchangeStreamCaptureMode). */
cudaError_t fake_cuda_call_outside_capture(void);
cudaError_t fake_cuda_call_relaxed(void);

#endif

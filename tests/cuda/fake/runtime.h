/* runtime.h - a CUDA runtime that is made up, so that ops/cuda runs where there is no GPU.
 *
 * It takes the place of libcudart: the same functions, over the host's memory.  fake_cuda has what these
 * functions say about the machine.  A test sets fake_cuda before it opens a device.  Any call can be made to
 * fail.
 *
 *     runtime.c     the machine, its memory, its errors
 *     stream.c      streams: copies, kernels and products, each stream in its order; events
 *     graph.c       graphs of what was captured
 *     libraries.c   opens cuBLASLt (blas.c) and cuDNN (dnn.h)
 *     wrong.c       kernels of ours that compute wrongly
 *
 * Our kernels run in the shim (tests/cuda/shim/run.h).  Work is done late: not before somebody waits for it.
 * So a buffer that is filled again too early shows.  Streams run beside each other in a random order, and
 * only events decide what comes first.  So a missing wait shows.  A kernel that goes wrong ends the device,
 * as it would end a real one, and every later error has the shim's text.  While a stream is captured, its
 * work is not run; calls that CUDA forbids then are refused and spoil the graph.  Memory is all ones (NaN in
 * every float format) until it is written. */
#ifndef DR_TESTS_CUDA_FAKE_RUNTIME_H
#define DR_TESTS_CUDA_FAKE_RUNTIME_H

#include <cuda_runtime_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A kernel that cuBLASLt offers for any product, or that cuDNN offers for any convolution and any
 * attention. */
typedef struct fake_kernel {
    int step;        /* products that are summed before they join the sum; 0: as the heuristic likes */
    double ms;       /* that it takes for any product */
    bool by_columns; /* splits its sums by the number of columns (rows), whatever the preferences say */
    bool refuses;    /* when it is to be started */

    bool splits, streams; /* cuDNN: a knob says that it splits sums */
    bool unsure;          /* a note says that it is not deterministic */
    bool compiled_late;   /* for a convolution: compiled when a plan is made (attention's kernels all are) */
    int rows_max;         /* that it does; 0: any */
    int workspace;        /* bytes for each row */
} fake_kernel;

enum { FAKE_KERNELS_MAX = 16 };

typedef struct fake_machine {
    int devices, driver;                 /* driver: 13000 is CUDA 13.0; 0: none */
    int major, minor;                    /* compute capability */
    size_t free_bytes, total_bytes;      /* what is allocated is no longer free */
    cudaError_t count_error, init_error; /* what cudaGetDeviceCount() and cudaInitDevice() return */
    bool blas_fails, dnn_absent;         /* cuBLASLt does not start; cuDNN is not there */
    bool nvrtc_absent;

    fake_kernel kernel[FAKE_KERNELS_MAX]; /* of cuBLASLt, in the heuristic's order */
    int kernels_offered;
    int blas_build; /* what one build of the library chose, another refuses */
    int choices;    /* times a library was asked to choose, so far */

    fake_kernel dnn_kernel[FAKE_KERNELS_MAX]; /* cuDNN's */
    int dnn_kernels_offered;
    bool dnn_falls_back; /* beside these it has one that is slow and always works */
    int dnn_version;
    int dnn_build;
    int dnn_calls, dnn_fail_call; /* as below, of its own */
    int dnn_error;                /* cudnnStatus_t */

    const char
        *wrong_kernel; /* those of our kernels whose name contains this leave two values wrong; NULL: none */

    int calls;         /* so far, of those that can fail */
    int fail_call;     /* this call fails, counted from 1; 0: none does */
    cudaError_t error; /* with this */
    bool sticky;       /* and so does every later one */

    int blocks, pinned, events, streams, handles; /* that are there */
    int graphs;                                   /* and what was made of them, that are there */
    int waiting;                                  /* work that is still on a stream */
    bool in_turn;    /* work of all streams is done in the order in which it came */
    int launches;    /* of graphs, so far */
    double clock_ms; /* how long its products took */
    int kernels;     /* and products that have run, so far */
} fake_machine;

extern fake_machine fake_cuda;

/* A machine with two good devices.  Order within kernels and between streams follows from the seed. */
void fake_cuda_reset(void);
void fake_cuda_seed(uint64_t seed);

/* --- between the parts of the runtime -------------------------------------------------- */

/* Returns the answer of a runtime call: `code`, unless this call is one that the test wants to fail.  A
 * failure is remembered as the last error. */
cudaError_t fake_cuda_answer(cudaError_t code);
cudaError_t fake_cuda_call(void);

/* Puts run(args) on the stream, or into the graph that captures the stream.  Copies args. */
cudaError_t fake_cuda_enqueue(cudaStream_t stream, void (*run)(const void *args), const void *args,
                              size_t bytes);

void fake_cuda_wait(void);   /* does all work that is on any stream */
void fake_cuda_forget(void); /* drops all work that is on any stream */

/* Visits each block that cudaMalloc() gave and cudaFree() has not freed. */
void fake_cuda_each_block(void (*see)(char *memory, size_t bytes, void *arg), void *arg);

/* Runs the grid, and then makes the first values that it changed wrong. */
typedef struct shim_grid shim_grid;
void fake_cuda_run_wrongly(const shim_grid *grid);

/* The first is for calls that are forbidden during a capture.  The second is for calls that are allowed then
 * if the thread has said so (cudaThreadExchangeStreamCaptureMode). */
cudaError_t fake_cuda_call_outside_capture(void);
cudaError_t fake_cuda_call_relaxed(void);

#endif

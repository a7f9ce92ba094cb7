/* runtime.h - a CUDA runtime that is made up, so that ops/cuda runs where there is no GPU.
 *
 * It stands in for libcudart: the same functions, over the host's memory.  What they say of the machine is in
 * fake_cuda, which a test sets before it opens a device; any call can be made to fail.
 *
 * Work on a stream is done late: a copy is made when somebody waits for it, and not before, so that a buffer which is
 * filled again too early shows.  The libraries' handles are made up, too (libraries.c). */
#ifndef DR_TESTS_CUDA_FAKE_RUNTIME_H
#define DR_TESTS_CUDA_FAKE_RUNTIME_H

#include <cuda_runtime_api.h>
#include <stdbool.h>

typedef struct fake_machine {
    int devices, driver; /* driver: 13000 is CUDA 13.0; 0: none */
    int major, minor;    /* compute capability */
    size_t free_bytes, total_bytes;
    cudaError_t count_error, init_error; /* of cudaGetDeviceCount(), of cudaInitDevice() */
    bool blas_fails, dnn_absent;         /* the one does not start, the other is not there */

    int calls;         /* so far, of those that can fail */
    int fail_call;     /* this call fails, counted from 1; 0: none does */
    cudaError_t error; /* with this */
    bool sticky;       /* and so does every later one */

    int blocks, pinned, events, streams, handles; /* that are there */
    int graphs;                                   /* and what was made of them, that are there */
    int copies_waiting;
    int launches; /* of graphs, so far */
} fake_machine;

extern fake_machine fake_cuda;

/* A machine with two good devices. */
void fake_cuda_reset(void);

#endif

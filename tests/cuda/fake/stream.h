/* stream.h - what stream.c and graph.c share; nobody else includes this.
 *
 *     stream A   [copy][kernel][mark e, 1]........[kernel]
 *     stream B   [wait e, 1][kernel]                            not before A has come to its mark
 *
 * Each stream is a list in its own order.  Which stream runs next is random, so that over many seeds work
 * happens in every order that the events allow. */
#ifndef DR_TESTS_CUDA_FAKE_STREAM_H
#define DR_TESTS_CUDA_FAKE_STREAM_H

#include "tests/cuda/fake/runtime.h"

typedef struct fake_event {
    int users; /* its handle, and the marks and waits that name it */
    bool timed;
    bool captured;              /* its last recording was in a capture, where no time passes */
    unsigned recorded, reached; /* how many times, so far */
    double ms;                  /* when it was reached last */
} fake_event;

/* Something to run, a mark that an event leaves, or a wait for one. */
typedef struct fake_work {
    struct fake_work *next;
    fake_event *mark, *wait; /* NULL: it is none */
    unsigned number;         /* of the recording that is marked, or waited for */
    uint64_t order;          /* in which the work came, counted over all streams */
    void (*run)(const void *args);
    size_t bytes;
    max_align_t args[];
} fake_work;

typedef struct fake_list {
    fake_work *first, *last;
} fake_list;

typedef struct fake_stream {
    struct fake_stream *next; /* of all that there are */
    fake_list list;
    bool capturing;
} fake_stream;

/* The first appends a copy of the work and of its arguments to the list.  The second frees all of the
 * list. */
void fake_list_append(fake_list *list, const fake_work *work, const void *args);
void fake_list_empty(fake_list *list);

/* Puts the work on the stream, or into the graph that captures the stream. */
cudaError_t fake_stream_put(cudaStream_t stream, const fake_work *work, const void *args);

/* graph.c: the work that is written down and not run.  Only one stream is captured at a time. */
typedef struct fake_capture {
    fake_stream *stream; /* NULL: none is captured */
    bool spoilt;
    bool relaxed; /* the thread may make calls that are otherwise unsafe during a capture */
    fake_list list;
} fake_capture;
extern fake_capture fake_captured;

#endif

/* stream.h - what stream.c and graph.c share; nobody else includes this.
 *
 *     stream A   [copy][kernel][mark e, 1]........[kernel]
 *     stream B   [wait e, 1][kernel]                            not before A has come to its mark
 *
 * Each stream is a list in its own order.  Which of them goes on is drawn, so that everything comes out in
 * every order that their events leave. */
#ifndef DR_TESTS_CUDA_FAKE_STREAM_H
#define DR_TESTS_CUDA_FAKE_STREAM_H

#include "tests/cuda/fake/runtime.h"

typedef struct fake_event {
    int users; /* its handle, and the marks and waits that name it */
    bool timed;
    bool captured;              /* recorded last in a capture, where no time passes */
    unsigned recorded, reached; /* how many times, so far */
    double ms;                  /* when it was reached last */
} fake_event;

/* Something to run, a mark that an event leaves, or a wait for one. */
typedef struct fake_work {
    struct fake_work *next;
    fake_event *mark, *wait; /* NULL: it is none */
    unsigned number;         /* of the recording that is marked, or waited for */
    uint64_t order;          /* in which it came, of all streams' */
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

/* A copy of the work goes to the end of the list, with a copy of its arguments; and all of it is freed. */
void fake_list_append(fake_list *list, const fake_work *work, const void *args);
void fake_list_empty(fake_list *list);

/* Into the stream, or the graph that it is being written to. */
cudaError_t fake_stream_put(cudaStream_t stream, const fake_work *work, const void *args);

/* graph.c: what is written down instead of run.  One stream at a time. */
typedef struct fake_capture {
    fake_stream *stream; /* NULL: none is captured */
    bool spoilt;
    bool relaxed; /* the thread may do now what is not safe meanwhile */
    fake_list list;
} fake_capture;
extern fake_capture fake_captured;

#endif

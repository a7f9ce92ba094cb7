/* plays.h - how long work takes on a device that does it late.
 *
 *     host     start start start ... start   wait
 *     device         |work|work|work|work|work|
 *              <----------- timed ----------->
 *
 * Starting only enqueues, so many are started one after the other and waited for once, by a copy of four bytes of
 * what they wrote: what starting costs beside the work is hidden, as it is in a run. */
#ifndef DR_BENCH_GPU_PLAYS_H
#define DR_BENCH_GPU_PLAYS_H

#include "bench/bench.h"

typedef struct bench_plays {
    void (*start)(void *arg);
    void *arg;
    const void *out; /* device: what is written last */
} bench_plays;

typedef struct bench_played {
    double seconds, min_s, max_s; /* of one; the median, and the ends, over groups of plays */
    double host_s;                /* until start() is back, the device having nothing to do */
    int groups, plays;            /* groups of so many */
} bench_played;

bench_played bench_time_plays(bench *b, const bench_plays *w);

/* To a file, and as it is printed: "24.80 ms (24.71..24.95, 5 x 8)". */
json_t *bench_played_json(const bench_played *t);
void bench_print_played(const bench_played *t);

#endif

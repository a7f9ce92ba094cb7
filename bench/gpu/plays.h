/* plays.h - how long work takes on a device that does it later.
 *
 *     host     start start start ... start   wait
 *     device         |work|work|work|work|work|
 *              <----------- timed ----------->
 *
 * Starting only enqueues work.  So many plays are started one after the other, and then waited for once, by a
 * copy of four bytes of their output.  This hides the cost of starting behind the work, as in a run. */
#ifndef DR_BENCH_GPU_PLAYS_H
#define DR_BENCH_GPU_PLAYS_H

#include "bench/bench.h"

typedef struct bench_plays {
    void (*start)(void *arg);
    void *arg;
    const void *out; /* on the device: the memory that is written last */
} bench_plays;

typedef struct bench_played {
    double seconds, min_s, max_s; /* of one play: the median, the least and the most over groups of plays */
    double host_s;                /* of one call of start() while the device has nothing to do */
    int groups, plays;            /* how many groups, and how many plays in each */
} bench_played;

/* Measures for b->seconds.  Ends the program if the device fails. */
bench_played bench_time_plays(bench *b, const bench_plays *w);

/* The result as JSON (a new reference), and as a line: "24.80 ms (24.71..24.95, 5 x 8)". */
json_t *bench_played_json(const bench_played *t);
void bench_print_played(const bench_played *t);

#endif

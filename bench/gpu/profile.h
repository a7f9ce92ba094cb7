/* profile.h - where the time of a pass goes: each of its operators, timed where it stands in the pass.
 *
 * The pass is played with a backend of ours before the device's.  The first operator of each shape is written
 * down many times over in one recording, which is then played: what is timed is the device, not the launches.  (It finds
 * its inputs where it left them, in the second-level cache if they fit there.)  The sum over a pass' operators, each as often as it
 * occurs, is then what the pass would take if nothing were lost between them. */
#ifndef DR_BENCH_GPU_PROFILE_H
#define DR_BENCH_GPU_PROFILE_H

#include "bench/networks.h"

/* ", sums": it takes what the group norm " of sums" after it then need not read. */
typedef struct bench_operator {
    char kind[24];  /* "conv3x3", "attention d40" */
    char shape[64]; /* "[16, 64, 64] 320 -> 320 + residual, sums" */
    double gflop;   /* of matrix products, two per multiply-add; 0: it has none */
    double gbyte;   /* read once and written once, of what is no product */
    int count;      /* in the pass */
    double seconds; /* of one */
} bench_operator;

enum { BENCH_OPERATORS_MAX = 256 }; /* shapes in a pass; SD's UNet has about a hundred */

typedef struct bench_profile {
    bench_operator op[BENCH_OPERATORS_MAX]; /* those with the largest share of the pass first */
    int operators;
    double seconds, gflop; /* of the whole pass, as the sum of them */
} bench_profile;

void bench_profile_network(bench_profile *f, bench_network *n);

/* Kinds with their shares of the sum, shapes with more than one percent; and all of them for a file. */
void bench_print_profile(const bench_profile *f, double ceiling);
json_t *bench_profile_json(const bench_profile *f);

#endif

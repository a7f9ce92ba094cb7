/* profile.h - where the time of a pass goes: each of its operators, timed at its place in the pass.
 *
 * The pass runs with a backend of ours in front of the device's.  It records the first operator of each shape
 * many times in one recording, and then plays the recording.  So it measures the device, not the launches.
 * (An operator finds its inputs where it left them: in the second-level cache, if they fit there.) The sum
 * over all operators of a pass is the time that the pass would take if nothing were lost between
 * operators. */
#ifndef DR_BENCH_GPU_PROFILE_H
#define DR_BENCH_GPU_PROFILE_H

#include "bench/networks.h"

/* An operator whose shape ends with ", sums" also computes statistics for the group norm after it, so that
 * norm need not read its input for them. */
typedef struct bench_operator {
    char kind[24];  /* "conv3x3", "attention d40" */
    char shape[64]; /* "[16, 64, 64] 320 -> 320 + residual, sums" */
    double gflop;   /* of matrix products, two per multiply-add; 0: it has none */
    double gbyte;   /* read once and written once; for operators that are no product */
    int count;      /* how often it occurs in the pass */
    double seconds; /* of one occurrence */
} bench_operator;

enum { BENCH_OPERATORS_MAX = 256 }; /* shapes in a pass; SD's UNet has about a hundred */

typedef struct bench_profile {
    bench_operator op[BENCH_OPERATORS_MAX]; /* those with the largest share of the pass first */
    int operators;
    double seconds, gflop; /* of the whole pass, as the sum of them */
} bench_profile;

/* Fills *f with the profile of one pass of the open network.  Ends the program if the device fails. */
void bench_profile_network(bench_profile *f, bench_network *n);

/* Prints all kinds with their shares of the sum, and the shapes with more than one percent.  ceiling: GFLOP/s
 * of a large product.  The second returns all shapes as JSON (a new reference). */
void bench_print_profile(const bench_profile *f, double ceiling);
json_t *bench_profile_json(const bench_profile *f);

#endif

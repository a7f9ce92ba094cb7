/* choose.h - which of a library's kernels does a thing: by trying them, on made-up data.
 *
 * A trial is over units: tokens of a product, rows of a convolution or of attention.  A unit is some lines of x, which
 * become lines of y; a line of x meets lines of the weight, of as many values.  In attention, which has no weight, a line is
 * a token's query, key and value, and those of a unit meet each other.
 *
 *     x       [units, x_lines, in]        y, added   [units, y_lines, out]
 *     weight  [weight_lines, in]          bias       [out]
 *
 *     1. Each candidate does the same twice: all units, and the last `alone` of them alone.  Where those differ in a
 *        bit, it is out.
 *     2. The first that is left is the reference.  Those whose result has not its bits are out.
 *     3. The fastest of the rest, by a few runs on the device, is taken.
 *
 * (Where memory is short, or a unit is large, there are fewer units.)
 *
 * So what is taken follows from device and library alone, but for time, which decides only between kernels with equal
 * bits.  That they are equal on this data is evidence, not proof, so the data is such that any other order shows: the
 * terms of a sum come as pairs that cancel, in a random order, of magnitudes from 1 to 2^17 (of 8-bit values, whose few
 * bits would else be summed without any rounding, from 2^-12).  What is left in float32 is rounding and nothing else, which
 * the storage's few bits would hide if the sum were a usual one.  Bias and what is added are as small as that, so that when
 * they are added shows, too.  (In attention the tokens are such pairs, with equal keys and opposite values but for a small
 * part, and queries and keys are such that no token has all of the weight.)  The data has prime periods and therefore lies
 * differently in each tile; of a large result pieces of it are compared, its end among them, where tiles are not full. */
#ifndef DR_OPS_CUDA_CHOOSE_H
#define DR_OPS_CUDA_CHOOSE_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct cuda_device cuda_device;

/* On the device, of `units` units. */
typedef struct cuda_trial_data {
    const void *weight, *x;
    const void *bias, *added; /* NULL: none */
    void *y;
    size_t units;
} cuda_trial_data;

typedef struct cuda_trial {
    int32_t storage, y_dtype; /* dr_dtype: of x and weight; of all else */
    int in, out;              /* values of a line */
    int x_ld, y_ld, added_ld; /* from one line to the next; added_ld 0: nothing is added */
    bool has_bias;
    size_t weight_lines, x_lines, y_lines;
    size_t units, units_min; /* wanted, and the fewest that will do */
    size_t alone;
    bool
        attends; /* the thirds of a line of x are query, key and value; no weight, no bias, nothing is added */
    bool speed_only; /* bits do not matter: only step 3 */

    /* Enqueues it on DR_LANE_DENOISE.  A candidate that refuses fails with neither DR_ENOMEM nor a lost device, and is passed over. */
    dr_status (*start)(void *self, int candidate, const cuda_trial_data *data, dr_error *err);
    void *self;
    int candidates;
} cuda_trial;

/* Waits for the device, in memory that is given back.  *chosen < 0: no candidate will do.  DR_ENOMEM: not even the fewest
 * units can be tried, and nothing is taken untried. */
dr_status cuda_choose(cuda_device *d, const cuda_trial *trial, int *chosen, dr_error *err);

#endif

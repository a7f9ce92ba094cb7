/* choose_library_kernel.h - chooses one of a library's kernels by trying them, on made-up data.
 *
 * A trial runs over units: tokens of a product, or rows of a convolution or of attention.  A unit is some
 * lines of x, which become lines of y.  A line of x is multiplied by lines of the weight, which have as
 * many values.  Attention has no weight.  There a line holds a token's query, key and value, and the
 * tokens of a unit attend to each other.
 *
 *     x       [units, x_lines, in]        y, added   [units, y_lines, out]
 *     weight  [weight_lines, in]          bias       [out]
 *
 *   1. Each candidate computes all units, and then the last `alone` units alone.  If the two differ in a
 *      bit, the candidate is out.
 *   2. The first candidate that is left is the reference.  A candidate whose result has other bits is out.
 *   3. A few runs of each are timed on the device.  The fastest is chosen.
 *
 * Where memory is short, or a unit is large, there are fewer units.
 *
 * So the bits follow from the device and the library alone.  Time decides only between kernels with equal
 * bits.  Equal bits on this data are evidence but no proof.  So the data is made to show any other order
 * of summing:
 *
 *   - The terms of a sum come as pairs that cancel, in a random order, with magnitudes from 1 to 2^17.
 *     What is left in float32 is rounding and nothing else.  Of an ordinary sum the storage's few bits
 *     would hide the rounding.
 *   - 8-bit values have few bits, and their sums would not be rounded at all: their magnitudes begin at
 *     2^-12.
 *   - Bias and what is added are as small as the rounding, so that it shows when they are added.
 *   - In attention the tokens are such pairs, with equal keys and opposite values but for a small part.
 *     Queries and keys are such that no token has all of the weight.
 *   - The data has prime periods, so it lies differently in each tile.  Of a large result pieces are
 *     compared, its end among them, where tiles are not full. */
#ifndef DR_OPS_CUDA_CHOOSE_LIBRARY_KERNEL_H
#define DR_OPS_CUDA_CHOOSE_LIBRARY_KERNEL_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct cuda_device cuda_device;

/* What a candidate computes.  The pointers are device memory for `units` units. */
typedef struct cuda_trial_data {
    const void *weight, *x;
    const void *bias, *added; /* NULL: none */
    void *y;
    size_t units;
} cuda_trial_data;

typedef struct cuda_trial {
    int32_t storage, y_dtype; /* dr_dtype: `storage` of x and weight, `y_dtype` of all else */
    int in, out;              /* values of a line */
    int x_ld, y_ld, added_ld; /* values from one line to the next; added_ld 0: nothing is added */
    bool has_bias;
    size_t weight_lines, x_lines, y_lines;
    size_t units, units_min; /* how many units are wanted, and how few are enough */
    size_t alone;
    bool attends; /* the thirds of a line of x are query, key and value; no weight and bias, nothing added */
    bool speed_only; /* bits do not matter: only step 3 is done */

    /* Enqueues a candidate on DR_LANE_DENOISE.  A candidate may refuse: it fails, but not with DR_ENOMEM
     * and without a lost device.  Then it is passed over. */
    dr_status (*start)(void *self, int candidate, const cuda_trial_data *data, dr_error *err);
    void *self;
    int candidates;
} cuda_trial;

/* Tries all candidates.  *chosen is the index of the best; if it is negative, no candidate will do.
 * Waits for the device.  Takes memory and gives it back.  DR_ENOMEM: not even units_min units can be
 * tried.  A kernel that was not tried is never chosen.  For the thread that owns the device. */
dr_status cuda_choose(cuda_device *d, const cuda_trial *trial, int *chosen, dr_error *err);

#endif

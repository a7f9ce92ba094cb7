/* rows.h - the rows of a UNet's batch, and the samples that they are rows of.
 *
 *     row       0    1    2    3    4
 *     sample    0    1    2    0    2      rows 3 and 4: without the prompt, for guidance
 *
 * The rows of a sample have its latent and timestep, so they are equal until they first look at
 * their prompts.  Up to there a tensor has a row for each sample; dr_rows_expand() makes of it one
 * that has a row for each of the batch. */
#ifndef DR_MODEL_ROWS_H
#define DR_MODEL_ROWS_H

#include "ops/ops.h"

typedef struct dr_rows {
    int count;             /* at least as many as samples */
    const int32_t *sample; /* device, [count]: begins with 0, 1, ... samples - 1 */
} dr_rows;

/* x is used up, the result is the caller's: x itself where it has all rows already. */
dr_tensor dr_rows_expand(dr_pass *p, const dr_rows *rows, dr_tensor x);

#endif

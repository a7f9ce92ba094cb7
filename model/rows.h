/* rows.h - the rows of a UNet's batch, and the samples that they are rows of.
 *
 *     row       0    1    2    3    4
 *     sample    0    1    2    0    2      rows 3 and 4: without the prompt, for guidance
 *
 * The rows of one sample have the same latent and timestep, so they are equal until the UNet first reads
 * their prompts.  Up to there a tensor has one row for each sample.  dr_rows_expand() makes a tensor that
 * has one row for each row of the batch. */
#ifndef DR_MODEL_ROWS_H
#define DR_MODEL_ROWS_H

#include "ops/ops.h"

typedef struct dr_rows {
    int count;             /* rows of the batch: at least as many as samples */
    const int32_t *sample; /* device, [count]: the sample of each row; begins with 0, 1, ... samples - 1 */
} dr_rows;

/* x [samples, h, w, c] becomes [count, h, w, c], which the caller releases.  x is released; where it has
 * all rows already, it is returned. */
dr_tensor dr_rows_expand(dr_pass *p, const dr_rows *rows, dr_tensor x);

#endif

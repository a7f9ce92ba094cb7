/* table.h - the rows of the GPU's table, and the goal of each.  These goals are written in no other place in
 * the tree. */
#ifndef DR_BENCH_GPU_TABLE_H
#define DR_BENCH_GPU_TABLE_H

#include "bench/bench.h"

typedef struct bench_row {
    const char *name, *work, *unit;
    bool less; /* is less better? */
    double wanted, stretch,
        limit; /* in the unit; 0: none. limit: the most that the device's arithmetic allows */
    double ratio_wanted, ratio_stretch; /* against diffusers with torch.compile on the same device */
} bench_row;

const bench_row *bench_row_of(const char *name); /* the row of this name, which must exist */

/* Prints the row with its value, and adds both to `rows`, with the row's goals. */
void bench_row_measured(json_t *rows, const char *name, double value);

/* columns: [{ "name": "bf16+fast", "rows": [...] }, ...].  Prints each row that was measured. */
void bench_print_table(const json_t *columns);

#endif

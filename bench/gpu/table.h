/* table.h - the rows of the GPU's table, and what is wanted of each: the one place in the tree that says it. */
#ifndef DR_BENCH_GPU_TABLE_H
#define DR_BENCH_GPU_TABLE_H

#include "bench/bench.h"

typedef struct bench_row {
    const char *name, *work, *unit;
    bool less; /* is better */
    double wanted, stretch,
        limit; /* in the unit; 0: none is given.  limit: what the device's arithmetic allows */
    double ratio_wanted, ratio_stretch; /* against diffusers with torch.compile on the same device */
} bench_row;

const bench_row *bench_row_of(const char *name); /* must be one of them */

/* Prints it, and adds it to `rows` with all that is wanted of it. */
void bench_row_measured(json_t *rows, const char *name, double value);

/* columns: [{ "name": "bf16+fast", "rows": [...] }, ...].  A row for each that was measured. */
void bench_print_table(const json_t *columns);

#endif

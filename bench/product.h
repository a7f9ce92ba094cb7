/* product.h - the ceiling: a large matrix product of ours, y [m, kn] = x [m, kn] W [kn, kn], in the device's storage. */
#ifndef DR_BENCH_PRODUCT_H
#define DR_BENCH_PRODUCT_H

#include "bench/bench.h"
#include "model/passes.h"

typedef struct bench_product {
    bench *b;
    int m, kn;

    double gflop;
    dr_passes passes;
    dr_linear *linear;
    void *x, *y; /* device */
} bench_product;

/* `a` has the first block's fields.  Ends with bench_product_close(). */
void bench_product_open(bench_product *a);
void bench_product_close(bench_product *a);

void bench_product_start(bench_product *a);
uint64_t bench_product_wait(bench_product *a); /* a checksum of the first values */

#endif

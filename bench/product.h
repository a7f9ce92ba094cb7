/* product.h - the ceiling: a large matrix product of Darkroom's own, in the device's storage type.
 *
 *     y [m, kn] = x [m, kn] W [kn, kn] */
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

/* Prepare the product.  The caller has set the fields of the first block and zeroed the rest.  End it with
 * bench_product_close(). */
void bench_product_open(bench_product *a);
void bench_product_close(bench_product *a);

void bench_product_start(bench_product *a);    /* begin the product; a GPU is not done with it yet */
uint64_t bench_product_wait(bench_product *a); /* wait, and return a checksum of the first values */

#endif

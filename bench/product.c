#include "bench/product.h"

#include <stdlib.h>

static void body(dr_pass *p, void *arg, dr_pass_size size)
{
    const bench_product *a = arg;
    const dr_tensor x = { .data = a->x,
                          .dtype = dr_device_activation_dtype(a->b->device),
                          .n = size.rows,
                          .h = 1,
                          .w = a->m,
                          .c = a->kn,
                          .ld = a->kn };
    dr_tensor y = x;

    y.data = a->y;
    dr_apply_linear(p, &(dr_linear_args){ .linear = a->linear, .x = x, .y = y });
}

void bench_product_open(bench_product *a)
{
    const size_t values = (size_t)a->m * (size_t)a->kn;
    const dr_dtype dtype = dr_device_activation_dtype(a->b->device);
    float *w = bench_values((size_t)a->kn * (size_t)a->kn, 0.02f);
    dr_error err;

    a->gflop = 2e-9 * a->m * a->kn * a->kn;
    a->passes.device = a->b->device;
    a->x = bench_device_values(a->b, values, 1.0f, dtype);
    a->y = bench_device_values(a->b, values, 0.0f, dtype);
    if (dr_linear_create(&a->linear, a->b->device,
                         &(dr_linear_desc){ .name = "ceiling", .in = a->kn, .out = a->kn, .weight = w },
                         &err))
        bench_die("matrix product", &err);
    free(w);
}

void bench_product_close(bench_product *a)
{
    dr_passes_free(&a->passes);
    dr_linear_free(a->linear);
    dr_device_free(a->b->device, a->x);
    dr_device_free(a->b->device, a->y);
}

void bench_product_start(bench_product *a)
{
    dr_error err;

    if (dr_passes_play(&a->passes, DR_PASS_UNET, (dr_pass_size){ .rows = 1 }, body, a, &err))
        bench_die("matrix product", &err);
}

uint64_t bench_product_wait(bench_product *a)
{
    return bench_device_checksum(a->b, a->y, 4096);
}

/* ops_bench.c - how long single layers of Stable Diffusion take.
 *
 *     build/release/bench/ops_bench [--isa NAME] [--threads N] [--small] [filter]
 *
 * One line for each layer: effective GFLOP/s (the operations of a direct computation, divided by the
 * time), the share of the ceiling, and a checksum of the output.  The ceiling is oneDNN's float32 product
 * of 4096 x 1024 x 1024 on the same threads.  It is timed beside each layer, because other load on the
 * machine comes and goes. */
#include "base/error.h"
#include "ops/ops.h"

#include <dnnl.h>
#include <omp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct layer {
    const char *name;
    int n, h, w, in, out, kernel, stride;
} layer;

static const layer layers[] = {
    { "conv3 320 64x64", 2, 64, 64, 320, 320, 3, 1 },
    { "conv3 640-320 64x64", 2, 64, 64, 640, 320, 3, 1 },
    { "conv3 640 32x32", 2, 32, 32, 640, 640, 3, 1 },
    { "conv3 1920-640 32x32", 2, 32, 32, 1920, 640, 3, 1 },
    { "conv3 1280 16x16", 2, 16, 16, 1280, 1280, 3, 1 },
    { "conv3 2560-1280 16x16", 2, 16, 16, 2560, 1280, 3, 1 },
    { "conv3 1280 8x8", 2, 8, 8, 1280, 1280, 3, 1 },
    { "conv3 320 64x64 /2", 2, 64, 64, 320, 320, 3, 2 },
    { "conv3 512 64x64 vae", 1, 64, 64, 512, 512, 3, 1 },
    { "conv3 512 128x128 vae", 1, 128, 128, 512, 512, 3, 1 },
    { "conv3 256 256x256 vae", 1, 256, 256, 256, 256, 3, 1 },
    { "conv3 128 512x512 vae", 1, 512, 512, 128, 128, 3, 1 },
    { "conv3 128-3 512x512 vae", 1, 512, 512, 128, 3, 3, 1 },
    { "conv3 64 16x16 tiny", 8, 16, 16, 64, 64, 3, 1 },
    { "conv3 128 16x16 tiny", 2, 16, 16, 128, 128, 3, 1 },
    { "conv3 256 8x8 tiny", 2, 8, 8, 256, 256, 3, 1 },
    { "conv3 64 128x128 tiny", 1, 128, 128, 64, 64, 3, 1 },
    { "conv1 960-320 64x64", 2, 64, 64, 960, 320, 1, 1 },
    { "linear 320", 2, 64, 64, 320, 320, 0, 0 },
    { "linear 320-2560", 2, 64, 64, 320, 2560, 0, 0 },
    { "linear 1280-320", 2, 64, 64, 1280, 320, 0, 0 },
    { "linear 640", 2, 32, 32, 640, 640, 0, 0 },
    { "linear 640-5120", 2, 32, 32, 640, 5120, 0, 0 },
    { "linear 5120-1280", 2, 16, 16, 5120, 1280, 0, 0 },
    { "linear 1280 8x8", 2, 8, 8, 1280, 1280, 0, 0 },
    { "linear 768-3072 text", 2, 1, 77, 768, 3072, 0, 0 },
    { "linear 320-1280 time", 2, 1, 1, 320, 1280, 0, 0 },
};

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *must(void *p)
{
    if (!p) {
        fprintf(stderr, "ops_bench: no memory\n");
        exit(1);
    }
    return p;
}

static float *floats(size_t n)
{
    const size_t bytes = (n * sizeof(float) + 63) / 64 * 64;
    float *x = must(aligned_alloc(64, bytes));
    uint32_t seed = 1;

    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (float)(int32_t)seed * 0x1p-31f;
    }
    return x;
}

/* --- the ceiling ------------------------------------------------------------------- */

enum { CEILING_M = 4096, CEILING_N = 1024, CEILING_K = 1024 };

typedef struct ceiling {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_primitive_t product;
    dnnl_exec_arg_t args[3];
} ceiling;

static void check(dnnl_status_t status)
{
    if (status != dnnl_success) {
        fprintf(stderr, "ops_bench: oneDNN status %d\n", (int)status);
        exit(1);
    }
}

static void ceiling_open(ceiling *c)
{
    const dnnl_dims_t dims[3] = { { CEILING_M, CEILING_K },
                                  { CEILING_K, CEILING_N },
                                  { CEILING_M, CEILING_N } };
    const int args[3] = { DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST };
    dnnl_memory_desc_t md[3];
    dnnl_matmul_desc_t desc;
    dnnl_primitive_desc_t pd;

    check(dnnl_engine_create(&c->engine, dnnl_cpu, 0));
    check(dnnl_stream_create(&c->stream, c->engine, dnnl_stream_default_flags));
    for (int i = 0; i < 3; i++)
        check(dnnl_memory_desc_init_by_tag(&md[i], 2, dims[i], dnnl_f32,
                                           i == 1 ? dnnl_format_tag_any : dnnl_ab));
    check(dnnl_matmul_desc_init(&desc, &md[0], &md[1], NULL, &md[2]));
    check(dnnl_primitive_desc_create(&pd, &desc, NULL, c->engine, NULL));
    md[1] = *dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0);
    check(dnnl_primitive_create(&c->product, pd));
    for (int i = 0; i < 3; i++) {
        c->args[i].arg = args[i];
        check(dnnl_memory_create(&c->args[i].memory, &md[i], c->engine,
                                 floats(dnnl_memory_desc_get_size(&md[i]) / sizeof(float))));
    }
    dnnl_primitive_desc_destroy(pd);
}

static double ceiling_seconds(ceiling *c)
{
    const double start = now();

    check(dnnl_primitive_execute(c->product, c->stream, 3, c->args));
    check(dnnl_stream_wait(c->stream));
    return now() - start;
}

/* --- a layer ----------------------------------------------------------------------- */

typedef struct timed {
    double gflops, ceiling_gflops;
    double seconds;
    uint32_t checksum;
    size_t scratch, packed;
} timed;

static uint32_t checksum_of(const float *y, size_t n)
{
    uint32_t sum = 2166136261u; /* FNV-1a, by words */

    for (size_t i = 0; i < n; i++) {
        uint32_t bits;

        memcpy(&bits, &y[i], sizeof(bits));
        sum = (sum ^ bits) * 16777619u;
    }
    return sum;
}

typedef struct layer_run {
    dr_linear *linear;
    dr_conv *conv;
    dr_tensor x, y;
} layer_run;

static void apply(dr_pass *p, const layer_run *r)
{
    if (r->linear)
        dr_apply_linear(p, &(dr_linear_args){ .linear = r->linear, .x = r->x, .y = r->y });
    else
        dr_conv2d(p, &(dr_conv2d_args){ .conv = r->conv, .x = r->x, .y = r->y });
    if (p->error.status) {
        fprintf(stderr, "ops_bench: %s\n", p->error.text);
        exit(1);
    }
}

static dr_tensor tensor(int n, int h, int w, int c)
{
    return (dr_tensor){
        .data = floats((size_t)n * (size_t)h * (size_t)w * (size_t)c), .n = n, .h = h, .w = w, .c = c, .ld = c
    };
}

static void open_layer(layer_run *r, dr_device *device, const layer *l)
{
    const int taps = l->kernel ? l->kernel * l->kernel : 1;
    float *weight = floats((size_t)l->in * (size_t)l->out * (size_t)taps);
    dr_error err;
    dr_status rc;

    r->x = tensor(l->n, l->h, l->w, l->in);
    if (l->kernel) {
        r->y = tensor(l->n, l->h / l->stride, l->w / l->stride, l->out);
        rc = dr_conv_create(&r->conv, device,
                            &(dr_conv_desc){ .name = l->name,
                                             .in = l->in,
                                             .out = l->out,
                                             .kernel = l->kernel,
                                             .stride = l->stride,
                                             .map_pixels = r->y.h * r->y.w,
                                             .weight = weight },
                            &err);
    } else {
        r->y = tensor(l->n, l->h, l->w, l->out);
        rc = dr_linear_create(&r->linear, device,
                              &(dr_linear_desc){
                                  .name = l->name, .in = l->in, .out = l->out, .weight = weight },
                              &err);
    }
    if (rc) {
        fprintf(stderr, "ops_bench: %s\n", err.text);
        exit(1);
    }
    free(weight);
}

static timed time_layer(dr_device *device, ceiling *c, const layer *l, double budget)
{
    const double taps = l->kernel ? l->kernel * l->kernel : 1;
    layer_run r = { 0 };
    dr_arena arena;
    dr_pass p = { .device = device, .arena = &arena, .planning = true };
    double best = 1e9, best_ceiling = 1e9;
    timed t = { 0 };
    dr_error err;
    void *memory;

    open_layer(&r, device, l);
    dr_arena_init(&arena, NULL, SIZE_MAX);
    apply(&p, &r);
    t.scratch = arena.peak;
    t.packed = r.conv ? dr_conv_bytes(r.conv) : dr_linear_bytes(r.linear);
    dr_device_alloc(&memory, device, t.scratch, &err);
    must(memory);
    dr_arena_init(&arena, memory, t.scratch);
    p.planning = false;
    for (double start = now(); best > 1e8 || now() - start < budget;) {
        const double before = now();
        double seconds;

        apply(&p, &r);
        seconds = now() - before;
        best = seconds < best ? seconds : best;
        seconds = ceiling_seconds(c);
        best_ceiling = seconds < best_ceiling ? seconds : best_ceiling;
    }
    t.seconds = best;
    t.gflops = 2e-9 * (double)dr_tensor_pixels(&r.y) * l->in * l->out * taps / best;
    t.ceiling_gflops = 2e-9 * CEILING_M * CEILING_N * CEILING_K / best_ceiling;
    t.checksum = checksum_of(r.y.data, dr_tensor_pixels(&r.y) * (size_t)r.y.c);
    dr_device_free(device, memory);
    dr_linear_free(r.linear);
    dr_conv_free(r.conv);
    free(r.x.data);
    free(r.y.data);
    return t;
}

int main(int argc, char **argv)
{
    dr_device_options options = { .name = "cpu" };
    const char *filter = "";
    double budget = 0.4; /* seconds a layer */
    int small = 0;
    dr_device *device;
    ceiling c;
    dr_error err;

    for (int i = 1; i < argc; i++)
        if (!strcmp(argv[i], "--isa") && i + 1 < argc)
            options.isa = argv[++i];
        else if (!strcmp(argv[i], "--threads") && i + 1 < argc)
            options.threads = atoi(argv[++i]);
        else if (!strcmp(argv[i], "--small"))
            small = 1, budget = 0;
        else
            filter = argv[i];
    if (dr_device_open(&device, &options, &err)) {
        fprintf(stderr, "ops_bench: %s\n", err.text);
        return 1;
    }
    ceiling_open(&c);
    printf("%s\n", dr_device_description(device));
    printf("%-26s %9s %10s %8s %9s %9s  %s\n", "layer", "ms", "GFLOP/s", "ceiling", "packed", "scratch",
           "checksum");
    for (size_t i = 0; i < sizeof(layers) / sizeof(layers[0]); i++) {
        layer l = layers[i];
        timed t;

        if (!strstr(l.name, filter))
            continue;
        if (small) /* small layers of every kind, so that this takes no time */
            l.h = l.h > 8 ? 8 : l.h, l.w = l.w > 8 ? 8 : l.w, l.in = (l.in + 15) / 16,
            l.out = (l.out + 15) / 16;
        t = time_layer(device, &c, &l, budget);
        printf("%-26s %9.2f %10.0f %7.2fx %5.1f MiB %5.1f MiB  %08x\n", l.name, 1e3 * t.seconds, t.gflops,
               t.gflops / t.ceiling_gflops, (double)t.packed / (1 << 20), (double)t.scratch / (1 << 20),
               t.checksum);
        fflush(stdout);
    }
    dr_device_close(device);
    return 0;
}

/* gpu_bench - what the engine costs on a GPU: the table of bench/gpu/table.c, where the time goes, and JSON.
 *
 *     gpu_bench [--json FILE] [--as f16,bf16,f16+fast,f16+cudnn,f16+fp8,f16+fp8_conv] [--seconds S]
 *               [--only NAME] [--quick] [--describe] [--check]
 *
 * Random weights in the published shapes (bench/shapes), once for each way of opening the device
 * (options_of() below), on cuda:0 (CUDA_VISIBLE_DEVICES chooses another); without --as, the first three.
 * --only: runs the cases whose names contain NAME. --quick: runs everything once, with tiny shapes.
 * --describe: only prints which device it is.  --check: only opens the device in each way, which tries its
 * kernels (ops/cuda/self_check.h).  The JSON is written anew after each row, so a bench that is stopped early
 * leaves the rows that it finished.  Run from the repository's root.
 *
 * Two programs are built from this source (tests/gpu/machine.h): one for a real GPU, one for the made-up GPU.
 * Without a GPU the program prints why and ends with code 77. */
#include "bench/gpu/plays.h"
#include "bench/gpu/profile.h"
#include "bench/gpu/table.h"
#include "bench/networks.h"
#include "bench/pictures.h"
#include "bench/product.h"
#include "tests/gpu/machine.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PICTURES_MAX = 2, NETWORKS_MAX = 3, TIMES_MAX = 1000 };

/* The names are those of rows in the table. */
typedef struct pictures_case {
    const char *name;
    const char *memory_name; /* the row for the memory that they took; NULL: none */
    const char *idle_name;   /* the row for the device's share of idleness; NULL: none */
    int count, side, steps;
} pictures_case;

typedef struct network_case {
    const char *name;
    const char *host_name; /* the row for the host's share; NULL: none */
    bench_network_kind kind;
    int rows, samples, side;
} network_case;

typedef struct model_case {
    const char *folder;
    pictures_case pictures[PICTURES_MAX];
    network_case networks[NETWORKS_MAX];
} model_case;

static const model_case models[] = {
    { .folder = "bench/shapes/sd15",
      .pictures = { { "sd15_512_pictures_8", "sd15_512_memory_8", "sd15_512_idle_8", 8, 512, 50 },
                    { "sd15_512_picture_1", NULL, NULL, 1, 512, 50 } },
      .networks = { { "sd15_512_unet_16", NULL, BENCH_UNET, 16, 8, 64 },
                    { "sd15_512_unet_2", NULL, BENCH_UNET, 2, 1, 64 },
                    { "sd15_512_vae_decode", NULL, BENCH_DECODE, 1, 1, 64 } } },
    { .folder = "bench/shapes/sd21",
      .pictures = { { "sd21_768_pictures_4", NULL, NULL, 4, 768, 50 } },
      .networks = { { "sd21_768_unet_8", NULL, BENCH_UNET, 8, 4, 96 } } },
    { .folder = "bench/shapes/small",
      .pictures = { { "small_128_pictures_64", NULL, NULL, 64, 128, 20 } },
      .networks = { { "small_128_unet_128", "small_128_host_share", BENCH_UNET, 128, 64, 16 } } },
};
enum { MODELS = sizeof(models) / sizeof(models[0]) };

static const char QUICK_FOLDER[] = "tests/goldens/models/sd1";
enum { QUICK_SIDE = 16, QUICK_STEPS = 2, QUICK_PICTURES = 2 };

typedef struct gpu_bench {
    bench base;
    const char *json_path; /* NULL: none is written */
    json_t *columns;       /* all of them */
    json_t *rows, *passes; /* of the last one */
    size_t free_bytes;     /* of the device, whoever has the rest, before we opened it */
    size_t own_left;       /* of our share, with nothing in it */
} gpu_bench;

/* --- pictures ----------------------------------------------------------------------------- */

/* Measures how much device memory was taken since before we opened the device.  This includes code, graphs,
 * the libraries' own memory and whatever other processes took meanwhile.  It does not include CUDA's context,
 * which existed by then (the PyTorch side does not count it either). */
static void measure_memory(gpu_bench *g, const char *name)
{
    const double own = (double)(g->own_left - dr_device_memory_left(g->base.device)) / 0x1p30;

    bench_row_measured(g->rows, name, (double)(g->free_bytes - machine_free_bytes()) / 0x1p30);
    printf("    of it %.3f GiB are weights, activations and tables\n", own);
}

/* After one batch to warm up, draws batch after batch without a pause, and measures the share of that time in
 * which no pass was running. */
static void measure_idle(gpu_bench *g, const bench_pictures *p, dr_run *run, const char *name, double batch_s)
{
    const int enough = g->base.quick ? 1 : (int)(g->base.seconds / batch_s),
              batches = enough < 2 ? 3 : enough + 1;
    dr_device_load before, after;

    bench_pictures_stream(p, run, 1);
    dr_device_pause(g->base.device);
    before = dr_device_load_of(g->base.device);
    bench_pictures_stream(p, run, batches);
    dr_device_pause(g->base.device);
    after = dr_device_load_of(g->base.device);
    bench_row_measured(g->rows, name,
                       100 * (after.idle_s - before.idle_s) / (after.seconds - before.seconds));
    printf("    %d batches, %.4f s idle of %.4f\n", batches, after.idle_s - before.idle_s,
           after.seconds - before.seconds);
}

/* Opens one run and draws batch after batch with it, as a worker does. */
static void measure_pictures(gpu_bench *g, dr_model *model, const pictures_case *c)
{
    bench *b = &g->base;
    const bool one = bench_row_of(c->name)->less;
    bench_pictures p = {
        .model = model, .count = c->count, .side = c->side, .steps = c->steps, .guidance_scale = 8.0f
    };
    double times[TIMES_MAX], begin, median;
    uint64_t checksum;
    dr_run *run;
    int runs = 0;

    if (b->quick) {
        p.count = c->count < QUICK_PICTURES ? c->count : QUICK_PICTURES;
        p.side = QUICK_SIDE;
        p.steps = QUICK_STEPS;
    }
    run = bench_pictures_open(&p);
    checksum = bench_pictures_draw(&p, run);
    begin = bench_now();
    do {
        const double start = bench_now();

        bench_pictures_draw(&p, run);
        times[runs++] = bench_now() - start;
    } while (!b->quick && runs < TIMES_MAX && (runs < 3 || bench_now() - begin < b->seconds));
    median = bench_median(times, runs);
    bench_row_measured(g->rows, c->name, one ? median : p.count / median);
    printf("    %d batches, %.4f..%.4f s, checksum %016llx\n", runs, times[0], times[runs - 1],
           (unsigned long long)checksum);
    if (c->memory_name)
        measure_memory(g, c->memory_name);
    if (c->idle_name)
        measure_idle(g, &p, run, c->idle_name, median);
    dr_run_close(run);
}

/* --- networks ------------------------------------------------------------------------------ */

static void start_network(void *arg)
{
    bench_network_start(arg);
}

static void start_plain(void *arg)
{
    bench_network_start_plain(arg);
}

static void print_pass(const bench *b, const bench_played *t, const bench_played *plain,
                       const bench_profile *f, uint64_t checksum)
{
    printf("    ");
    bench_print_played(t);
    printf(", %.1f TFLOP/s, %.2f of the product, checksum %016llx\n    launch by launch ",
           1e-3 * f->gflop / t->seconds, b->ceiling > 0 ? f->gflop / t->seconds / b->ceiling : 0,
           (unsigned long long)checksum);
    bench_print_played(plain);
    printf(
        "; the host starts it in %.3f ms (launch by launch %.3f)\n    its operators, each by itself, %.3f "
        "ms: %.2f of the "
        "pass\n",
        1e3 * t->host_s, 1e3 * plain->host_s, 1e3 * f->seconds, f->seconds / t->seconds);
}

static void measure_network(gpu_bench *g, dr_model *model, const network_case *c)
{
    bench *b = &g->base;
    bench_network n = {
        .b = b, .model = model, .kind = c->kind, .rows = c->rows, .samples = c->samples, .side = c->side
    };
    bench_played t, plain;
    bench_profile *f = malloc(sizeof(*f));
    uint64_t checksum;

    dr_assert(f);
    if (b->quick) {
        n.side = 2;
        n.samples = 1;
        n.rows = c->rows < 2 ? c->rows : 2;
    }
    bench_network_open(&n);
    t = bench_time_plays(b, &(bench_plays){ .start = start_network, .arg = &n, .out = n.out });
    checksum = bench_network_wait(&n);
    plain = bench_time_plays(b, &(bench_plays){ .start = start_plain, .arg = &n, .out = n.out });
    bench_profile_network(f, &n);
    bench_row_measured(g->rows, c->name, 1e3 * t.seconds);
    print_pass(b, &t, &plain, f, checksum);
    bench_print_profile(f, b->ceiling);
    if (c->host_name)
        bench_row_measured(g->rows, c->host_name, t.host_s / t.seconds);
    json_array_append_new(g->passes, json_pack("{s:s, s:o, s:o, s:f, s:f, s:o}", "name", c->name, "pass",
                                               bench_played_json(&t), "launch_by_launch",
                                               bench_played_json(&plain), "gflop", f->gflop, "operators_s",
                                               f->seconds, "operators", bench_profile_json(f)));
    bench_network_close(&n);
    free(f);
}

static void save(const gpu_bench *g)
{
    if (g->json_path)
        bench_write_json(json_pack("{s:O}", "columns", g->columns), g->json_path);
}

/* --- everything, in one column --------------------------------------------------------------- */

static void start_product(void *arg)
{
    bench_product_start(arg);
}

/* Large enough that no device is faster with a larger one. */
static void measure_ceiling(gpu_bench *g)
{
    bench *b = &g->base;
    bench_product a = { .b = b, .m = b->quick ? 64 : 8192, .kn = b->quick ? 64 : 8192 };
    bench_played t;

    bench_product_open(&a);
    t = bench_time_plays(b, &(bench_plays){ .start = start_product, .arg = &a, .out = a.y });
    b->ceiling = a.gflop / t.seconds;
    printf("%-24s %.1f TFLOP/s, ", "product", 1e-3 * b->ceiling);
    bench_print_played(&t);
    printf("\n");
    bench_product_close(&a);
}

static bool wants(const bench *b, const char *name, const char *second_name)
{
    return name && (bench_wanted(b, name) || (second_name && bench_wanted(b, second_name)));
}

static void measure_model(gpu_bench *g, const model_case *m)
{
    bench *b = &g->base;
    dr_model *model = NULL;

    for (int i = 0; i < PICTURES_MAX + NETWORKS_MAX; i++) {
        const bool pictures = i < PICTURES_MAX;
        const pictures_case *p = &m->pictures[pictures ? i : 0];
        const network_case *n = &m->networks[pictures ? 0 : i - PICTURES_MAX];

        if (pictures ? !wants(b, p->name, p->memory_name) && !wants(b, p->idle_name, NULL)
                     : !wants(b, n->name, n->host_name))
            continue;
        if (!model)
            model = bench_open_model(b, b->quick ? QUICK_FOLDER : m->folder);
        if (pictures)
            measure_pictures(g, model, p);
        else
            measure_network(g, model, n);
        save(g);
    }
    dr_model_close(model);
}

/* "f16+fast": options that are not named keep their defaults. cudnn: cuDNN does all operators that it can. */
static dr_device_options options_of(const char *column)
{
    dr_device_options o = { .name = "cuda:0" };
    char *words = strdup(column), *rest = words;

    dr_assert(words);
    for (const char *word; (word = strsep(&rest, "+"));)
        if (!strcmp(word, "bf16"))
            o.storage = "bf16";
        else if (!strcmp(word, "f16"))
            o.storage = "f16";
        else if (!strcmp(word, "fast"))
            o.fast = true;
        else if (!strcmp(word, "cudnn"))
            o.convolutions = o.attention = "cudnn";
        else if (!strcmp(word, "cudnn_conv"))
            o.convolutions = "cudnn";
        else if (!strcmp(word, "cudnn_attention"))
            o.attention = "cudnn";
        else if (!strcmp(word, "sm_80"))
            o.isa = "sm_80";
        else if (!strcmp(word, "fp8"))
            o.fp8 = "all";
        else if (!strcmp(word, "fp8_conv"))
            o.fp8 = "convolutions";
        else
            bench_die(column, &(dr_error){ .text = "not f16, bf16, fast, cudnn, cudnn_conv, cudnn_attention, "
                                                   "sm_80, fp8 or fp8_conv, with + between" });
    free(words);
    return o;
}

static void open_device(bench *b, const char *column)
{
    const dr_device_options options = options_of(column);
    const double start = bench_now();
    const char *note;
    dr_error err;

    if (dr_device_open(&b->device, &options, &err))
        bench_die("device", &err);
    printf("\n%s\n    opened as %s and checked in %.2f s: %s\n", dr_device_description(b->device), column,
           bench_now() - start, dr_device_arithmetic(b->device));
    note = dr_device_note(b->device);
    if (note)
        printf("%s\n", note);
    fflush(stdout);
}

static void check_column(gpu_bench *g, const char *column)
{
    open_device(&g->base, column);
    dr_device_close(g->base.device);
}

static void measure_column(gpu_bench *g, const char *column)
{
    bench *b = &g->base;

    open_device(b, column);
    g->rows = json_array();
    g->passes = json_array();
    measure_ceiling(g);
    g->own_left = dr_device_memory_left(b->device);
    json_array_append_new(g->columns, json_pack("{s:s, s:s, s:s, s:f, s:o, s:o}", "name", column, "device",
                                                dr_device_description(b->device), "arithmetic",
                                                dr_device_arithmetic(b->device), "product_gflops", b->ceiling,
                                                "rows", g->rows, "passes", g->passes));
    save(g);
    for (int i = 0; i < MODELS; i++)
        measure_model(g, &models[i]);
    dr_device_close(b->device);
}

static void for_each_column(gpu_bench *g, const char *columns, void (*what)(gpu_bench *, const char *))
{
    char *names = strdup(columns), *rest = names;

    dr_assert(names);
    for (const char *name; (name = strsep(&rest, ","));)
        what(g, name);
    free(names);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        { "json", required_argument, NULL, 'j' },    { "as", required_argument, NULL, 'a' },
        { "seconds", required_argument, NULL, 's' }, { "only", required_argument, NULL, 'o' },
        { "quick", no_argument, NULL, 'q' },         { "describe", no_argument, NULL, 'd' },
        { "check", no_argument, NULL, 'c' },         { NULL, 0, NULL, 0 },
    };
    gpu_bench g = { .base = { .seconds = 3 } };
    const char *columns = "f16,bf16,f16+fast";
    bool describe = false, check = false;
    int c, absent;

    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
        switch (c) {
        case 'j':
            g.json_path = optarg;
            break;
        case 'a':
            columns = optarg;
            break;
        case 's':
            g.base.seconds = atof(optarg);
            break;
        case 'o':
            g.base.only = optarg;
            break;
        case 'q':
            g.base.quick = true;
            break;
        case 'd':
            describe = true;
            break;
        case 'c':
            check = true;
            break;
        default:
            return 2;
        }
    absent = machine_begin();
    if (absent || describe)
        return absent;
    g.free_bytes = machine_free_bytes();
    if (check) {
        for_each_column(&g, columns, check_column);
        return 0;
    }
    g.columns = json_array();
    for_each_column(&g, columns, measure_column);
    bench_print_table(g.columns);
    save(&g);
    json_decref(g.columns);
    return 0;
}

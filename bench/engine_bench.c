/* engine_bench - what the engine costs: one table, and JSON for bench/peers.
 *
 *     engine_bench [--json FILE] [--device NAME] [--threads N] [--isa NAME] [--seconds S] [--only NAME] [--quick]
 *
 * Random weights in the published shapes (bench/shapes).  Each case runs once to warm up, then for
 * at least S seconds and three times; the median is printed, as seconds, as GFLOP/s, and as a
 * fraction of what this machine's matrix product reached in the same run.  --quick runs the
 * smallest case once, so that `make test` keeps this program alive.
 *
 * FLOPs count two per multiply-add of the plain algorithm, so a Winograd convolution can
 * beat the ceiling. */
#include "base/half.h"
#include "model/model.h"
#include "model/passes.h"

#include <getopt.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { RUNS_MAX = 1000 };

typedef struct bench {
    dr_device *device;
    double seconds; /* per case, at least */
    const char *only;
    bool quick;
    double ceiling; /* GFLOP/s of a large matrix product */
    json_t *cases;
} bench;

static void die(const char *what, const dr_error *err)
{
    fprintf(stderr, "engine_bench: %s: %s\n", what, err->text);
    exit(1);
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

/* --- one case ---------------------------------------------------------------------------- */

typedef struct timed_case {
    const char *name;
    double gflop;               /* of one run; 0: not known */
    uint64_t (*run)(void *arg); /* gives a checksum of its output */
    void *arg;
} timed_case;

static bool wanted(const bench *b, const char *name)
{
    return !b->only || strstr(name, b->only);
}

static double time_case(bench *b, const timed_case *c)
{
    double times[RUNS_MAX], begin, median;
    const uint64_t checksum = c->run(c->arg);
    int runs = 0;

    begin = now();
    do {
        const double start = now();

        c->run(c->arg);
        times[runs++] = now() - start;
    } while (!b->quick && runs < RUNS_MAX && (runs < 3 || now() - begin < b->seconds));
    qsort(times, (size_t)runs, sizeof(times[0]), by_value);
    median = times[runs / 2];
    printf("%-34s %9.4f s", c->name, median);
    if (c->gflop > 0)
        printf("  %7.0f GFLOP/s  %5.2f of the ceiling", c->gflop / median,
               b->ceiling > 0 ? c->gflop / median / b->ceiling : 1.0);
    printf("  (%d runs, %.4f..%.4f, checksum %016llx)\n", runs, times[0], times[runs - 1],
           (unsigned long long)checksum);
    json_array_append_new(b->cases, json_pack("{s:s, s:f, s:f, s:f, s:i, s:f}", "name", c->name, "median_s",
                                              median, "min_s", times[0], "max_s", times[runs - 1], "runs",
                                              runs, "gflop", c->gflop));
    fflush(stdout);
    return median;
}

static uint64_t checksum_of(const void *bytes, size_t size)
{
    uint64_t hash = 14695981039346656037u; /* FNV-1a */

    for (size_t i = 0; i < size; i++)
        hash = (hash ^ ((const unsigned char *)bytes)[i]) * 1099511628211u;
    return hash;
}

/* --- networks alone ----------------------------------------------------------------------- */

typedef struct network {
    bench *b;
    dr_model *model;
    dr_passes passes;
    dr_pass_kind kind;
    dr_pass_body body;
    int rows, side; /* latents; the UNet's rows are all of the first, as a step with guidance has them */
    dr_unet_context context;
    float *time_table;
    void *in, *out, *index; /* device */
    size_t out_bytes;
} network;

/* Values from -scale to scale. */
static float *filled(size_t count, float scale)
{
    float *values = malloc(count * sizeof(*values));
    uint32_t random = 1;

    dr_assert(values);
    for (size_t i = 0; i < count; i++) {
        random = random * 1664525u + 1013904223u;
        values[i] = scale > 0.0f ? scale * ((float)(random >> 8) * 0x1p-23f - 1.0f) : 0.0f;
    }
    return values;
}

/* Such values on the device. */
static void *device_filled(bench *b, size_t count, float scale, dr_dtype dtype)
{
    const size_t bytes = count * dr_dtype_bytes(dtype);
    float *values = filled(count, scale);
    uint16_t *halves = malloc(count * sizeof(*halves));
    const void *from = dtype == DR_F32 ? (const void *)values : halves;
    dr_error err;
    void *p;

    dr_assert(halves);
    for (size_t i = 0; i < count; i++)
        halves[i] = dtype == DR_F16 ? dr_f16_from_float(values[i]) : dr_bf16_from_float(values[i]);
    if (dr_device_alloc(&p, b->device, bytes, &err) || dr_device_upload(b->device, p, from, bytes, &err))
        die("memory", &err);
    free(halves);
    free(values);
    return p;
}

/* Of the device's memory; waits for it, so that what is timed is done. */
static uint64_t device_checksum(bench *b, const void *from, size_t size)
{
    void *bytes = malloc(size);
    dr_error err;

    dr_assert(bytes);
    if (dr_device_download(b->device, bytes, from, size, &err))
        die("download", &err);
    const uint64_t checksum = checksum_of(bytes, size);
    free(bytes);
    return checksum;
}

static uint64_t play_network(void *arg)
{
    network *n = arg;
    dr_error err;

    if (dr_passes_play(&n->passes, n->kind, (dr_pass_size){ .rows = n->rows }, n->body, n, &err))
        die("pass", &err);
    return device_checksum(n->b, n->out, n->out_bytes);
}

static dr_tensor latents_of(const network *n, void *data)
{
    return (dr_tensor){
        .data = data, .dtype = DR_F32, .n = n->rows, .h = n->side, .w = n->side, .c = 4, .ld = 4
    };
}

static void unet_body(dr_pass *p, void *arg, dr_pass_size size)
{
    const network *n = arg;
    (void)size;

    dr_unet_forward(p, n->model->unet,
                    &(dr_unet_args){ .x = dr_tensor_rows(latents_of(n, n->in), 0, 1),
                                     .out = latents_of(n, n->out),
                                     .x_row = n->index,
                                     .context = &n->context,
                                     .context_row = n->index,
                                     .time_table = n->time_table,
                                     .time_row = n->index });
}

static void decode_body(dr_pass *p, void *arg, dr_pass_size size)
{
    const network *n = arg;
    const int side = n->side * dr_vae_factor(n->model->vae);
    (void)size;

    dr_vae_decode(p, n->model->vae, latents_of(n, n->in),
                  (dr_tensor){
                      .data = n->out, .dtype = DR_F32, .n = n->rows, .h = side, .w = side, .c = 3, .ld = 3 });
}

static void text_body(dr_pass *p, void *arg, dr_pass_size size)
{
    const network *n = arg;
    dr_tensor embeds = dr_text_encoder_forward(p, n->model->text_encoder, n->index, size.rows);

    dr_tensor out = embeds;
    out.data = n->out;
    out.dtype = DR_F32;
    dr_scale(p, &(dr_scale_args){ .x = embeds, .y = out, .factor = 1.0f });
    dr_release(p, &embeds);
}

static void time_network(bench *b, network n, const char *name, double gflop)
{
    const size_t latents = (size_t)n.rows * (size_t)n.side * (size_t)n.side * 4;

    if (!wanted(b, name))
        return;
    n.b = b;
    n.passes.device = b->device;
    n.in = device_filled(b, latents, 1.0f, DR_F32);
    n.index = device_filled(b, (size_t)n.rows * DR_TOKENS, 0.0f, DR_F32);
    n.context.rows = 1;
    n.context.data = device_filled(b, dr_unet_context_bytes(n.model->unet, 1) / sizeof(float), 0.5f, DR_F32);
    n.time_table = device_filled(b, (size_t)dr_unet_time_channels(n.model->unet), 0.5f, DR_F32);
    if (!n.out_bytes)
        n.out_bytes = latents * sizeof(float);
    n.out = device_filled(b, n.out_bytes / sizeof(float), 0.0f, DR_F32);
    time_case(b, &(timed_case){ .name = name, .gflop = gflop, .run = play_network, .arg = &n });
    dr_passes_free(&n.passes);
    dr_device_free(b->device, n.in);
    dr_device_free(b->device, n.out);
    dr_device_free(b->device, n.index);
    dr_device_free(b->device, n.context.data);
    dr_device_free(b->device, n.time_table);
}

static size_t resident_peak(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (size_t)usage.ru_maxrss * 1024;
}

static dr_model *open_shape(bench *b, const char *shape)
{
    char folder[128];
    dr_model *model;
    dr_error err;

    snprintf(folder, sizeof(folder), "bench/shapes/%s", shape);
    if (dr_model_open_random(&model, b->device, folder, 1, &err))
        die(folder, &err);
    return model;
}

/* FLOPs of SD 1.5 at 512x512: 803.3 G a UNet row, 2514 G a decode, 13.3 G a prompt, counted from the
 * layers' shapes. */
static void bench_sd15(bench *b)
{
    const size_t pixels = 512 * 512 * 3 * sizeof(float), embeds = 77 * 768 * sizeof(float);
    dr_model *m;

    if (!wanted(b, "sd15_unet_2rows") && !wanted(b, "sd15_unet_1row") && !wanted(b, "sd15_vae_decode") &&
        !wanted(b, "sd15_text_2prompts"))
        return;
    m = open_shape(b, "sd15");
    time_network(b,
                 (network){ .model = m,
                            .kind = DR_PASS_TEXT,
                            .body = text_body,
                            .rows = 2,
                            .side = 64,
                            .out_bytes = 2 * embeds },
                 "sd15_text_2prompts", 2 * 13.3);
    time_network(b, (network){ .model = m, .kind = DR_PASS_UNET, .body = unet_body, .rows = 1, .side = 64 },
                 "sd15_unet_1row", 803.3);
    time_network(b, (network){ .model = m, .kind = DR_PASS_UNET, .body = unet_body, .rows = 2, .side = 64 },
                 "sd15_unet_2rows", 2 * 803.3);
    time_network(b,
                 (network){ .model = m,
                            .kind = DR_PASS_DECODE,
                            .body = decode_body,
                            .rows = 1,
                            .side = 64,
                            .out_bytes = pixels },
                 "sd15_vae_decode", 2514);
    dr_model_close(m);
}

/* --- whole pictures -------------------------------------------------------------------------- */

typedef struct pictures {
    dr_model *model;
    int count;
    uint8_t *rgb;
} pictures;

enum { SMALL_SIDE = 128, SMALL_STEPS = 20 };

/* Prompts to pixels, as a batch of compatible jobs. */
static uint64_t draw_pictures(void *arg)
{
    const pictures *a = arg;
    static const char *const prompts[8] = { "a red apple", "a dog", "a house on a hill", "the sea at night",
                                            "a green car", "a cat", "an old book",       "a smiling sun" };
    const size_t bytes = SMALL_SIDE * SMALL_SIDE * 3;
    int sample[8];
    dr_run *run;
    dr_error err;

    if (dr_run_open(&run, a->model,
                    &(dr_run_options){ .width = SMALL_SIDE, .height = SMALL_SIDE, .samples_max = a->count },
                    &err))
        die("run", &err);
    for (int i = 0; i < a->count; i++)
        if (dr_run_add(run,
                       &(dr_text_to_image){ .prompt = prompts[i],
                                            .prompt_bytes = strlen(prompts[i]),
                                            .steps = SMALL_STEPS,
                                            .guidance_scale = 7.5f,
                                            .sampler = DR_SAMPLER_DDIM,
                                            .seed = (uint64_t)i },
                       &sample[i], &err))
            die("add", &err);
    for (int step = 0; step < SMALL_STEPS; step++)
        if (dr_run_step(run, &err))
            die("step", &err);
    for (int i = 0; i < a->count; i++)
        if (dr_run_finish(run, sample[i], a->rgb + (size_t)i * bytes, &err))
            die("finish", &err);
    dr_run_close(run);
    return checksum_of(a->rgb, (size_t)a->count * bytes);
}

static void bench_small(bench *b)
{
    pictures p = { .count = 1 };

    if (!wanted(b, "small_picture_1") && !wanted(b, "small_pictures_8"))
        return;
    p.model = open_shape(b, "small");
    p.rgb = malloc((size_t)8 * SMALL_SIDE * SMALL_SIDE * 3);
    if (wanted(b, "small_picture_1"))
        time_case(b, &(timed_case){ .name = "small_picture_1", .run = draw_pictures, .arg = &p });
    p.count = 8;
    if (wanted(b, "small_pictures_8") && !b->quick)
        time_case(b, &(timed_case){ .name = "small_pictures_8", .run = draw_pictures, .arg = &p });
    free(p.rgb);
    dr_model_close(p.model);
}

/* The most memory that drawing one SD 1.5 picture at 512x512 takes, beyond the float32 weights. */
static void bench_memory(bench *b)
{
    const size_t before = resident_peak();
    const double weights = 4.0 * (859520964.0 + 123060480.0 + 83653863.0);
    uint8_t *rgb = malloc(512 * 512 * 3);
    dr_model *m = open_shape(b, "sd15");
    dr_run *run;
    dr_error err;
    int sample;

    if (dr_run_open(&run, m, &(dr_run_options){ .width = 512, .height = 512, .samples_max = 1 }, &err) ||
        dr_run_add(run,
                   &(dr_text_to_image){
                       .prompt = "a dog", .prompt_bytes = 5, .steps = 1, .guidance_scale = 7.5f },
                   &sample, &err) ||
        dr_run_step(run, &err) || dr_run_step(run, &err) || dr_run_finish(run, sample, rgb, &err))
        die("memory", &err);
    printf("%-34s %9.3f GiB at the peak; float32 weights %.3f GiB, more than them: %.3f GiB\n",
           "sd15_memory_512", (double)(resident_peak() - before) / 0x1p30, weights / 0x1p30,
           ((double)(resident_peak() - before) - weights) / 0x1p30);
    json_array_append_new(b->cases, json_pack("{s:s, s:f, s:f}", "name", "sd15_memory_512", "peak_bytes",
                                              (double)(resident_peak() - before), "weight_bytes", weights));
    free(rgb);
    dr_run_close(run);
    dr_model_close(m);
}

/* --- the ceiling ------------------------------------------------------------------------------ */

enum { CEILING_M = 4096, CEILING_KN = 2048 };

typedef struct product {
    bench *b;
    dr_passes passes;
    dr_linear *linear;
    void *x, *y; /* of the device's activation dtype */
} product;

static void product_body(dr_pass *p, void *arg, dr_pass_size size)
{
    const product *a = arg;
    const dr_tensor x = { .data = a->x,
                          .dtype = dr_device_activation_dtype(a->b->device),
                          .n = size.rows,
                          .h = 1,
                          .w = CEILING_M,
                          .c = CEILING_KN,
                          .ld = CEILING_KN };
    dr_tensor y = x;

    y.data = a->y;
    dr_apply_linear(p, &(dr_linear_args){ .linear = a->linear, .x = x, .y = y });
}

static uint64_t play_product(void *arg)
{
    product *a = arg;
    dr_error err;

    if (dr_passes_play(&a->passes, DR_PASS_UNET, (dr_pass_size){ .rows = 1 }, product_body, a, &err))
        die("matrix product", &err);
    return device_checksum(a->b, a->y, 4096);
}

static void measure_ceiling(bench *b)
{
    const double gflop = 2e-9 * CEILING_M * CEILING_KN * CEILING_KN;
    const size_t weights = (size_t)CEILING_KN * CEILING_KN;
    const dr_dtype dtype = dr_device_activation_dtype(b->device);
    product a = { .b = b, .passes = { .device = b->device } };
    float *w = filled(weights, 0.02f);
    dr_error err;

    a.x = device_filled(b, (size_t)CEILING_M * CEILING_KN, 1.0f, dtype);
    a.y = device_filled(b, (size_t)CEILING_M * CEILING_KN, 0.0f, dtype);
    if (dr_linear_create(&a.linear, b->device,
                         &(dr_linear_desc){
                             .name = "ceiling", .in = CEILING_KN, .out = CEILING_KN, .weight = w },
                         &err))
        die("matrix product", &err);
    b->ceiling =
        gflop / time_case(b, &(timed_case){
                                 .name = "matmul_ceiling", .gflop = gflop, .run = play_product, .arg = &a });
    dr_passes_free(&a.passes);
    dr_linear_free(a.linear);
    dr_device_free(b->device, a.x);
    dr_device_free(b->device, a.y);
    free(w);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        { "json", required_argument, NULL, 'j' },    { "device", required_argument, NULL, 'd' },
        { "threads", required_argument, NULL, 't' }, { "seconds", required_argument, NULL, 's' },
        { "only", required_argument, NULL, 'o' },    { "isa", required_argument, NULL, 'i' },
        { "quick", no_argument, NULL, 'q' },         { NULL, 0, NULL, 0 },
    };
    bench b = { .seconds = 5, .cases = json_array() };
    dr_device_options device = { .name = "cpu" };
    const char *json_path = NULL;
    dr_error err;
    int c;

    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
        switch (c) {
        case 'j':
            json_path = optarg;
            break;
        case 'd':
            device.name = optarg;
            break;
        case 't':
            device.threads = atoi(optarg);
            break;
        case 'i':
            device.isa = optarg;
            break;
        case 's':
            b.seconds = atof(optarg);
            break;
        case 'o':
            b.only = optarg;
            break;
        case 'q':
            b.quick = true, b.only = "small_picture_1";
            break;
        default:
            return 2;
        }
    if (dr_device_open(&b.device, &device, &err))
        die("device", &err);
    printf("%s\n", dr_device_description(b.device));
    if (wanted(&b, "sd15_memory_512"))
        bench_memory(&b); /* first: the peak is the whole process' */
    if (!b.quick)
        measure_ceiling(&b);
    bench_small(&b);
    bench_sd15(&b);
    if (json_path) {
        json_t *out = json_pack("{s:s, s:O}", "device", dr_device_description(b.device), "cases", b.cases);

        if (json_dump_file(out, json_path, JSON_INDENT(2) | JSON_REAL_PRECISION(6))) {
            fprintf(stderr, "engine_bench: %s can't be written\n", json_path);
            return 1;
        }
        json_decref(out);
    }
    json_decref(b.cases);
    dr_device_close(b.device);
    return 0;
}

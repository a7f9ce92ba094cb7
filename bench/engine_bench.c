/* engine_bench - how long the engine takes: a table, and JSON for bench/peers.
 *
 *     engine_bench [--json FILE] [--device NAME] [--threads N] [--isa NAME] [--seconds S] [--only NAME]
 *                  [--quick]
 *
 * The models have random weights in the published shapes (bench/shapes).  Each case runs once to warm up,
 * and then for S seconds and at least three times.  The median is printed in seconds, in GFLOP/s, and as a
 * fraction of what a large matrix product reached in the same run.  --quick runs the smallest case once,
 * so that `make test` sees that this program works.
 *
 * FLOPs count two for each multiply-add of the plain algorithm, so a Winograd convolution can be above the
 * ceiling. */
#include "bench/networks.h"
#include "bench/pictures.h"
#include "bench/product.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

/* --- networks alone ----------------------------------------------------------------------- */

static uint64_t play_network(void *arg)
{
    bench_network_start(arg);
    return bench_network_wait(arg);
}

static void time_network(bench *b, bench_network n, const char *name, double gflop)
{
    if (!bench_wanted(b, name))
        return;
    n.b = b;
    bench_network_open(&n);
    bench_time_case(b, &(bench_case){ .name = name, .gflop = gflop, .run = play_network, .arg = &n });
    bench_network_close(&n);
}

/* FLOPs of SD 1.5 at 512x512, counted from the layers' shapes: 803.3 G for a row of the UNet, 2514 G for a
 * decode, 13.3 G for a prompt.  The UNet's rows are all of one sample, as with guidance. */
static void bench_sd15(bench *b)
{
    dr_model *m;

    if (!bench_wanted(b, "sd15_unet_2rows") && !bench_wanted(b, "sd15_unet_1row") &&
        !bench_wanted(b, "sd15_vae_decode") && !bench_wanted(b, "sd15_text_2prompts"))
        return;
    m = bench_open_model(b, "bench/shapes/sd15");
    time_network(b, (bench_network){ .model = m, .kind = BENCH_TEXT, .rows = 2, .side = 64 },
                 "sd15_text_2prompts", 2 * 13.3);
    time_network(b, (bench_network){ .model = m, .kind = BENCH_UNET, .rows = 1, .samples = 1, .side = 64 },
                 "sd15_unet_1row", 803.3);
    time_network(b, (bench_network){ .model = m, .kind = BENCH_UNET, .rows = 2, .samples = 1, .side = 64 },
                 "sd15_unet_2rows", 2 * 803.3);
    time_network(b, (bench_network){ .model = m, .kind = BENCH_DECODE, .rows = 1, .side = 64 },
                 "sd15_vae_decode", 2514);
    dr_model_close(m);
}

/* --- whole pictures -------------------------------------------------------------------------- */

static uint64_t draw_pictures(void *arg)
{
    dr_run *run = bench_pictures_open(arg);
    const uint64_t checksum = bench_pictures_draw(arg, run);

    dr_run_close(run);
    return checksum;
}

static void bench_small(bench *b)
{
    bench_pictures p = { .count = 1, .side = 128, .steps = 20, .guidance_scale = 7.5f };

    if (!bench_wanted(b, "small_picture_1") && !bench_wanted(b, "small_pictures_8"))
        return;
    p.model = bench_open_model(b, "bench/shapes/small");
    if (bench_wanted(b, "small_picture_1"))
        bench_time_case(b, &(bench_case){ .name = "small_picture_1", .run = draw_pictures, .arg = &p });
    p.count = 8;
    if (bench_wanted(b, "small_pictures_8") && !b->quick)
        bench_time_case(b, &(bench_case){ .name = "small_pictures_8", .run = draw_pictures, .arg = &p });
    dr_model_close(p.model);
}

static size_t resident_peak(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (size_t)usage.ru_maxrss * 1024;
}

/* The peak memory of drawing one SD 1.5 picture at 512x512, in all and without the float32 weights. */
static void bench_memory(bench *b)
{
    const size_t before = resident_peak();
    const double weights = 4.0 * (859520964.0 + 123060480.0 + 83653863.0);
    uint8_t *rgb = malloc(512 * 512 * 3);
    dr_model *m = bench_open_model(b, "bench/shapes/sd15");
    dr_run *run;
    dr_error err;
    int sample;

    if (dr_run_open(&run, m, &(dr_run_options){ .width = 512, .height = 512, .samples_max = 1 }, &err) ||
        dr_run_add(run,
                   &(dr_text_to_image){
                       .prompt = "a dog", .prompt_bytes = 5, .steps = 1, .guidance_scale = 7.5f },
                   &sample, &err) ||
        dr_run_step(run, &err) || dr_run_step(run, &err) || dr_run_picture_and_drop(run, sample, rgb, &err))
        bench_die("memory", &err);
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

static uint64_t play_product(void *arg)
{
    bench_product_start(arg);
    return bench_product_wait(arg);
}

static void measure_ceiling(bench *b)
{
    bench_product a = { .b = b, .m = 4096, .kn = 2048 };

    bench_product_open(&a);
    b->ceiling =
        a.gflop /
        bench_time_case(b, &(bench_case){
                               .name = "matmul_ceiling", .gflop = a.gflop, .run = play_product, .arg = &a });
    bench_product_close(&a);
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
        bench_die("device", &err);
    printf("%s\n", dr_device_description(b.device));
    if (bench_wanted(&b, "sd15_memory_512"))
        bench_memory(&b); /* first, because the peak is measured for the whole process */
    if (!b.quick)
        measure_ceiling(&b);
    bench_small(&b);
    bench_sd15(&b);
    if (json_path)
        bench_write_json(json_pack("{s:s, s:O}", "device", dr_device_description(b.device), "cases", b.cases),
                         json_path);
    json_decref(b.cases);
    dr_device_close(b.device);
    return 0;
}

#include "bench/bench.h"

#include "base/half.h"
#include "model/model.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { RUNS_MAX = 1000 };

_Noreturn void bench_die(const char *what, const dr_error *err)
{
    fprintf(stderr, "bench: %s: %s\n", what, err->text);
    exit(1);
}

/* --- time ----------------------------------------------------------------------------- */

double bench_now(void)
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

double bench_median(double *times, int count)
{
    qsort(times, (size_t)count, sizeof(times[0]), by_value);
    return times[count / 2];
}

/* --- one case ---------------------------------------------------------------------------- */

bool bench_wanted(const bench *b, const char *name)
{
    return !b->only || strstr(name, b->only);
}

double bench_time_case(bench *b, const bench_case *c)
{
    double times[RUNS_MAX], begin, median;
    const uint64_t checksum = c->run(c->arg);
    int runs = 0;

    begin = bench_now();
    do {
        const double start = bench_now();

        c->run(c->arg);
        times[runs++] = bench_now() - start;
    } while (!b->quick && runs < RUNS_MAX && (runs < 3 || bench_now() - begin < b->seconds));
    median = bench_median(times, runs);
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

/* --- models and memory --------------------------------------------------------------------- */

dr_model *bench_open_model(bench *b, const char *folder)
{
    dr_model *model;
    dr_error err;

    if (dr_model_open_random(&model, b->device, folder, 1, &err))
        bench_die(folder, &err);
    return model;
}

float *bench_values(size_t count, float scale)
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

void *bench_device_copy(bench *b, const void *host, size_t bytes)
{
    dr_error err;
    void *p;

    if (dr_device_alloc(&p, b->device, bytes, &err) || dr_device_upload(b->device, p, host, bytes, &err))
        bench_die("memory", &err);
    return p;
}

void *bench_device_values(bench *b, size_t count, float scale, dr_dtype dtype)
{
    float *values = bench_values(count, scale);
    uint16_t *halves = malloc(count * sizeof(*halves));
    void *p;

    dr_assert(halves);
    for (size_t i = 0; i < count; i++)
        halves[i] = dtype == DR_F16 ? dr_f16_from_float(values[i]) : dr_bf16_from_float(values[i]);
    p = bench_device_copy(b, dtype == DR_F32 ? (const void *)values : halves, count * dr_dtype_bytes(dtype));
    free(halves);
    free(values);
    return p;
}

uint64_t bench_checksum(const void *bytes, size_t size)
{
    uint64_t hash = 14695981039346656037u; /* FNV-1a */

    for (size_t i = 0; i < size; i++)
        hash = (hash ^ ((const unsigned char *)bytes)[i]) * 1099511628211u;
    return hash;
}

uint64_t bench_device_checksum(bench *b, const void *from, size_t size)
{
    void *bytes = malloc(size);
    uint64_t checksum;
    dr_error err;

    dr_assert(bytes);
    if (dr_device_download(b->device, bytes, from, size, &err))
        bench_die("download", &err);
    checksum = bench_checksum(bytes, size);
    free(bytes);
    return checksum;
}

/* --- JSON ---------------------------------------------------------------------------------- */

void bench_write_json(json_t *report, const char *path)
{
    char part[PATH_MAX];

    if (snprintf(part, sizeof(part), "%s.part", path) >= (int)sizeof(part) ||
        json_dump_file(report, part, JSON_INDENT(2) | JSON_REAL_PRECISION(6)) || rename(part, path)) {
        fprintf(stderr, "bench: %s can't be written\n", path);
        exit(1);
    }
    json_decref(report);
}

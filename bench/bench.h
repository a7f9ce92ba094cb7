/* bench.h - shared by the benchmark programs of the engine: a device to measure, inputs, cases and JSON.
 *
 * These are programs, so a failure ends them: bench_die() says what failed and why.  Threads: one. */
#ifndef DR_BENCH_BENCH_H
#define DR_BENCH_BENCH_H

#include "ops/device.h"

#include <darkroom/darkroom.h>

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct bench {
    dr_device *device;
    double seconds;   /* each case is measured for so long, at least */
    const char *only; /* only cases with this in their names; NULL: all */
    bool quick;       /* run a small case once, to see that the program works */
    double ceiling;   /* GFLOP/s of a large matrix product; 0: not measured */
    json_t *cases;
} bench;

/* Print what failed and why, and exit. */
_Noreturn void bench_die(const char *what, const dr_error *err);

double bench_now(void);                              /* seconds */
double bench_median(double *times, int count);       /* sorts them */
bool bench_wanted(const bench *b, const char *name); /* by b->only */

typedef struct bench_case {
    const char *name;
    double gflop;               /* of one run; 0: not known */
    uint64_t (*run)(void *arg); /* returns, when all is done, a checksum of its output */
    void *arg;
} bench_case;

/* Run a case once to warm up, and then for b->seconds and at least three times.  Prints a line and adds a
 * case to b->cases.  Returns the median in seconds. */
double bench_time_case(bench *b, const bench_case *c);

/* Open a model with random weights in the shapes of a folder: bench/shapes/NAME or another. */
dr_model *bench_open_model(bench *b, const char *folder);

/* Values from -scale to scale, the same each time: on the host (free() them) or on the device
 * (dr_device_free()). */
float *bench_values(size_t count, float scale);
void *bench_device_values(bench *b, size_t count, float scale, dr_dtype dtype);

/* Copy host memory to the device; end it with dr_device_free(). */
void *bench_device_copy(bench *b, const void *host, size_t bytes);

/* FNV-1a of host memory. */
uint64_t bench_checksum(const void *bytes, size_t size);

/* The same of device memory.  Waits for the device, so that all work that is timed is done. */
uint64_t bench_device_checksum(bench *b, const void *from, size_t size);

/* Write a report to a file and end it with json_decref().  Exits if the file can't be written. */
void bench_write_json(json_t *report, const char *path);

#endif

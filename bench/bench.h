/* bench.h - what the benchmark programs of the engine share: a device to measure on, inputs for it, cases and JSON.
 *
 * These are programs, so what goes wrong ends them: bench_die() says what and why.  One thread. */
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
    double seconds;   /* per case, at least */
    const char *only; /* part of the names of the cases that are wanted; NULL: all are */
    bool quick;       /* every case once, small: that the program is alive */
    double ceiling;   /* GFLOP/s of a large matrix product; 0: not measured */
    json_t *cases;
} bench;

_Noreturn void bench_die(const char *what, const dr_error *err);

double bench_now(void);                        /* seconds */
double bench_median(double *times, int count); /* sorts them */
bool bench_wanted(const bench *b, const char *name);

/* Once to warm up, then for b->seconds and three times; prints a line, adds one to b->cases, gives the median. */
typedef struct bench_case {
    const char *name;
    double gflop;               /* of one run; 0: not known */
    uint64_t (*run)(void *arg); /* waits until it is done; gives a checksum of its output */
    void *arg;
} bench_case;
double bench_time_case(bench *b, const bench_case *c);

/* Random weights in the shapes of bench/shapes/NAME, or of another folder. */
dr_model *bench_open_model(bench *b, const char *folder);

/* Values from -scale to scale, the same each time: on the host, to be freed; on the device. */
float *bench_values(size_t count, float scale);
void *bench_device_values(bench *b, size_t count, float scale, dr_dtype dtype);
void *bench_device_copy(bench *b, const void *host, size_t bytes);

uint64_t bench_checksum(const void *bytes, size_t size);

/* Of the device's memory; waits for it, so that what is timed is done. */
uint64_t bench_device_checksum(bench *b, const void *from, size_t size);

/* Writes what it takes.  Ends the program where that can't be done. */
void bench_write_json(json_t *report, const char *path);

#endif

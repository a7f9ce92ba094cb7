/* kafka_bench.c - measures how many jobs a second go through a broker, and how long one job takes.  The same
 * run also measures the broker alone.
 *
 *     kafka_bench [--quick] [--only PART] BROKERS PROGRAM
 *
 * bench/kafka/run.sh starts a broker and then this program (make bench-kafka).  The broker, this program and
 * the process that is measured share the machine. */
#include "bench/kafka/peers.h"
#include "worker/support/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct play {
    const char *name;
    bench_peer peer;
    bench_job job;
    size_t bytes; /* of a result; 0: the same as in the row before */
    int jobs;     /* for the throughput; 0: one job at a time, each waited for */
} plays[] = {
    { "tiny: the worker", BENCH_WORKER, { 64, 64, 1, "png" }, 0, 8000 },
    { "tiny: delivery alone", BENCH_DELIVERY, { 64, 64, 1, "png" }, 0, 8000 },
    { "tiny: the broker alone", BENCH_PLAIN, { 64, 64, 1, "png" }, 0, 8000 },
    { "50 kB: the worker, PNGs made once", BENCH_MADE_ONCE, { 280, 280, 1, "png" }, 0, 4000 },
    { "50 kB: delivery alone", BENCH_DELIVERY, { 64, 64, 1, "png" }, 50000, 4000 },
    { "50 kB: the broker alone", BENCH_PLAIN, { 64, 64, 1, "png" }, 50000, 4000 },
    { "256x256 JPEG: the worker", BENCH_WORKER, { 256, 256, 1, "jpeg" }, 0, 2000 },
    { "256x256 PNG: the worker", BENCH_WORKER, { 256, 256, 1, "png" }, 0, 1000 },
    { "one at a time: the worker", BENCH_WORKER, { 64, 64, 1, "png" }, 0, 0 },
    { "one at a time: delivery alone", BENCH_DELIVERY, { 64, 64, 1, "png" }, 4000, 0 },
    { "one at a time: the broker alone", BENCH_PLAIN, { 64, 64, 1, "png" }, 4000, 0 },
    { "one at a time: there and back", BENCH_NOBODY, { 64, 64, 1, "png" }, 4000, 0 },
};

enum { WARM_UP = 64, WARM_UP_ALONE = 10, ALONE = 200 };

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Returns the bytes of a result. */
static size_t time_many(bench_row *r, const struct play *play, pid_t pid, int jobs)
{
    const double cpu_s = bench_peer_cpu_s(pid), begin = dr_clock_s();
    size_t bytes;
    double seconds;

    bench_put_jobs(r, &play->job, WARM_UP, WARM_UP + jobs);
    bytes = bench_wait_results(r, jobs);
    seconds = dr_clock_s() - begin;
    printf("%-34s %9zu B %9.0f /s %9.1f MB/s %6.0f us of processor a job\n", play->name, bytes / (size_t)jobs,
           jobs / seconds, (double)bytes / seconds / 1e6, (bench_peer_cpu_s(pid) - cpu_s) / jobs * 1e6);
    return bytes / (size_t)jobs;
}

static size_t time_alone(bench_row *r, const struct play *play, int jobs)
{
    double ms[ALONE];
    size_t bytes = 0;

    for (int i = -WARM_UP_ALONE; i < jobs; i++) {
        const double begin = dr_clock_s();
        bench_put_jobs(r, &play->job, WARM_UP + WARM_UP_ALONE + i, WARM_UP + WARM_UP_ALONE + i + 1);
        bytes = bench_wait_results(r, 1);
        if (i >= 0)
            ms[i] = (dr_clock_s() - begin) * 1e3;
    }
    qsort(ms, (size_t)jobs, sizeof(ms[0]), compare);
    printf("%-34s %9zu B %9.1f ms p50 %6.1f ms p95\n", play->name, bytes, ms[jobs / 2], ms[jobs * 95 / 100]);
    return bytes;
}

static size_t run(const struct play *play, const char *brokers, const char *program, size_t bytes, bool quick)
{
    bench_row r;
    pid_t pid;

    bench_row_open(&r, brokers, "bench", play->peer == BENCH_NOBODY);
    pid = bench_peer_start(play->peer, &r, program, play->bytes ? play->bytes : bytes);
    bench_put_jobs(&r, &play->job, 0, WARM_UP);
    bench_wait_results(&r, WARM_UP);
    if (play->jobs)
        bytes = time_many(&r, play, pid, quick ? 100 : play->jobs);
    else
        bytes = time_alone(&r, play, quick ? 10 : ALONE);
    fflush(stdout);
    bench_peer_stop(pid);
    bench_row_close(&r);
    return bytes;
}

int main(int argc, char **argv)
{
    const char *only = "";
    bool quick = false;
    size_t bytes = 4000;
    int i = 1;

    if (argc > 1 && strcmp(argv[1], "--peer") == 0)
        return bench_peer_main(argc, argv);
    for (; i < argc && strncmp(argv[i], "--", 2) == 0; i++)
        if (strcmp(argv[i], "--quick") == 0)
            quick = true;
        else if (strcmp(argv[i], "--only") == 0 && i + 1 < argc)
            only = argv[++i];
        else
            bench_fail(argv[i], "no such option");
    if (argc - i != 2)
        bench_fail("usage", "kafka_bench [--quick] [--only PART] BROKERS PROGRAM");
    for (size_t k = 0; k < sizeof(plays) / sizeof(plays[0]); k++)
        if (strstr(plays[k].name, only))
            bytes = run(&plays[k], argv[i], argv[i + 1], bytes, quick);
    return 0;
}

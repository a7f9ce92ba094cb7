/* clients.h - the Kafka benchmark's side of a broker: makes topics, sends jobs, reads results, and times
 * each.
 *
 * These are programs, so an error ends them, and bench_fail() says which error.  One thread. */
#ifndef DR_BENCH_KAFKA_CLIENTS_H
#define DR_BENCH_KAFKA_CLIENTS_H

#include "worker/kafka/kafka.h"

enum { BENCH_PARTITIONS = 4 };

/* Prints "kafka_bench: what: why" to stderr, and ends the program with code 1. */
_Noreturn void bench_fail(const char *what, const char *why);

/* The topics and the consumer group of one row. */
typedef struct bench_row {
    const char *brokers;
    char name[48], jobs[64], results[64], dead[64];
    rd_kafka_t *producer, *reader;
} bench_row;

/* Makes new topics for each row. echo: the jobs themselves are read back as results. */
void bench_row_open(bench_row *r, const char *brokers, const char *name, bool echo);
void bench_row_close(bench_row *r);

/* Returns a client with one more setting. on_delivery: the callback of a producer, or NULL. */
rd_kafka_t *bench_client(rd_kafka_type_t type, dr_kafka_role role, const char *brokers, const char *key,
                         const char *value,
                         void (*on_delivery)(rd_kafka_t *, const rd_kafka_message_t *, void *));

/* What each job of a row asks for. */
typedef struct bench_job {
    int width, height, steps;
    const char *format;
} bench_job;

/* Send jobs `from`..`to`-1. */
void bench_put_jobs(bench_row *r, const bench_job *job, int from, int to);

/* Wait for `count` more committed results; returns their bytes together. */
size_t bench_wait_results(bench_row *r, int count);

#endif

/* peers.h - who stands between jobs and results in a row: processes of their own, so that each has its own threads.
 *
 *     worker      the program, null device: jobs decoded, pictures made up and encoded, exactly-once
 *     delivery    the worker's source and publisher; every result is the same bytes, made once
 *     plain       librdkafka alone: reads, writes as many bytes, commits in transactions: the broker's own limit
 *     nobody      the jobs themselves are what comes back: there and back through the broker, without a transaction */
#ifndef DR_BENCH_KAFKA_PEERS_H
#define DR_BENCH_KAFKA_PEERS_H

#include "bench/kafka/clients.h"

#include <sys/types.h>

typedef enum bench_peer { BENCH_WORKER, BENCH_DELIVERY, BENCH_PLAIN, BENCH_NOBODY } bench_peer;

/* 0: of nobody.  program: of the worker.  result_bytes: of a result of the others. */
pid_t bench_peer_start(bench_peer peer, const bench_row *r, const char *program, size_t result_bytes);
void bench_peer_stop(pid_t pid);

/* Seconds of processor time that it has taken so far, all threads. */
double bench_peer_cpu_s(pid_t pid);

/* In the process itself: argv as bench_peer_start() made it. */
int bench_peer_main(int argc, char **argv);

#endif

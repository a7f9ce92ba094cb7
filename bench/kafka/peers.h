/* peers.h - the processes that turn jobs into results, one in each row of the table.  Each is a process of
 * its own, so it has its own threads.
 *
 *     worker      the program, null device: jobs decoded, pictures made up and encoded, exactly-once
 *     made once   the same command with the same arguments, but the pixels of each size are compressed to PNG
 *                 once (bench/kafka/made_once.c): the worker where encoding is not the limit
 *     delivery    the worker's consumer, books and publisher; every result is the same bytes, made once
 *     plain       librdkafka alone: reads, writes as many bytes, commits in transactions: the broker's own
 *                 limit
 *     nobody      the jobs themselves are what comes back: there and back through the broker, without a
 *                 transaction */
#ifndef DR_BENCH_KAFKA_PEERS_H
#define DR_BENCH_KAFKA_PEERS_H

#include "bench/kafka/clients.h"

#include <sys/types.h>

typedef enum bench_peer {
    BENCH_WORKER,
    BENCH_MADE_ONCE,
    BENCH_DELIVERY,
    BENCH_PLAIN,
    BENCH_NOBODY
} bench_peer;

/* Starts the peer's process and returns its id; 0 for BENCH_NOBODY.  program: the path of darkroom, for
 * BENCH_WORKER.  result_bytes: the size of each result of BENCH_DELIVERY and BENCH_PLAIN. */
pid_t bench_peer_start(bench_peer peer, const bench_row *r, const char *program, size_t result_bytes);

/* Asks the process to end, and waits for it.  0 is allowed. */
void bench_peer_stop(pid_t pid);

/* Seconds of processor time that it has taken so far, all threads. */
double bench_peer_cpu_s(pid_t pid);

/* The main function of the process itself: argv as bench_peer_start() made it. */
int bench_peer_main(int argc, char **argv);

#endif

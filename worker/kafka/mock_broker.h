/* mock_broker.h - a Kafka broker inside the process, for `darkroom demo` and the tests.
 *
 * It is the mock cluster with which librdkafka tests itself, on a loopback port.  Groups, offsets,
 * idempotent and transactional producers work on it, and a test can make it fail.  It keeps everything in
 * memory, at most 5 MiB for each partition.  It does not hide aborted or open transactions from
 * read_committed readers, does not store the offsets of a transaction, and fences nobody.  The tests of
 * these need a real broker (tests/kafka/).
 *
 * Threads: one opens and closes it. */
#ifndef DR_WORKER_KAFKA_MOCK_BROKER_H
#define DR_WORKER_KAFKA_MOCK_BROKER_H

#include "base/error.h"

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

typedef struct dr_mock_broker dr_mock_broker;

/* Starts that many brokers.  On success *out is the caller's, to be ended with dr_mock_broker_close(); on
 * failure it is NULL. */
dr_status dr_mock_broker_open(dr_mock_broker **out, int brokers, dr_error *err);

/* Creates a topic. */
dr_status dr_mock_broker_topic(dr_mock_broker *b, const char *name, int partitions, dr_error *err);

/* The value of bootstrap.servers for its clients, borrowed. */
const char *dr_mock_broker_bootstrap(const dr_mock_broker *b);

/* The mock cluster, borrowed, so that a test can make it fail (librdkafka/rdkafka_mock.h). */
rd_kafka_mock_cluster_t *dr_mock_broker_cluster(dr_mock_broker *b);

/* After its clients.  NULL is allowed. */
void dr_mock_broker_close(dr_mock_broker *b);

#endif

/* mock_broker.h - a Kafka broker inside the process, for `darkroom demo` and the tests.
 *
 * It is the mock cluster with which librdkafka tests itself, on a loopback port: groups, offsets, idempotent
 * and transactional producers all work on it, and it can be told to fail.  It keeps everything in memory, at
 * most 5 MiB a partition.  What it does not do: hide aborted or open transactions from read_committed, store
 * the offsets that are sent in a transaction, fence.  The tests of those need a real broker
 * (tests/kafka/). */
#ifndef DR_WORKER_KAFKA_MOCK_BROKER_H
#define DR_WORKER_KAFKA_MOCK_BROKER_H

#include "base/error.h"

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

typedef struct dr_mock_broker dr_mock_broker;

dr_status dr_mock_broker_open(dr_mock_broker **out, int brokers, dr_error *err);
dr_status dr_mock_broker_topic(dr_mock_broker *b, const char *name, int partitions, dr_error *err);

const char *dr_mock_broker_bootstrap(const dr_mock_broker *b); /* for bootstrap.servers */

/* For making it fail: librdkafka/rdkafka_mock.h. */
rd_kafka_mock_cluster_t *dr_mock_broker_cluster(dr_mock_broker *b);

void dr_mock_broker_close(dr_mock_broker *b); /* after its clients; NULL is allowed */

#endif

/* broker_fixture.h - a mock broker with the worker's topics, a producer and a reader, for the tests. */
#ifndef DR_TESTS_WORKER_BROKER_FIXTURE_H
#define DR_TESTS_WORKER_BROKER_FIXTURE_H

#include "tests/support/kafka_header.h"
#include "tests/worker/mock_clock.h"
#include "worker/kafka/kafka.h"
#include "worker/kafka/mock_broker.h"
#include "worker/support/clock.h"
#include "worker/support/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

enum { PARTITIONS = 2, READ_MAX = 4096 };

typedef struct broker {
    dr_mock_broker *mock;
    rd_kafka_mock_cluster_t *cluster;
    dr_property setting[4];
    dr_kafka_options options;
    rd_kafka_t *producer;
} broker;

static inline void broker_open(broker *b, int nodes)
{
    rd_kafka_conf_t *conf;
    dr_error err;

    *b = (broker){ 0 };
    dr_log_set(DR_LOG_WARN, DR_LOG_TEXT);
    assert_int_equal(dr_mock_broker_open(&b->mock, nodes, &err), DR_OK);
    b->cluster = dr_mock_broker_cluster(b->mock);
    assert_int_equal(dr_mock_broker_topic(b->mock, "jobs", PARTITIONS, &err), DR_OK);
    assert_int_equal(dr_mock_broker_topic(b->mock, "results", 1, &err), DR_OK);
    assert_int_equal(dr_mock_broker_topic(b->mock, "dead", 1, &err), DR_OK);
    assert_int_equal(dr_mock_broker_topic(b->mock, "events", 1, &err), DR_OK);
    b->setting[0] = (dr_property){ "bootstrap.servers", (char *)dr_mock_broker_bootstrap(b->mock) };
    b->setting[1] = (dr_property){ "consumer.session.timeout.ms", "5000" }; /* tests/worker/mock_clock.h */
    b->setting[2] = (dr_property){ "consumer.heartbeat.interval.ms", "100" };
    /* The mock answers a fetch that finds nothing after that time, whatever comes meanwhile. */
    b->setting[3] = (dr_property){ "consumer.fetch.wait.max.ms", "10" };
    b->options = (dr_kafka_options){ b->setting, 4 };
    assert_int_equal(dr_kafka_conf(&conf, DR_KAFKA_IDEMPOTENT, &b->options, &err), DR_OK);
    assert_int_equal(dr_kafka_create(&b->producer, RD_KAFKA_PRODUCER, conf, &err), DR_OK);
}

static inline void broker_close(broker *b)
{
    rd_kafka_destroy(b->producer);
    dr_mock_broker_close(b->mock);
}

/* Sends a message to a partition of the jobs topic, with headers or NULL. */
static inline void broker_put(broker *b, int partition, const char *key, const void *value, size_t size,
                              rd_kafka_headers_t *headers)
{
    assert_int_equal(rd_kafka_producev(b->producer, RD_KAFKA_V_TOPIC("jobs"), RD_KAFKA_V_PARTITION(partition),
                                       RD_KAFKA_V_KEY(key, strlen(key)),
                                       RD_KAFKA_V_VALUE((void *)value, size),
                                       RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_HEADERS(headers),
                                       RD_KAFKA_V_END),
                     RD_KAFKA_RESP_ERR_NO_ERROR);
    assert_int_equal(rd_kafka_flush(b->producer, 20000), RD_KAFKA_RESP_ERR_NO_ERROR);
}

typedef struct read_log {
    rd_kafka_t *rk;
    rd_kafka_message_t *message[READ_MAX];
    size_t count;
} read_log;

/* Everything that stands in partition 0 of the topic, from its start. */
static inline void log_read(read_log *log, broker *b, const char *topic)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    const int64_t until_ms = dr_clock_ms() + 20000;
    rd_kafka_conf_t *conf;
    dr_error err;
    bool end = false;

    log->count = 0;
    assert_int_equal(dr_kafka_conf(&conf, DR_KAFKA_READER, &b->options, &err), DR_OK);
    assert_int_equal(dr_kafka_conf_set(conf, "group.id", "reader", &err), DR_OK);
    assert_int_equal(dr_kafka_create(&log->rk, RD_KAFKA_CONSUMER, conf, &err), DR_OK);
    rd_kafka_topic_partition_list_add(list, topic, 0)->offset = RD_KAFKA_OFFSET_BEGINNING;
    rd_kafka_assign(log->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    while (!end && dr_clock_ms() < until_ms) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(log->rk, 100);
        if (m && !m->err) {
            assert_true(log->count < READ_MAX);
            log->message[log->count++] = m;
            continue;
        }
        end = m && m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;
        if (m)
            rd_kafka_message_destroy(m);
    }
    assert_true(end);
}

static inline void log_free(read_log *log)
{
    for (size_t i = 0; i < log->count; i++)
        rd_kafka_message_destroy(log->message[i]);
    rd_kafka_destroy_flags(log->rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE); /* it is in no group */
}

/* How many messages of the log have that key. */
static inline int log_find(const read_log *log, const char *key, const rd_kafka_message_t **found)
{
    int n = 0;

    for (size_t i = 0; i < log->count; i++) {
        const rd_kafka_message_t *m = log->message[i];
        if (m->key_len == strlen(key) && memcmp(m->key, key, m->key_len) == 0) {
            n++;
            if (found)
                *found = m;
        }
    }
    return n;
}

static inline void assert_header(const rd_kafka_message_t *m, const char *name, const char *value)
{
    rd_kafka_headers_t *headers;
    const void *text;
    size_t size;

    assert_int_equal(rd_kafka_message_headers(m, &headers), RD_KAFKA_RESP_ERR_NO_ERROR);
    text = kafka_header(headers, name, &size);
    if (!text)
        fail_msg("no header %s", name);
    assert_int_equal(size, strlen(value));
    assert_memory_equal(text, value, size);
}

static inline void sleep_ms(int ms)
{
    const struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L };

    nanosleep(&t, NULL);
}

#endif

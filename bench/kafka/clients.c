#include "bench/kafka/clients.h"

#include "worker/jobs/job_fields.h"
#include "worker/support/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WAIT_MAX_MS = 120000 };

void bench_fail(const char *what, const char *why)
{
    fprintf(stderr, "kafka_bench: %s: %s\n", what, why);
    exit(1);
}

rd_kafka_t *bench_client(rd_kafka_type_t type, dr_kafka_role role, const char *brokers, const char *key,
                         const char *value,
                         void (*on_delivery)(rd_kafka_t *, const rd_kafka_message_t *, void *))
{
    dr_property settings[] = { { "bootstrap.servers", (char *)brokers },
                               { "socket.nagle.disable", "true" },
                               { "producer.linger.ms", "0" } };
    const dr_kafka_options options = { settings, sizeof(settings) / sizeof(settings[0]) };
    rd_kafka_conf_t *conf;
    rd_kafka_t *rk;
    dr_error err;

    if (dr_kafka_conf(&conf, role, &options, &err) || dr_kafka_conf_set(conf, key, value, &err))
        bench_fail("client", err.text);
    if (on_delivery)
        rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    if (dr_kafka_create(&rk, type, conf, &err))
        bench_fail("client", err.text);
    return rk;
}

static void create_topic(rd_kafka_t *rk, const char *name, int partitions)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(name, partitions, 1, NULL, 0);
    const rd_kafka_topic_result_t **results;
    rd_kafka_event_t *event;
    size_t count;

    rd_kafka_CreateTopics(rk, &topic, 1, NULL, queue);
    event = rd_kafka_queue_poll(queue, 30000);
    if (!event)
        bench_fail(name, "the broker does not answer");
    results = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count);
    if (count != 1 || rd_kafka_topic_result_error(results[0]))
        bench_fail(name, "the topic could not be made");
    rd_kafka_event_destroy(event);
    rd_kafka_NewTopic_destroy(topic);
    rd_kafka_queue_destroy(queue);
}

void bench_row_open(bench_row *r, const char *brokers, const char *name, bool echo)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(BENCH_PARTITIONS);

    *r = (bench_row){ .brokers = brokers };
    snprintf(r->name, sizeof(r->name), "%s-%lld", name, (long long)dr_clock_ms());
    snprintf(r->jobs, sizeof(r->jobs), "%s.jobs", r->name);
    snprintf(r->results, sizeof(r->results), "%s.results", r->name);
    snprintf(r->dead, sizeof(r->dead), "%s.dead", r->name);
    r->producer = bench_client(RD_KAFKA_PRODUCER, DR_KAFKA_IDEMPOTENT, brokers, "client.id", "bench", NULL);
    r->reader = bench_client(RD_KAFKA_CONSUMER, DR_KAFKA_READER, brokers, "group.id", "bench", NULL);
    rd_kafka_poll_set_consumer(r->reader);
    create_topic(r->producer, r->jobs, BENCH_PARTITIONS);
    create_topic(r->producer, r->results, BENCH_PARTITIONS);
    create_topic(r->producer, r->dead, 1);
    for (int i = 0; i < BENCH_PARTITIONS; i++)
        rd_kafka_topic_partition_list_add(list, echo ? r->jobs : r->results, i)->offset =
            RD_KAFKA_OFFSET_BEGINNING;
    rd_kafka_assign(r->reader, list);
    rd_kafka_topic_partition_list_destroy(list);
}

void bench_row_close(bench_row *r)
{
    rd_kafka_destroy(r->producer);
    rd_kafka_consumer_close(r->reader);
    rd_kafka_destroy(r->reader);
}

static void set(dr_job *job, const char *field, const char *value)
{
    dr_refusal refusal;
    dr_error err;

    if (dr_job_set_text(job, dr_job_field_find(field), value, &refusal, &err))
        bench_fail(field, err.text);
}

static void set_number(dr_job *job, const char *field, int value)
{
    char text[16];

    snprintf(text, sizeof(text), "%d", value);
    set(job, field, text);
}

void bench_put_jobs(bench_row *r, const bench_job *what, int from, int to)
{
    for (int i = from; i < to; i++) {
        dr_job *job = dr_job_create();
        char id[16];
        dr_error err;
        void *bytes;
        size_t size;
        snprintf(id, sizeof(id), "j-%d", i);
        set(job, "id", id);
        set(job, "model", "none");
        set(job, "prompt", "a hill under snow");
        set(job, "format", what->format);
        set_number(job, "width", what->width);
        set_number(job, "height", what->height);
        set_number(job, "steps", what->steps);
        set_number(job, "seed", i + 1);
        if (dr_job_encode(job, &bytes, &size, &err))
            bench_fail("job", err.text);
        while (rd_kafka_producev(r->producer, RD_KAFKA_V_TOPIC(r->jobs),
                                 RD_KAFKA_V_PARTITION(i % BENCH_PARTITIONS), RD_KAFKA_V_KEY(id, strlen(id)),
                                 RD_KAFKA_V_VALUE(bytes, size), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                                 RD_KAFKA_V_END))
            rd_kafka_poll(r->producer, 10); /* its queue is full */
        free(bytes);
        dr_job_free(job);
    }
    rd_kafka_poll(r->producer, 0);
}

size_t bench_wait_results(bench_row *r, int count)
{
    const int64_t until_ms = dr_clock_ms() + WAIT_MAX_MS;
    size_t bytes = 0;

    while (count > 0) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(r->reader, 100);
        if (m && !m->err) {
            bytes += m->len;
            count--;
        }
        if (m)
            rd_kafka_message_destroy(m);
        if (dr_clock_ms() > until_ms)
            bench_fail(r->name, "not all results came");
        rd_kafka_poll(r->producer, 0);
    }
    return bytes;
}

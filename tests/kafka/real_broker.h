/* real_broker.h - a test's topics, clients and workers at a real broker.
 *
 * tests/kafka/run.sh starts the broker and runs the programs of this folder, with
 *
 *     TEST_BROKERS            host:port
 *     TEST_PROGRAM            build/.../darkroom
 *     NAME_test [PATTERN]     only the tests whose names match
 *
 * Each test has an arena: topics and a group of its own, named after it.  No two tests of all programs share
 * a name. Workers have the null device, since the question is whether every job has exactly one committed
 * result, whatever is killed when. */
#ifndef DR_TESTS_KAFKA_REAL_BROKER_H
#define DR_TESTS_KAFKA_REAL_BROKER_H

#include "tests/support/kafka_header.h"
#include "worker/jobs/job_fields.h"
#include "worker/jobs/result.h"
#include "worker/kafka/kafka.h"
#include "worker/support/clock.h"
#include "worker/support/log.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { JOBS_MAX = 2000, ARGS_MAX = 48, PARTITIONS = 4 };

static char *brokers;
static const char *program;
static uint64_t random_state = 88172645463325252u;

static inline uint32_t draw(uint32_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 32) % below;
}

static inline void sleep_ms(int ms)
{
    const struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L };

    nanosleep(&t, NULL);
}

/* --- clients ------------------------------------------------------------------------------ */

static inline rd_kafka_t *client(rd_kafka_type_t type, bool read_uncommitted)
{
    dr_property setting = { "bootstrap.servers", brokers };
    const dr_kafka_options options = { &setting, 1 };
    rd_kafka_conf_t *conf;
    rd_kafka_t *rk;
    char why[256];
    dr_error err;

    assert_int_equal(dr_kafka_conf(&conf, type == RD_KAFKA_PRODUCER ? DR_KAFKA_IDEMPOTENT : DR_KAFKA_READER,
                                   &options, &err),
                     DR_OK);
    if (type == RD_KAFKA_CONSUMER)
        rd_kafka_conf_set(conf, "group.id", "reader", why, sizeof(why));
    if (read_uncommitted)
        rd_kafka_conf_set(conf, "isolation.level", "read_uncommitted", why, sizeof(why));
    assert_int_equal(dr_kafka_create(&rk, type, conf, &err), DR_OK);
    return rk;
}

/* Creates a topic, with one setting of its own and its value, or NULL. */
static inline void create_topic(rd_kafka_t *rk, const char *name, int partitions, const char *setting,
                                const char *value)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(name, partitions, 1, NULL, 0);
    const rd_kafka_topic_result_t **results;
    rd_kafka_event_t *event;
    size_t count;

    if (setting)
        rd_kafka_NewTopic_set_config(topic, setting, value);
    rd_kafka_CreateTopics(rk, &topic, 1, NULL, queue);
    event = rd_kafka_queue_poll(queue, 30000);
    assert_non_null(event);
    results = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count);
    assert_int_equal(count, 1);
    assert_int_equal(rd_kafka_topic_result_error(results[0]), RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_event_destroy(event);
    rd_kafka_NewTopic_destroy(topic);
    rd_kafka_queue_destroy(queue);
}

static inline void delete_topic(rd_kafka_t *rk, const char *name)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_DeleteTopic_t *topic = rd_kafka_DeleteTopic_new(name);
    const rd_kafka_topic_result_t **results;
    rd_kafka_event_t *event;
    size_t count;

    rd_kafka_DeleteTopics(rk, &topic, 1, NULL, queue);
    event = rd_kafka_queue_poll(queue, 30000);
    assert_non_null(event);
    results = rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(event), &count);
    assert_int_equal(count, 1);
    assert_int_equal(rd_kafka_topic_result_error(results[0]), RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_event_destroy(event);
    rd_kafka_DeleteTopic_destroy(topic);
    rd_kafka_queue_destroy(queue);
}

/* --- one test's topics ----------------------------------------------------------------------- */

typedef struct arena {
    const char *name;
    char jobs[64], results[64], dead[64];
    rd_kafka_t *producer;
} arena;

static inline void arena_open(arena *a, const char *name, const char *max_bytes)
{
    *a = (arena){ .name = name };
    snprintf(a->jobs, sizeof(a->jobs), "%s.jobs", name);
    snprintf(a->results, sizeof(a->results), "%s.results", name);
    snprintf(a->dead, sizeof(a->dead), "%s.dead", name);
    a->producer = client(RD_KAFKA_PRODUCER, false);
    create_topic(a->producer, a->jobs, PARTITIONS, NULL, NULL);
    create_topic(a->producer, a->results, 2, max_bytes ? "max.message.bytes" : NULL, max_bytes);
    create_topic(a->producer, a->dead, 1, NULL, NULL);
}

static inline void arena_close(arena *a)
{
    rd_kafka_destroy(a->producer);
}

static inline void put(arena *a, int partition, const char *key, const void *value, size_t size)
{
    assert_int_equal(rd_kafka_producev(a->producer, RD_KAFKA_V_TOPIC(a->jobs),
                                       RD_KAFKA_V_PARTITION(partition), RD_KAFKA_V_KEY(key, strlen(key)),
                                       RD_KAFKA_V_VALUE((void *)value, size),
                                       RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END),
                     RD_KAFKA_RESP_ERR_NO_ERROR);
}

static inline void set(dr_job *job, const char *field, const char *value)
{
    dr_refusal refusal;
    dr_error err;

    assert_int_equal(dr_job_set_text(job, dr_job_field_find(field), value, &refusal, &err), DR_OK);
}

/* Sends a job.  fields: name, value, ..., NULL: fields that it has besides, or other values of fields. */
static inline void put_fields(arena *a, int partition, int number, int steps, const char *prompt,
                              const char *const *fields)
{
    dr_job *job = dr_job_create();
    char text[32];
    dr_error err;
    void *bytes;
    size_t size;

    snprintf(text, sizeof(text), "j-%d", number);
    set(job, "id", text);
    set(job, "model", "none");
    set(job, "prompt", prompt);
    set(job, "width", "64");
    set(job, "height", "64");
    snprintf(text, sizeof(text), "%d", steps);
    set(job, "steps", text);
    for (; fields && *fields; fields += 2)
        set(job, fields[0], fields[1]);
    assert_int_equal(dr_job_encode(job, &bytes, &size, &err), DR_OK);
    put(a, partition, job->id, bytes, size);
    free(bytes);
    dr_job_free(job);
}

static inline void put_prompt(arena *a, int partition, int number, int steps, const char *prompt)
{
    put_fields(a, partition, number, steps, prompt, NULL);
}

static inline void put_job(arena *a, int partition, int number, int steps)
{
    put_prompt(a, partition, number, steps, "");
}

/* Sends jobs from..to-1, over all partitions.  They have four step counts, so that batches do them out of
 * order. */
static inline void put_jobs(arena *a, int from, int to)
{
    for (int i = from; i < to; i++)
        put_job(a, i % PARTITIONS, i, 2 + 2 * (int)draw(4));
    assert_int_equal(rd_kafka_flush(a->producer, 30000), RD_KAFKA_RESP_ERR_NO_ERROR);
}

typedef struct tally {
    int results[JOBS_MAX]; /* how many of j-N */
    int messages, failed;
    dr_result *last;
} tally;

/* Reads everything in the topic now, and gives each message to `each`, unless that is NULL. */
static inline void read_topic(const char *topic, int partitions, bool read_uncommitted,
                              void (*each)(void *arg, const rd_kafka_message_t *m), void *arg)
{
    rd_kafka_t *rk = client(RD_KAFKA_CONSUMER, read_uncommitted);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(partitions);
    const int64_t until_ms = dr_clock_ms() + 30000;
    int ends = 0;

    for (int i = 0; i < partitions; i++)
        rd_kafka_topic_partition_list_add(list, topic, i)->offset = RD_KAFKA_OFFSET_BEGINNING;
    rd_kafka_assign(rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    while (ends < partitions && dr_clock_ms() < until_ms) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(rk, 100);
        if (!m)
            continue;
        if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
            ends++;
        else if (!m->err)
            each(arg, m);
        rd_kafka_message_destroy(m);
    }
    assert_int_equal(ends, partitions);
    rd_kafka_consumer_close(rk);
    rd_kafka_destroy(rk);
}

static inline void count_result(void *arg, const rd_kafka_message_t *m)
{
    tally *t = arg;
    dr_result *r;
    dr_error err;
    int number;

    assert_int_equal(dr_result_decode(&r, m->payload, m->len, &err), DR_OK);
    assert_int_equal(m->key_len, strlen(r->job->id));
    assert_memory_equal(m->key, r->job->id, m->key_len);
    t->messages++;
    t->failed += r->error.status != DR_OK;
    if (sscanf(r->job->id, "j-%d", &number) == 1 && number < JOBS_MAX)
        t->results[number]++;
    dr_result_free(t->last);
    t->last = r;
}

static inline void count_results(arena *a, tally *t, bool read_uncommitted)
{
    *t = (tally){ 0 };
    read_topic(a->results, 2, read_uncommitted, count_result, t);
}

static inline int distinct(const tally *t)
{
    int n = 0;

    for (int i = 0; i < JOBS_MAX; i++)
        n += t->results[i] > 0;
    return n;
}

/* Waits until at least so many jobs have a result. */
static inline void wait_results(arena *a, int count, int timeout_s)
{
    const int64_t until_ms = dr_clock_ms() + timeout_s * 1000;
    tally t;
    int n;

    do {
        count_results(a, &t, false);
        n = distinct(&t);
        dr_result_free(t.last);
        if (n < count)
            sleep_ms(200);
    } while (n < count && dr_clock_ms() < until_ms);
    if (n < count)
        fail_msg("%d of %d results", n, count);
}

/* Each job has one committed result.  Prints how many results were aborted on the way. */
static inline void assert_exactly_once(arena *a, int jobs)
{
    tally committed, all;

    sleep_ms(500); /* for one that is too many */
    count_results(a, &committed, false);
    count_results(a, &all, true);
    print_message("    %d jobs, %d committed results, %d aborted ones\n", jobs, committed.messages,
                  all.messages - committed.messages);
    for (int i = 0; i < jobs; i++)
        if (committed.results[i] != 1)
            fail_msg("j-%d has %d committed results", i, committed.results[i]);
    assert_int_equal(committed.messages, jobs);
    dr_result_free(committed.last);
    dr_result_free(all.last);
}

/* Reads the offset and the metadata that the test's group has committed for a partition of its jobs. */
static inline void committed(arena *a, int partition, int64_t *offset, char *metadata, size_t room)
{
    dr_property setting = { "bootstrap.servers", brokers };
    const dr_kafka_options options = { &setting, 1 };
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_conf_t *conf;
    rd_kafka_t *rk;
    dr_error err;

    assert_int_equal(dr_kafka_conf(&conf, DR_KAFKA_READER, &options, &err), DR_OK);
    assert_int_equal(dr_kafka_conf_set(conf, "group.id", a->name, &err), DR_OK);
    assert_int_equal(dr_kafka_create(&rk, RD_KAFKA_CONSUMER, conf, &err), DR_OK);
    rd_kafka_topic_partition_list_add(list, a->jobs, partition);
    assert_int_equal(rd_kafka_committed(rk, list, 20000), RD_KAFKA_RESP_ERR_NO_ERROR);
    *offset = list->elems[0].offset;
    snprintf(metadata, room, "%.*s", (int)list->elems[0].metadata_size,
             list->elems[0].metadata ? (const char *)list->elems[0].metadata : "");
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_destroy(rk);
}

/* --- processes ---------------------------------------------------------------------------------- */

static inline pid_t spawn(const char *log, const char *const *args)
{
    const pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid > 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nobody behind */
    if (!freopen(log, "a", stdout) || dup2(STDOUT_FILENO, STDERR_FILENO) < 0)
        _exit(126);
    execv(program, (char *const *)args);
    _exit(127);
}

static inline int exit_code(pid_t pid)
{
    int status;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static inline int end(pid_t pid)
{
    kill(pid, SIGTERM);
    return exit_code(pid);
}

/* Starts a worker under the name slot-N in the test's group.  extra: more flags, with NULL at the end; or
 * NULL. */
static inline pid_t start_worker(arena *a, int slot, const char *const *extra)
{
    char name[32], log[96];
    const char *args[ARGS_MAX] = {
        program,
        "worker",
        "--brokers",
        brokers,
        "--group",
        a->name,
        "--worker",
        name,
        "--jobs-topic",
        a->jobs,
        "--results-topic",
        a->results,
        "--dead-letters-topic",
        a->dead,
        "--events-topic",
        "",
        "--control-topic",
        "",
        "--device",
        "null",
        "--http",
        "",
        "--null-step-us",
        "500",
        "-X",
        "consumer.session.timeout.ms=6000",
        NULL,
    };
    size_t n = 0;

    while (args[n])
        n++;
    for (; extra && *extra; extra++)
        args[n++] = *extra;
    args[n] = NULL;
    snprintf(name, sizeof(name), "slot-%d", slot);
    snprintf(log, sizeof(log), "build/kafka/test-%s-%d.log", a->name, slot);
    return spawn(log, args);
}

/* Reads what run.sh says, and the pattern.  False: run.sh did not start this program. */
static inline bool set_up(int argc, char **argv)
{
    brokers = getenv("TEST_BROKERS");
    program = getenv("TEST_PROGRAM");
    if (!brokers || !program) {
        fprintf(stderr, "to be run by tests/kafka/run.sh\n");
        return false;
    }
    dr_log_set(DR_LOG_WARN, DR_LOG_TEXT);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return true;
}

#endif

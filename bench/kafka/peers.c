#include "bench/kafka/peers.h"

#include "worker/delivery/consumer.h"
#include "worker/delivery/publisher.h"
#include "worker/program/commands.h"
#include "worker/support/clock.h"
#include "worker/support/log.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PLAIN_ITEMS_MAX = 512, CALL_MS = 10000 };

static const char *const names[] = { "worker", "made once", "delivery", "plain" };

static volatile sig_atomic_t ended;

static void on_signal(int number)
{
    (void)number;
    ended = 1;
}

/* --- delivery: what the worker has around its engine ------------------------------------- */

static void answer(dr_publisher *publisher, rd_kafka_message_t *m, size_t bytes)
{
    dr_job *job = dr_job_create();
    dr_result *result;

    job->id = strndup(m->key, m->key_len);
    job->model = strdup("none");
    job->prompt = strdup("");
    job->negative_prompt = strdup("");
    job->origin = dr_books_origin(m);
    result = dr_result_create(job);
    result->pictures = 1;
    result->picture[0].bytes = malloc(bytes);
    memset(result->picture[0].bytes, 0x5a, bytes);
    result->picture[0].size = bytes;
    rd_kafka_message_destroy(m);
    dr_publisher_put(publisher, result);
}

static void deliver(const bench_row *r, size_t bytes)
{
    dr_property settings[] = { { "bootstrap.servers", (char *)r->brokers } };
    const dr_kafka_options kafka = { settings, 1 };
    dr_publisher_options options = {
        .outbox = { kafka, DR_EXACTLY_ONCE, "bench-0", r->name },
        .results_topic = r->results,
        .dead_letters_topic = r->dead,
        .worker = "bench-0",
    };
    dr_publisher *publisher;
    dr_consumer *consumer;
    dr_books *books;
    dr_error err;

    if (dr_books_open(&books, r->jobs, r->name, &err))
        bench_fail("books", err.text);
    if (dr_consumer_open(&consumer, &(dr_consumer_options){ kafka, "bench-0", books }, &err))
        bench_fail("consumer", err.text);
    options.books = books;
    if (dr_publisher_start(&publisher, &options, &err))
        bench_fail("publisher", err.text);
    while (!ended) {
        rd_kafka_message_t *m = dr_books_next(books, 100);
        if (m)
            answer(publisher, m, bytes);
    }
    dr_publisher_stop(publisher);
    dr_consumer_close(consumer);
    dr_books_close(books);
}

/* --- plain: the broker's own limit --------------------------------------------------------- */

static void must(rd_kafka_error_t *e, const char *call)
{
    if (e)
        bench_fail(call, rd_kafka_error_string(e));
}

/* Waits for the first message, and takes all that are there, at most PLAIN_ITEMS_MAX. */
static int gather(rd_kafka_queue_t *queue, rd_kafka_message_t **group)
{
    int count = 0;

    while (!ended && count < PLAIN_ITEMS_MAX) {
        rd_kafka_message_t *m = rd_kafka_consume_queue(queue, count ? 0 : 100);
        if (!m && count)
            break;
        if (m && !m->err)
            group[count++] = m;
        else if (m)
            rd_kafka_message_destroy(m);
    }
    return count;
}

static void copy(rd_kafka_t *producer, rd_kafka_t *consumer, const bench_row *r, rd_kafka_message_t **group,
                 int count, void *value, size_t bytes)
{
    rd_kafka_topic_partition_list_t *offsets = rd_kafka_topic_partition_list_new(BENCH_PARTITIONS);
    rd_kafka_consumer_group_metadata_t *metadata = rd_kafka_consumer_group_metadata(consumer);

    must(rd_kafka_begin_transaction(producer), "begin");
    for (int i = 0; i < count; i++) {
        rd_kafka_topic_partition_t *at =
            rd_kafka_topic_partition_list_find(offsets, r->jobs, group[i]->partition);
        if (!at)
            at = rd_kafka_topic_partition_list_add(offsets, r->jobs, group[i]->partition);
        at->offset = group[i]->offset + 1;
        rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(r->results),
                          RD_KAFKA_V_KEY(group[i]->key, group[i]->key_len), RD_KAFKA_V_VALUE(value, bytes),
                          RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
        rd_kafka_message_destroy(group[i]);
    }
    must(rd_kafka_send_offsets_to_transaction(producer, offsets, metadata, CALL_MS), "offsets");
    must(rd_kafka_commit_transaction(producer, -1), "commit");
    rd_kafka_consumer_group_metadata_destroy(metadata);
    rd_kafka_topic_partition_list_destroy(offsets);
}

/* Without a callback for its reports a producer looks for them every 10 ms (librdkafka 2.0.2). */
static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
    (void)rk, (void)opaque;
    if (m->err)
        bench_fail("delivery", rd_kafka_err2str(m->err));
}

/* Uses two producers in turn, because one alone would wait for the markers of its last transaction. */
static void copy_all(const bench_row *r, size_t bytes)
{
    rd_kafka_t *consumer =
        bench_client(RD_KAFKA_CONSUMER, DR_KAFKA_GROUP_CONSUMER, r->brokers, "group.id", r->name, NULL);
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_message_t *group[PLAIN_ITEMS_MAX];
    rd_kafka_queue_t *queue;
    rd_kafka_t *producer[2];
    void *value = malloc(bytes);
    unsigned turn = 0;
    int count;

    memset(value, 0x5a, bytes);
    for (int i = 0; i < 2; i++) {
        char id[96];
        snprintf(id, sizeof(id), "%s-%d", r->name, i);
        producer[i] = bench_client(RD_KAFKA_PRODUCER, DR_KAFKA_TRANSACTIONAL, r->brokers, "transactional.id",
                                   id, on_delivery);
        must(rd_kafka_init_transactions(producer[i], CALL_MS), "init");
    }
    rd_kafka_poll_set_consumer(consumer);
    rd_kafka_topic_partition_list_add(topics, r->jobs, RD_KAFKA_PARTITION_UA);
    rd_kafka_subscribe(consumer, topics);
    queue = rd_kafka_queue_get_consumer(consumer);
    while (!ended)
        if ((count = gather(queue, group)) > 0)
            copy(producer[turn++ % 2], consumer, r, group, count, value, bytes);
    rd_kafka_queue_destroy(queue);
    rd_kafka_topic_partition_list_destroy(topics);
    rd_kafka_consumer_close(consumer);
    rd_kafka_destroy(consumer);
    rd_kafka_destroy(producer[0]);
    rd_kafka_destroy(producer[1]);
    free(value);
}

/* --- processes ------------------------------------------------------------------------------- */

int bench_peer_main(int argc, char **argv)
{
    static const dr_command *const commands[] = { &dr_cmd_worker };
    const struct sigaction end = { .sa_handler = on_signal };
    bench_row r = { 0 };

    if (argc > 2 && strcmp(argv[2], names[BENCH_MADE_ONCE]) == 0)
        return dr_cli_run(commands, 1, argc - 2, argv + 2, environ);
    if (argc != 6)
        bench_fail("a peer's arguments", "not those of bench_peer_start()");
    dr_log_set(DR_LOG_WARN, DR_LOG_TEXT);
    sigaction(SIGTERM, &end, NULL);
    r.brokers = argv[3];
    snprintf(r.name, sizeof(r.name), "%s", argv[4]);
    snprintf(r.jobs, sizeof(r.jobs), "%s.jobs", argv[4]);
    snprintf(r.results, sizeof(r.results), "%s.results", argv[4]);
    snprintf(r.dead, sizeof(r.dead), "%s.dead", argv[4]);
    if (strcmp(argv[2], names[BENCH_DELIVERY]) == 0)
        deliver(&r, strtoul(argv[5], NULL, 10));
    else
        copy_all(&r, strtoul(argv[5], NULL, 10));
    return 0;
}

/* Becomes the program, or this benchmark in the program's place. */
static void exec_worker(bench_peer peer, const bench_row *r, const char *program)
{
    const char *const argv[] = { "kafka_bench",
                                 "--peer",
                                 peer == BENCH_WORKER ? program : names[peer],
                                 "worker",
                                 "--brokers",
                                 r->brokers,
                                 "--group",
                                 r->name,
                                 "--worker",
                                 "bench-0",
                                 "--jobs-topic",
                                 r->jobs,
                                 "--results-topic",
                                 r->results,
                                 "--dead-letters-topic",
                                 r->dead,
                                 "--events-topic",
                                 "",
                                 "--control-topic",
                                 "",
                                 "--device",
                                 "null",
                                 "--null-step-us",
                                 "0",
                                 "--http",
                                 "",
                                 "--batch-max",
                                 "16",
                                 "--log-level",
                                 "warn",
                                 NULL };
    char *const *const all = (char *const *)(uintptr_t)argv;

    if (peer == BENCH_WORKER)
        execv(program, all + 2);
    else
        execv("/proc/self/exe", all);
}

pid_t bench_peer_start(bench_peer peer, const bench_row *r, const char *program, size_t result_bytes)
{
    const pid_t pid = peer == BENCH_NOBODY ? 0 : fork();
    char bytes[24];

    if (pid || peer == BENCH_NOBODY)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    snprintf(bytes, sizeof(bytes), "%zu", result_bytes);
    if (peer == BENCH_WORKER || peer == BENCH_MADE_ONCE)
        exec_worker(peer, r, program);
    else
        execl("/proc/self/exe", "kafka_bench", "--peer", names[peer], r->brokers, r->name, bytes,
              (char *)NULL);
    _exit(127);
}

void bench_peer_stop(pid_t pid)
{
    int status;

    if (!pid)
        return;
    kill(pid, SIGTERM);
    if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        bench_fail("a peer", "did not end as it should");
}

double bench_peer_cpu_s(pid_t pid)
{
    unsigned long user, kernel;
    char path[32];
    FILE *file;
    int n;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    file = fopen(path, "r");
    n = file ? fscanf(file, "%*d %*s %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &kernel)
             : 0;
    if (file)
        fclose(file);
    if (n != 2)
        bench_fail(path, "cannot be read");
    return (double)(user + kernel) / (double)sysconf(_SC_CLK_TCK);
}

/* The program against a real broker: what a mock can't show.  Run by tests/kafka/run.sh, which starts the broker:
 *
 *     TEST_BROKERS            host:port
 *     TEST_PROGRAM            build/.../darkroom
 *     broker_test [PATTERN]   only the tests whose names match
 *
 * Each test has topics and a group of its own.  Workers have the null device: what is asked here is that every job has
 * exactly one committed result, whatever is killed when. */
#include "worker/clock.h"
#include "worker/job_fields.h"
#include "worker/kafka.h"
#include "worker/log.h"
#include "worker/outbox.h"
#include "worker/result.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { JOBS_MAX = 2000, ARGS_MAX = 48, PARTITIONS = 4 };

static char *brokers;
static const char *program;
static uint64_t random_state = 88172645463325252u;

static uint32_t draw(uint32_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 32) % below;
}

static void sleep_ms(int ms)
{
    const struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L };

    nanosleep(&t, NULL);
}

/* --- clients ------------------------------------------------------------------------------ */

static rd_kafka_t *client(rd_kafka_type_t type, bool read_uncommitted)
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

static void create_topic(rd_kafka_t *rk, const char *name, int partitions, const char *max_bytes)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(name, partitions, 1, NULL, 0);
    const rd_kafka_topic_result_t **results;
    rd_kafka_event_t *event;
    size_t count;

    if (max_bytes)
        rd_kafka_NewTopic_set_config(topic, "max.message.bytes", max_bytes);
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

/* --- one test's topics ----------------------------------------------------------------------- */

typedef struct arena {
    const char *name;
    char jobs[64], results[64], dead[64];
    rd_kafka_t *producer;
} arena;

static void arena_open(arena *a, const char *name, const char *max_bytes)
{
    *a = (arena){ .name = name };
    snprintf(a->jobs, sizeof(a->jobs), "%s.jobs", name);
    snprintf(a->results, sizeof(a->results), "%s.results", name);
    snprintf(a->dead, sizeof(a->dead), "%s.dead", name);
    a->producer = client(RD_KAFKA_PRODUCER, false);
    create_topic(a->producer, a->jobs, PARTITIONS, NULL);
    create_topic(a->producer, a->results, 2, max_bytes);
    create_topic(a->producer, a->dead, 1, NULL);
}

static void arena_close(arena *a)
{
    rd_kafka_destroy(a->producer);
}

static void put(arena *a, int partition, const char *key, const void *value, size_t size)
{
    assert_int_equal(rd_kafka_producev(a->producer, RD_KAFKA_V_TOPIC(a->jobs),
                                       RD_KAFKA_V_PARTITION(partition), RD_KAFKA_V_KEY(key, strlen(key)),
                                       RD_KAFKA_V_VALUE((void *)value, size),
                                       RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END),
                     RD_KAFKA_RESP_ERR_NO_ERROR);
}

static void set(dr_job *job, const char *field, const char *value)
{
    dr_refusal refusal;
    dr_error err;

    assert_int_equal(dr_job_set_text(job, dr_job_field_find(field), value, &refusal, &err), DR_OK);
}

static void put_job(arena *a, int partition, int number, int steps)
{
    dr_job *job = dr_job_create();
    char text[32];
    dr_error err;
    void *bytes;
    size_t size;

    snprintf(text, sizeof(text), "j-%d", number);
    set(job, "id", text);
    set(job, "model", "none");
    set(job, "width", "64");
    set(job, "height", "64");
    snprintf(text, sizeof(text), "%d", steps);
    set(job, "steps", text);
    assert_int_equal(dr_job_encode(job, &bytes, &size, &err), DR_OK);
    put(a, partition, job->id, bytes, size);
    free(bytes);
    dr_job_free(job);
}

/* Numbers from..to-1, over all partitions, of four step counts: so batches take them out of order. */
static void put_jobs(arena *a, int from, int to)
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

/* Everything in the topic now.  Each message is given to `each`, where there is one. */
static void read_topic(const char *topic, int partitions, bool read_uncommitted,
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

static void count_result(void *arg, const rd_kafka_message_t *m)
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

static void count_results(arena *a, tally *t, bool read_uncommitted)
{
    *t = (tally){ 0 };
    read_topic(a->results, 2, read_uncommitted, count_result, t);
}

static int distinct(const tally *t)
{
    int n = 0;

    for (int i = 0; i < JOBS_MAX; i++)
        n += t->results[i] > 0;
    return n;
}

static void wait_results(arena *a, int count, int timeout_s)
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
    assert_int_equal(n, count);
}

/* The claim: one committed result a job.  Says how many were aborted on the way. */
static void assert_exactly_once(arena *a, int jobs)
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

/* --- processes ---------------------------------------------------------------------------------- */

static pid_t spawn(const char *log, const char *const *args)
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

static int exit_code(pid_t pid)
{
    int status;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static int end(pid_t pid)
{
    kill(pid, SIGTERM);
    return exit_code(pid);
}

/* A worker in slot-N of the test's group; `extra`: more flags, NULL at the end. */
static pid_t start_worker(arena *a, int slot, const char *const *extra)
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

static int run_program(const char *const *args)
{
    return exit_code(spawn("build/kafka/test-program.log", args));
}

/* --- tests ------------------------------------------------------------------------------------------ */

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void jobs_from_a_file_become_pictures_in_a_folder(void **state)
{
    static const char lines[] =
        "{\"id\":\"one\",\"model\":\"none\",\"prompt\":\"a hill\",\"width\":64,\"height\":64,\"steps\":4}\n"
        "{\"id\":\"two\",\"model\":\"none\",\"prompt\":\"a tree\",\"width\":64,\"height\":64,\"images\":2}\n"
        "{\"id\":\"bad\",\"model\":\"none\",\"steps\":1000}\n"
        "{\"id\":\"lost\",\"model\":\"none\",\"prompt\":\"!missing\",\"width\":64,\"height\":64}\n";
    arena a;
    const char *submit[] = { program,        "submit", "--brokers", brokers,
                             "--jobs-topic", a.jobs,   "--jobs",    "build/kafka/jobs.jsonl",
                             "--timeout-s",  "20",     NULL };
    const char *collect[] = { program, "collect",         "--brokers", brokers, "--results-topic", a.results,
                              "--out", "build/kafka/out", "--count",   "3",     "--timeout-s",     "20",
                              NULL };
    pid_t worker;

    (void)state;
    arena_open(&a, "files", NULL);
    assert_int_equal(system("rm -rf build/kafka/out"), 0);
    write_file("build/kafka/jobs.jsonl", lines);
    worker = start_worker(&a, 0, NULL);
    assert_int_equal(run_program(submit), 1);  /* the line that is bad */
    assert_int_equal(run_program(collect), 1); /* the model that is missing */
    assert_int_equal(access("build/kafka/out/one.png", R_OK), 0);
    assert_int_equal(access("build/kafka/out/two@0.png", R_OK), 0);
    assert_int_equal(access("build/kafka/out/two@1.png", R_OK), 0);
    assert_int_equal(run_program(collect), 0); /* has everything already */
    assert_int_equal(end(worker), 0);
    arena_close(&a);
}

/* The engine's own pictures, by way of the broker and without it: the same bytes. */
static void stable_diffusion_through_kafka_is_what_render_draws(void **state)
{
    static const char lines[] =
        "{\"id\":\"apple\",\"model\":\"sd1\",\"prompt\":\"a red "
        "apple\",\"width\":64,\"height\":64,\"steps\":20,"
        "\"seed\":7,\"sampler\":\"euler_a\"}\n"
        "{\"id\":\"dog\",\"model\":\"sd1\",\"prompt\":\"a "
        "dog\",\"width\":64,\"height\":64,\"steps\":20,\"seed\":8}\n"
        "{\"id\":\"cat\",\"model\":\"sd2\",\"prompt\":\"a "
        "cat\",\"width\":72,\"height\":64,\"steps\":5,\"seed\":9}\n";
    static const char *const cpu[] = { "--device", "cpu", "--models", "tests/goldens/models", NULL };
    static const char *const names[] = { "apple.png", "dog.png", "cat.png" };
    arena a;
    const char *submit[] = { program,        "submit", "--brokers", brokers,
                             "--jobs-topic", a.jobs,   "--jobs",    "build/kafka/model-jobs.jsonl",
                             "--timeout-s",  "20",     NULL };
    const char *collect[] = { program, "collect",          "--brokers", brokers, "--results-topic", a.results,
                              "--out", "build/kafka/sent", "--count",   "3",     "--timeout-s",     "60",
                              NULL };
    const char *render[] = { program,    "render",
                             "--device", "cpu",
                             "--models", "tests/goldens/models",
                             "--jobs",   "build/kafka/model-jobs.jsonl",
                             "--out",    "build/kafka/drawn",
                             NULL };
    char command[128];
    pid_t worker;

    (void)state;
    arena_open(&a, "model", NULL);
    assert_int_equal(system("rm -rf build/kafka/sent build/kafka/drawn"), 0);
    write_file("build/kafka/model-jobs.jsonl", lines);
    worker = start_worker(&a, 0, cpu);
    assert_int_equal(run_program(submit), 0);
    assert_int_equal(run_program(collect), 0);
    assert_int_equal(run_program(render), 0);
    for (int i = 0; i < 3; i++) {
        snprintf(command, sizeof(command), "cmp build/kafka/sent/%s build/kafka/drawn/%s", names[i],
                 names[i]);
        assert_int_equal(system(command), 0);
    }
    assert_int_equal(end(worker), 0);
    arena_close(&a);
}

static void keep_last(void *arg, const rd_kafka_message_t *m)
{
    rd_kafka_headers_t *headers, **kept = arg;

    assert_int_equal(rd_kafka_message_headers(m, &headers), RD_KAFKA_RESP_ERR_NO_ERROR);
    assert_null(*kept);
    *kept = rd_kafka_headers_copy(headers);
    assert_int_equal(m->len, 7);
    assert_memory_equal(m->payload, "garbage", 7);
}

static void what_is_no_job_is_a_dead_letter_and_harms_nobody(void **state)
{
    rd_kafka_headers_t *headers = NULL;
    const char *text;
    pid_t worker;
    size_t size;
    arena a;

    (void)state;
    arena_open(&a, "dead", NULL);
    put_job(&a, 0, 0, 4);
    put(&a, 0, "key", "garbage", 7);
    put_job(&a, 0, 1, 4);
    assert_int_equal(rd_kafka_flush(a.producer, 20000), RD_KAFKA_RESP_ERR_NO_ERROR);
    worker = start_worker(&a, 0, NULL);
    wait_results(&a, 2, 20);
    assert_int_equal(end(worker), 0);
    assert_exactly_once(&a, 2);
    read_topic(a.dead, 1, false, keep_last, &headers);
    assert_non_null(headers);
    text = dr_kafka_header(headers, "kafka_dlt-original-offset", &size);
    assert_non_null(text);
    assert_string_equal(text, "1");
    assert_non_null(dr_kafka_header(headers, "kafka_dlt-exception-message", &size));
    rd_kafka_headers_destroy(headers);
    arena_close(&a);
}

/* Two workers; every now and then one of them dies where it stands, and comes back. */
static void nothing_is_lost_or_doubled_by_kill_9(void **state)
{
    enum { JOBS = 1200, KILLS = 16 };
    pid_t worker[2];
    arena a;

    (void)state;
    arena_open(&a, "kill", NULL);
    put_jobs(&a, 0, JOBS);
    for (int i = 0; i < 2; i++)
        worker[i] = start_worker(&a, i, NULL);
    sleep_ms(1000);
    for (int k = 0; k < KILLS; k++) {
        const int i = (int)draw(2);
        sleep_ms(200 + (int)draw(900));
        kill(worker[i], SIGKILL);
        assert_int_equal(exit_code(worker[i]), -SIGKILL);
        worker[i] = start_worker(&a, i, NULL);
    }
    wait_results(&a, JOBS, 60);
    for (int i = 0; i < 2; i++)
        assert_int_equal(end(worker[i]), 0);
    assert_exactly_once(&a, JOBS);
    arena_close(&a);
}

/* A worker that sleeps through its session, and through the time of its open transaction, wakes with results for partitions
 * that are another's and with a producer that is fenced. */
static void a_sleeper_doubles_nothing(void **state)
{
    static const char *const impatient[] = { "-X", "producer.transaction.timeout.ms=4000", "-X",
                                             "producer.message.timeout.ms=3000", NULL };
    enum { JOBS = 300 };
    pid_t worker[2];
    arena a;

    (void)state;
    arena_open(&a, "sleep", NULL);
    for (int i = 0; i < 2; i++)
        worker[i] = start_worker(&a, i, impatient);
    sleep_ms(2000);
    put_jobs(&a, 0, JOBS);
    sleep_ms(300);
    kill(worker[0], SIGSTOP);
    wait_results(&a, JOBS, 40); /* the other one has all partitions after 6 s */
    kill(worker[0], SIGCONT);
    sleep_ms(1500);
    put_jobs(&a, JOBS, JOBS + 40);
    wait_results(&a, JOBS + 40, 30);
    for (int i = 0; i < 2; i++)
        assert_int_equal(end(worker[i]), 0);
    assert_exactly_once(&a, JOBS + 40);
    arena_close(&a);
}

static void workers_come_and_go(void **state)
{
    enum { JOBS = 400 };
    pid_t first, second;
    arena a;

    (void)state;
    arena_open(&a, "come", NULL);
    put_jobs(&a, 0, JOBS);
    first = start_worker(&a, 0, NULL);
    sleep_ms(1500);
    second = start_worker(&a, 1, NULL); /* a rebalance in the middle of the first one's batches */
    sleep_ms(1500);
    assert_int_equal(end(first), 0);
    wait_results(&a, JOBS, 40);
    assert_int_equal(end(second), 0);
    assert_exactly_once(&a, JOBS);
    arena_close(&a);
}

static void count_message(void *arg, const rd_kafka_message_t *m)
{
    (void)m;
    ++*(int *)arg;
}

static void committed(arena *a, int partition, int64_t *offset, char *metadata, size_t room)
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

/* One slow job at the head of a partition; what finishes behind it is committed, and not done again after a crash. */
static void what_finished_out_of_order_is_not_done_again(void **state)
{
    static const char *const one_at_a_time[] = { "--batch-max", "1", "--null-step-us", "40000", NULL };
    char metadata[4096];
    int64_t offset;
    int dead = 0;
    pid_t worker;
    arena a;

    (void)state;
    arena_open(&a, "order", NULL);
    for (int i = 1; i < 9; i++)
        put_job(&a, 1, i, 2);
    assert_int_equal(rd_kafka_flush(a.producer, 20000), RD_KAFKA_RESP_ERR_NO_ERROR);
    worker = start_worker(&a, 0, NULL);
    wait_results(&a, 8, 20);
    assert_int_equal(end(worker), 0);
    committed(&a, 1, &offset, metadata, sizeof(metadata));
    assert_int_equal(offset, 8);
    assert_string_equal(metadata, "");

    worker = start_worker(&a, 0, one_at_a_time);
    sleep_ms(1500);
    put_job(&a, 1, 0, 150); /* 6 s */
    assert_int_equal(rd_kafka_flush(a.producer, 20000), RD_KAFKA_RESP_ERR_NO_ERROR);
    sleep_ms(500);
    put(&a, 1, "k", "garbage", 7); /* needs no device: done while the slow one runs */
    put(&a, 1, "k", "garbage", 7);
    assert_int_equal(rd_kafka_flush(a.producer, 20000), RD_KAFKA_RESP_ERR_NO_ERROR);
    sleep_ms(1500);
    kill(worker, SIGKILL);
    exit_code(worker);
    committed(&a, 1, &offset, metadata, sizeof(metadata));
    assert_int_equal(offset, 8);
    assert_string_equal(metadata, "dr1:8:Aw=="); /* 9 and 10 */

    worker = start_worker(&a, 0, NULL);
    wait_results(&a, 9, 20);
    assert_int_equal(end(worker), 0);
    committed(&a, 1, &offset, metadata, sizeof(metadata));
    assert_int_equal(offset, 11);
    assert_string_equal(metadata, "");
    assert_exactly_once(&a, 9);
    read_topic(a.dead, 1, false, count_message, &dead);
    assert_int_equal(dead, 2);
    arena_close(&a);
}

/* The broker has committed, and the worker never heard of it: asking the group keeps the result from being sent again. */
static void a_commit_that_nobody_heard_of_is_found(void **state)
{
    dr_property setting = { "bootstrap.servers", brokers };
    const dr_kafka_options options = { &setting, 1 };
    dr_settled settled = { .ours = false };
    rd_kafka_message_t *m = NULL;
    dr_outbox *outbox;
    dr_source *source;
    dr_commit *commit;
    dr_error err;
    arena a;

    (void)state;
    arena_open(&a, "unheard", NULL);
    put_job(&a, 2, 0, 4);
    put_job(&a, 2, 1, 4);
    assert_int_equal(rd_kafka_flush(a.producer, 20000), RD_KAFKA_RESP_ERR_NO_ERROR);
    assert_int_equal(dr_source_open(&source, &(dr_source_options){ options, a.jobs, a.name, "slot-0" }, &err),
                     DR_OK);
    assert_int_equal(dr_outbox_open(&outbox,
                                    &(dr_outbox_options){ options, DR_EXACTLY_ONCE, "slot-0", a.name }, &err),
                     DR_OK);
    for (int i = 0; i < 2; i++) { /* the first one stays unfinished, so that the metadata is needed */
        if (m)
            rd_kafka_message_destroy(m);
        m = dr_source_take(source, 20000);
        assert_non_null(m);
    }
    settled.origin = (dr_job_origin){ .partition = m->partition, .offset = m->offset };
    rd_kafka_message_destroy(m);
    assert_int_equal(dr_source_plan(source, &settled, 1, &commit, &err), DR_OK);
    assert_true(settled.ours);
    assert_int_equal(dr_outbox_send(outbox, NULL, 0, commit, &err), DR_SENT);
    dr_commit_free(commit); /* "it has not been committed" */

    assert_int_equal(dr_source_plan(source, &settled, 1, &commit, &err), DR_OK);
    assert_true(settled.ours); /* the danger */
    dr_commit_free(commit);
    assert_int_equal(dr_source_reread(source, &err), DR_OK);
    assert_int_equal(dr_source_plan(source, &settled, 1, &commit, &err), DR_OK);
    assert_false(settled.ours);
    dr_commit_free(commit);
    dr_outbox_close(outbox);
    dr_source_close(source);
    arena_close(&a);
}

static void a_second_signal_ends_it_at_once(void **state)
{
    static const char *const slow[] = { "--null-step-us", "100000", NULL }; /* 15 s for the job */
    pid_t worker;
    arena a;
    int64_t begin_ms;

    (void)state;
    arena_open(&a, "signal", NULL);
    put_job(&a, 0, 0, 150);
    assert_int_equal(rd_kafka_flush(a.producer, 20000), RD_KAFKA_RESP_ERR_NO_ERROR);
    worker = start_worker(&a, 0, slow);
    sleep_ms(2500);
    begin_ms = dr_clock_ms();
    kill(worker, SIGTERM);
    sleep_ms(200);
    kill(worker, SIGTERM);
    assert_int_equal(exit_code(worker), 4);
    assert_true(dr_clock_ms() - begin_ms < 5000);
    worker = start_worker(&a, 0, NULL);
    wait_results(&a, 1, 20);
    assert_int_equal(end(worker), 0);
    assert_exactly_once(&a, 1);
    arena_close(&a);
}

static void a_slot_has_one_worker(void **state)
{
    const int64_t until_ms = dr_clock_ms() + 20000;
    pid_t first, second;
    int status = 0;
    arena a;

    (void)state;
    arena_open(&a, "slot", NULL);
    put_jobs(&a, 0, 8);
    first = start_worker(&a, 0, NULL);
    wait_results(&a, 8, 20);
    second = start_worker(&a, 0, NULL);
    while (waitpid(first, &status, WNOHANG) == 0 && dr_clock_ms() < until_ms)
        sleep_ms(50);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 3);
    put_jobs(&a, 8, 16);
    wait_results(&a, 16, 20);
    assert_int_equal(end(second), 0);
    assert_exactly_once(&a, 16);
    arena_close(&a);
}

static void a_result_that_is_too_large_says_so(void **state)
{
    pid_t worker;
    tally t;
    arena a;

    (void)state;
    arena_open(&a, "large", "3000"); /* a picture has 4 kB */
    put_jobs(&a, 0, 6);
    worker = start_worker(&a, 0, NULL);
    wait_results(&a, 6, 30);
    assert_int_equal(end(worker), 0);
    assert_exactly_once(&a, 6);
    count_results(&a, &t, false);
    assert_int_equal(t.failed, 6);
    assert_non_null(strstr(t.last->error.text, "max.message.bytes"));
    dr_result_free(t.last);
    arena_close(&a);
}

static bool broker_listens(void)
{
    struct sockaddr_in at = { .sin_family = AF_INET,
                              .sin_port = htons((uint16_t)atoi(strchr(brokers, ':') + 1)) };
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    bool listens;

    assert_true(fd >= 0);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listens = connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0;
    close(fd);
    return listens;
}

/* The only broker dies in the middle and comes back: everybody waits, nobody gives up. */
static void the_broker_may_die(void **state)
{
    enum { JOBS = 400 };
    pid_t worker;
    arena a;

    (void)state;
    arena_open(&a, "broker", NULL);
    put_jobs(&a, 0, JOBS);
    worker = start_worker(&a, 0, NULL);
    sleep_ms(2000);
    assert_true(broker_listens());
    assert_int_equal(system("tests/kafka/broker.sh kill build/kafka/test-broker"), 0);
    assert_false(broker_listens());
    sleep_ms(1000);
    assert_int_equal(system("tests/kafka/broker.sh again build/kafka/test-broker"), 0);
    wait_results(&a, JOBS, 60);
    assert_int_equal(end(worker), 0);
    assert_exactly_once(&a, JOBS);
    arena_close(&a);
}

static void at_least_once_loses_nothing(void **state)
{
    enum { JOBS = 300 };
    static const char *const flags[] = { "--delivery", "at_least_once", NULL };
    pid_t worker;
    tally t;
    arena a;

    (void)state;
    arena_open(&a, "least", NULL);
    put_jobs(&a, 0, JOBS);
    worker = start_worker(&a, 0, flags);
    for (int k = 0; k < 3; k++) {
        sleep_ms(1200);
        kill(worker, SIGKILL);
        exit_code(worker);
        worker = start_worker(&a, 0, flags);
    }
    wait_results(&a, JOBS, 30);
    assert_int_equal(end(worker), 0);
    count_results(&a, &t, false);
    print_message("    %d jobs, %d results\n", JOBS, t.messages);
    assert_int_equal(distinct(&t), JOBS);
    dr_result_free(t.last);
    arena_close(&a);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jobs_from_a_file_become_pictures_in_a_folder),
        cmocka_unit_test(stable_diffusion_through_kafka_is_what_render_draws),
        cmocka_unit_test(what_is_no_job_is_a_dead_letter_and_harms_nobody),
        cmocka_unit_test(what_finished_out_of_order_is_not_done_again),
        cmocka_unit_test(workers_come_and_go),
        cmocka_unit_test(a_commit_that_nobody_heard_of_is_found),
        cmocka_unit_test(a_second_signal_ends_it_at_once),
        cmocka_unit_test(a_slot_has_one_worker),
        cmocka_unit_test(a_result_that_is_too_large_says_so),
        cmocka_unit_test(at_least_once_loses_nothing),
        cmocka_unit_test(nothing_is_lost_or_doubled_by_kill_9),
        cmocka_unit_test(a_sleeper_doubles_nothing),
        cmocka_unit_test(the_broker_may_die),
    };

    brokers = getenv("TEST_BROKERS");
    program = getenv("TEST_PROGRAM");
    if (!brokers || !program) {
        fprintf(stderr, "to be run by tests/kafka/run.sh\n");
        return 2;
    }
    dr_log_set(DR_LOG_WARN, DR_LOG_TEXT);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

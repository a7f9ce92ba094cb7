/* What /readyz says if a real broker lacks one of a worker's topics, each in turn, until it is created. */
#include "tests/kafka/real_broker.h"
#include "tests/support/http_get.h"

enum { PATIENCE_MS = 60000 };

static void assert_answer(int port, long status, const char *text)
{
    char body[HTTP_BODY_MAX];

    if (http_get(port, "/readyz", body) != status || !strstr(body, text))
        fail_msg("not %ld with \"%s\", but: %s", status, text, body);
}

static void wait_answer(int port, long status, const char *text)
{
    const int64_t until_ms = dr_clock_ms() + PATIENCE_MS;
    char body[HTTP_BODY_MAX];

    while (http_get(port, "/readyz", body) != status || !strstr(body, text)) {
        if (dr_clock_ms() >= until_ms) {
            assert_answer(port, status, text);
            return;
        }
        sleep_ms(50);
    }
}

/* missing: which of the worker's three topics does not exist at first. */
static void is_ready_once_its_topic_is_there(const char *name, int missing)
{
    const int port = 20000 + (getpid() + 101 * (missing + 1)) % 20000;
    char http[32], body[HTTP_BODY_MAX], said[96];
    arena a = { .name = name };
    char *const topics[] = { a.jobs, a.results, a.dead };
    pid_t worker;

    a.producer = client(RD_KAFKA_PRODUCER, false);
    snprintf(a.jobs, sizeof(a.jobs), "%s.jobs", name);
    snprintf(a.results, sizeof(a.results), "%s.results", name);
    snprintf(a.dead, sizeof(a.dead), "%s.dead", name);
    for (int i = 0; i < 3; i++)
        if (i != missing)
            create_topic(a.producer, topics[i], i == 0 ? PARTITIONS : 2, NULL, NULL);
    snprintf(http, sizeof(http), "127.0.0.1:%d", port);
    worker = start_worker(&a, 0, (const char *[]){ "--http", http, NULL });
    snprintf(said, sizeof(said), "%s: Broker: Unknown topic or partition", topics[missing]);
    wait_answer(port, 503, said);
    for (int i = 0; i < 40; i++) { /* and it stays so: markers are committed meanwhile */
        sleep_ms(50);
        assert_answer(port, 503, said);
    }
    assert_int_equal(http_get(port, "/metrics", body) / 100, 2);
    assert_non_null(strstr(body, "\ndarkroom_ready 0\n"));
    assert_int_equal(http_get(port, "/healthz", body), 200);
    create_topic(a.producer, topics[missing], missing == 0 ? PARTITIONS : 2, NULL, NULL);
    wait_answer(port, 200, "ok");
    put_jobs(&a, 0, 20);
    wait_results(&a, 20, 60);
    wait_answer(port, 200, "ok");
    assert_int_equal(end(worker), 0);
    arena_close(&a);
}

static void without_a_results_topic_it_is_not_ready(void **state)
{
    (void)state;
    is_ready_once_its_topic_is_there("ready-results", 1);
}

static void without_a_dead_letters_topic_it_is_not_ready(void **state)
{
    (void)state;
    is_ready_once_its_topic_is_there("ready-dead", 2);
}

static void without_a_jobs_topic_it_is_not_ready(void **state)
{
    (void)state;
    is_ready_once_its_topic_is_there("ready-jobs", 0);
}

/* An idle worker notices each topic that is deleted, and goes on once it is created again.  The same offsets
 * of the second topic of jobs are other jobs than those of the first. */
static void a_topic_that_is_deleted_is_missed(void **state)
{
    enum { JOBS = 20 };
    const int port = 20000 + (getpid() + 505) % 20000;
    char http[32], said[96];
    pid_t worker;
    arena a;

    (void)state;
    arena_open(&a, "ready-deleted", NULL);
    snprintf(http, sizeof(http), "127.0.0.1:%d", port);
    worker = start_worker(&a, 0, (const char *[]){ "--http", http, NULL });
    wait_answer(port, 200, "ok");
    put_jobs(&a, 0, JOBS);
    wait_results(&a, JOBS, 60);
    for (int i = 0; i < 3; i++) {
        char *const topics[] = { a.dead, a.jobs, a.results };
        delete_topic(a.producer, topics[i]);
        snprintf(said, sizeof(said), "%s: Broker: Unknown topic or partition", topics[i]);
        wait_answer(port, 503, said);
        create_topic(a.producer, topics[i], topics[i] == a.jobs ? PARTITIONS : 2, NULL, NULL);
        wait_answer(port, 200, "ok");
    }
    rd_kafka_destroy(a.producer); /* it has a cache of the first topic */
    a.producer = client(RD_KAFKA_PRODUCER, false);
    put_jobs(&a, 0, JOBS);
    wait_results(&a, JOBS, 60);
    assert_exactly_once(&a, JOBS);
    wait_answer(port, 200, "ok");
    assert_int_equal(end(worker), 0);
    arena_close(&a);
}

/* The topic of jobs is deleted while its jobs run.  Their results belong to nobody, and the worker becomes
 * ready again. */
static void what_ran_of_a_deleted_topic_is_forgotten(void **state)
{
    enum { FIRST = 64, JOBS = 40 };
    const int port = 20000 + (getpid() + 606) % 20000;
    char http[32], said[96];
    pid_t worker;
    arena a;
    tally t;

    (void)state;
    arena_open(&a, "ready-forgotten", NULL);
    snprintf(http, sizeof(http), "127.0.0.1:%d", port);
    worker = start_worker(&a, 0, (const char *[]){ "--http", http, NULL });
    wait_answer(port, 200, "ok");
    for (int i = 0; i < FIRST; i++)
        put_job(&a, i % PARTITIONS, JOBS + i, 140); /* together some seconds */
    wait_results(&a, 1, 60);
    delete_topic(a.producer, a.jobs);
    snprintf(said, sizeof(said), "%s: Broker: Unknown topic or partition", a.jobs);
    wait_answer(port, 503, said);
    create_topic(a.producer, a.jobs, PARTITIONS, NULL, NULL);
    wait_answer(port, 200, "ok");
    rd_kafka_destroy(a.producer); /* it has a cache of the first topic */
    a.producer = client(RD_KAFKA_PRODUCER, false);
    count_results(&a, &t, false);
    dr_result_free(t.last);
    const int before = t.messages;
    assert_true(before < FIRST); /* some ran when it was deleted */
    put_jobs(&a, 0, JOBS);
    wait_results(&a, before + JOBS, 60);
    assert_int_equal(end(worker), 0);
    count_results(&a, &t, false);
    dr_result_free(t.last);
    assert_int_equal(t.messages, before + JOBS);
    for (int i = 0; i < JOBS; i++)
        assert_int_equal(t.results[i], 1);
    arena_close(&a);
}

/* A topic of jobs is made anew with fewer partitions.  The broker gives the worker, a static member, all
 * partitions that it had: the worker reads those that there are, and every job has its one result. */
static void a_topic_may_come_back_with_fewer_partitions(void **state)
{
    enum { FIRST = 20, JOBS = 20 };
    const int port = 20000 + (getpid() + 707) % 20000;
    char http[32];
    pid_t worker;
    arena a;

    (void)state;
    arena_open(&a, "ready-fewer", NULL);
    snprintf(http, sizeof(http), "127.0.0.1:%d", port);
    worker = start_worker(&a, 0, (const char *[]){ "--http", http, NULL });
    wait_answer(port, 200, "ok");
    put_jobs(&a, 0, FIRST);
    wait_results(&a, FIRST, 60);
    delete_topic(a.producer, a.jobs);
    wait_answer(port, 503, "Unknown topic or partition");
    create_topic(a.producer, a.jobs, 1, NULL, NULL);
    wait_answer(port, 200, "ok");
    rd_kafka_destroy(a.producer); /* it has a cache of the first topic */
    a.producer = client(RD_KAFKA_PRODUCER, false);
    for (int i = FIRST; i < FIRST + JOBS; i++)
        put_job(&a, 0, i, 2);
    assert_int_equal(rd_kafka_flush(a.producer, 30000), RD_KAFKA_RESP_ERR_NO_ERROR);
    wait_results(&a, FIRST + JOBS, 60);
    assert_exactly_once(&a, FIRST + JOBS);
    wait_answer(port, 200, "ok");
    /* rd_kafka_destroy() of librdkafka 2.0.2 waits for ever for the partitions that are gone.  The worker
     * leaves such a client behind, and ends. */
    assert_int_equal(end(worker), 0);
    arena_close(&a);
}

/* Waits until the log of the test's worker slot-0 has the text. */
static void wait_log(const arena *a, const char *text)
{
    const int64_t until_ms = dr_clock_ms() + PATIENCE_MS;
    char path[96], line[4096];
    bool found = false;

    snprintf(path, sizeof(path), "build/kafka/test-%s-0.log", a->name);
    while (!found && dr_clock_ms() < until_ms) {
        FILE *f = fopen(path, "r");
        while (f && !found && fgets(line, sizeof(line), f))
            found = strstr(line, text) != NULL;
        if (f)
            fclose(f);
        if (!found)
            sleep_ms(50);
    }
    if (!found)
        fail_msg("%s: nowhere \"%s\"", path, text);
}

/* A worker dies while the topic of jobs is missing, so that the group shares out no partitions.  The other
 * worker has them all soon after the topic is there again. */
static void a_group_without_its_topic_finds_it_again(void **state)
{
    enum { FIRST = 20, JOBS = 20 };
    pid_t worker, other;
    arena a;

    (void)state;
    arena_open(&a, "ready-again", NULL);
    worker = start_worker(&a, 0, NULL);
    other = start_worker(&a, 1, NULL);
    wait_log(&a, "2 partitions of topic ready-again.jobs are assigned");
    put_jobs(&a, 0, FIRST);
    wait_results(&a, FIRST, 60);
    delete_topic(a.producer, a.jobs);
    kill(other, SIGKILL);
    waitpid(other, NULL, 0);
    wait_log(&a, "0 partitions of topic ready-again.jobs are assigned");
    create_topic(a.producer, a.jobs, PARTITIONS, NULL, NULL);
    rd_kafka_destroy(a.producer); /* it has a cache of the first topic */
    a.producer = client(RD_KAFKA_PRODUCER, false);
    put_jobs(&a, FIRST, FIRST + JOBS);
    wait_results(&a, FIRST + JOBS, 60);
    assert_exactly_once(&a, FIRST + JOBS);
    assert_int_equal(end(worker), 0);
    arena_close(&a);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_results_topic_it_is_not_ready),
        cmocka_unit_test(without_a_dead_letters_topic_it_is_not_ready),
        cmocka_unit_test(without_a_jobs_topic_it_is_not_ready),
        cmocka_unit_test(a_topic_that_is_deleted_is_missed),
        cmocka_unit_test(what_ran_of_a_deleted_topic_is_forgotten),
        cmocka_unit_test(a_group_without_its_topic_finds_it_again),
        cmocka_unit_test(a_topic_may_come_back_with_fewer_partitions),
    };

    if (!set_up(argc, argv))
        return 1;
    return cmocka_run_group_tests_name("ready", tests, NULL, NULL);
}

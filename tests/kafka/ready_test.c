/* What /readyz says where a real broker lacks something: every one of a worker's topics in turn, until it is made. */
#include "tests/kafka/real_broker.h"

#include <curl/curl.h>

enum { BODY_MAX = 65536, PATIENCE_MS = 60000 };

static size_t on_body(char *bytes, size_t one, size_t count, void *arg)
{
    char *body = arg;
    const size_t used = strlen(body);

    assert_true(used + one * count < BODY_MAX);
    memcpy(body + used, bytes, one * count);
    body[used + one * count] = '\0';
    return one * count;
}

/* The answer's status; 0: nobody listens. */
static long get(int port, const char *path, char body[BODY_MAX])
{
    CURL *curl = curl_easy_init();
    char url[128];
    long status = 0;

    body[0] = '\0';
    snprintf(url, sizeof(url), "http://127.0.0.1:%d%s", port, path);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, body);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    if (curl_easy_perform(curl) == CURLE_OK)
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_cleanup(curl);
    return status;
}

static void assert_answer(int port, long status, const char *text)
{
    char body[BODY_MAX];

    if (get(port, "/readyz", body) != status || !strstr(body, text))
        fail_msg("not %ld with \"%s\", but: %s", status, text, body);
}

static void wait_answer(int port, long status, const char *text)
{
    const int64_t until_ms = dr_clock_ms() + PATIENCE_MS;
    char body[BODY_MAX];

    while ((get(port, "/readyz", body) != status || !strstr(body, text)) && dr_clock_ms() < until_ms)
        sleep_ms(50);
    assert_answer(port, status, text);
}

/* missing: which of its three topics is not there at first. */
static void is_ready_once_its_topic_is_there(const char *name, int missing)
{
    const int port = 20000 + (getpid() + 101 * (missing + 1)) % 20000;
    char http[32], body[BODY_MAX], said[96];
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
    assert_int_equal(get(port, "/metrics", body) / 100, 2);
    assert_non_null(strstr(body, "\ndarkroom_ready 0\n"));
    assert_int_equal(get(port, "/healthz", body), 200);
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

/* An idle worker notices each topic that is deleted, and goes on once it is there again.  What stands at the offsets of the second
 * topic of jobs is not what it did of the first one. */
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

/* What runs of a topic of jobs that is deleted meanwhile is nobody's any more, and no reason to be unready for ever. */
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

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_results_topic_it_is_not_ready),
        cmocka_unit_test(without_a_dead_letters_topic_it_is_not_ready),
        cmocka_unit_test(without_a_jobs_topic_it_is_not_ready),
        cmocka_unit_test(a_topic_that_is_deleted_is_missed),
        cmocka_unit_test(what_ran_of_a_deleted_topic_is_forgotten),
    };

    if (!set_up(argc, argv))
        return 1;
    return cmocka_run_group_tests_name("ready", tests, NULL, NULL);
}

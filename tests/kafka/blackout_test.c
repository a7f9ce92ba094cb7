/* The network between workers and the broker stops for seconds.  A member that comes back can be fenced by
 * its own late request.  Nothing is lost, nothing is doubled, and no worker ends.
 *
 * BLACKOUTS=n in the environment: so many, instead of a few. */
#include "tests/kafka/proxy.h"
#include "tests/kafka/real_broker.h"

enum { WORKERS = 2 };

static int broker_port(void)
{
    return atoi(strchr(brokers, ':') + 1);
}

static bool is_alive(pid_t pid)
{
    siginfo_t info = { 0 };

    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT), 0);
    return info.si_pid == 0;
}

static pid_t start_behind_proxy(arena *a, int slot)
{
    char setting[64];
    const char *const flags[] = { "-X", setting, NULL };

    snprintf(setting, sizeof(setting), "bootstrap.servers=localhost:%d", broker_port() + 3);
    return start_worker(a, slot, flags);
}

static void blackouts_end_nobody(void **state)
{
    const char *wanted = getenv("BLACKOUTS");
    const int blackouts = wanted ? atoi(wanted) : 4;
    enum { JOBS_EACH = 60, SHORTEST_MS = 3000, LONGEST_MS = 14000 };
    int jobs = 0;
    pid_t proxy, worker[WORKERS];
    arena a;

    (void)state;
    assert_in_range(blackouts, 1, JOBS_MAX / JOBS_EACH - 1);
    arena_open(&a, "blackout", NULL);
    proxy = proxy_start(broker_port() + 3, broker_port() + 2);
    for (int i = 0; i < WORKERS; i++)
        worker[i] = start_behind_proxy(&a, i);
    put_jobs(&a, jobs, jobs + JOBS_EACH);
    jobs += JOBS_EACH;
    wait_results(&a, jobs, 60);
    for (int b = 0; b < blackouts; b++) {
        const int ms = SHORTEST_MS + (int)draw(LONGEST_MS - SHORTEST_MS);
        put_jobs(&a, jobs, jobs + JOBS_EACH);
        jobs += JOBS_EACH;
        sleep_ms((int)draw(500)); /* in the middle of them */
        proxy_hold(proxy, true);
        sleep_ms(ms);
        proxy_hold(proxy, false);
        print_message("    blackout %d of %d: %d ms\n", b + 1, blackouts, ms);
        wait_results(&a, jobs, 120);
        for (int i = 0; i < WORKERS; i++)
            assert_true(is_alive(worker[i]));
    }
    for (int i = 0; i < WORKERS; i++)
        assert_int_equal(end(worker[i]), 0);
    assert_exactly_once(&a, jobs);
    kill(proxy, SIGKILL);
    exit_code(proxy);
    arena_close(&a);
}

static void count_dead(void *arg, const rd_kafka_message_t *m)
{
    tally *t = arg;

    assert_int_equal(m->len, 7);
    t->messages++;
}

/* Joins the group once under the worker's name and is silent then, as the late request of a worker would do
 * it. */
static void join_once(const char *group, const char *name, const char *topic)
{
    const int64_t until_ms = dr_clock_ms() + 30000;
    const dr_property settings[] = { { "bootstrap.servers", brokers }, { "session.timeout.ms", "6000" } };
    const dr_kafka_options options = { settings, 2 };
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_conf_t *conf;
    rd_kafka_t *rk;
    dr_error err;
    int partitions = 0;

    assert_int_equal(dr_kafka_conf(&conf, DR_KAFKA_GROUP_CONSUMER, &options, &err), DR_OK);
    assert_int_equal(dr_kafka_conf_set(conf, "group.id", group, &err), DR_OK);
    assert_int_equal(dr_kafka_conf_set(conf, "group.instance.id", name, &err), DR_OK);
    assert_int_equal(dr_kafka_create(&rk, RD_KAFKA_CONSUMER, conf, &err), DR_OK);
    rd_kafka_topic_partition_list_add(list, topic, RD_KAFKA_PARTITION_UA);
    assert_int_equal(rd_kafka_subscribe(rk, list), RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_topic_partition_list_destroy(list);
    while (partitions == 0 && dr_clock_ms() < until_ms) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(rk, 50);
        if (m)
            rd_kafka_message_destroy(m);
        assert_int_equal(rd_kafka_assignment(rk, &list), RD_KAFKA_RESP_ERR_NO_ERROR);
        partitions = list->cnt;
        rd_kafka_topic_partition_list_destroy(list);
    }
    assert_true(partitions > 0);
    rd_kafka_destroy_flags(rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
}

static void wait_logged(const char *log, const char *text)
{
    const int64_t until_ms = dr_clock_ms() + 30000;
    char command[256];

    snprintf(command, sizeof(command), "grep -q '%s' %s", text, log);
    while (system(command) != 0 && dr_clock_ms() < until_ms)
        sleep_ms(100);
    assert_int_equal(system(command), 0);
}

/* The worker holds jobs, and messages that are no jobs, when it is fenced. */
static void a_request_of_its_own_that_comes_late_ends_nobody(void **state)
{
    static const char *const flags[] = { "--null-step-us", "20000", NULL };
    enum { JOBS = 120, GARBAGE = 8 };
    pid_t worker;
    arena a;
    tally dead = { 0 };

    (void)state;
    arena_open(&a, "late", NULL);
    worker = start_worker(&a, 0, flags);
    put_jobs(&a, 0, JOBS / 2);
    wait_results(&a, 1, 40);
    join_once(a.name, "slot-0", a.jobs);
    for (int i = 0; i < GARBAGE; i++)
        put(&a, i % PARTITIONS, "k", "garbage", 7);
    put_jobs(&a, JOBS / 2, JOBS);
    wait_logged("build/kafka/test-late-0.log", "attempt 1 of");
    wait_results(&a, JOBS, 60);
    assert_true(is_alive(worker));
    assert_int_equal(end(worker), 0);
    assert_exactly_once(&a, JOBS);
    read_topic(a.dead, 1, false, count_dead, &dead);
    assert_int_equal(dead.messages, GARBAGE);
    arena_close(&a);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(a_request_of_its_own_that_comes_late_ends_nobody),
                                        cmocka_unit_test(blackouts_end_nobody) };

    return set_up(argc, argv) ? cmocka_run_group_tests(tests, NULL, NULL) : 2;
}

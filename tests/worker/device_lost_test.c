/* A worker whose device is lost ends with its own code, and every job that it had not finished is done by the next
 * worker: once, and as if nothing had been.  Without transactions, whose offsets the mock broker forgets: then what
 * the first one committed counts for the second. */
#include "tests/worker/broker_fixture.h"
#include "tests/worker/program.h"
#include "worker/job_fields.h"
#include "worker/result.h"

enum { JOBS = 12, LOSES = 7, PATIENCE_MS = 60000 };

static char folder[64];
static broker shared;

static int begin(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/darkroom-lost-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(program_said, sizeof(program_said), "%s/said", folder);
    broker_open(&shared, 1);
    return 0;
}

static int end(void **state)
{
    char command[128];
    (void)state;
    broker_close(&shared);
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    return system(command);
}

static pid_t start_worker(const char *device)
{
    char *const argv[] = {
        program,
        "worker",
        "--brokers",
        (char *)(uintptr_t)dr_mock_broker_bootstrap(shared.mock),
        "--worker",
        "slot-0",
        "--jobs-topic",
        "jobs",
        "--results-topic",
        "results",
        "--events-topic",
        "",
        "--control-topic",
        "",
        "--delivery",
        "at_least_once",
        "--http",
        "",
        "--device",
        (char *)(uintptr_t)device,
        "--models",
        "tests/goldens/models",
        "--batch-max",
        "2",
        "--log-format",
        "text",
        "-X",
        "consumer.session.timeout.ms=4000",
        "-X",
        "consumer.heartbeat.interval.ms=300",
        NULL,
    };
    return program_spawn(argv);
}

static void put_jobs(void)
{
    for (int i = 0; i < JOBS; i++) {
        char line[256], id[16];
        dr_error err;
        dr_job *job;
        void *bytes;
        size_t size;

        snprintf(id, sizeof(id), "job-%d", i);
        snprintf(line, sizeof(line),
                 "{\"id\":\"%s\",\"model\":\"sd1\",\"prompt\":\"%s\",\"width\":64,\"height\":64,\"steps\":1}",
                 id, i == LOSES ? "!lose device" : "a red fox");
        assert_int_equal(dr_job_parse(&job, line, strlen(line), NULL, NULL, &err), DR_OK);
        assert_int_equal(dr_job_encode(job, &bytes, &size, &err), DR_OK);
        broker_put(&shared, i % PARTITIONS, id, bytes, size, NULL);
        free(bytes);
        dr_job_free(job);
    }
}

/* How many jobs have a result; each at most one, and none that says that it failed. */
static int results(bool *loser_has_one)
{
    read_log log;
    int n = 0;

    log_read(&log, &shared, "results");
    for (int i = 0; i < JOBS; i++) {
        const rd_kafka_message_t *m = NULL;
        char id[16];
        dr_result *r;
        dr_error err;

        snprintf(id, sizeof(id), "job-%d", i);
        const int found = log_find(&log, id, &m);
        assert_true(found <= 1);
        n += found;
        if (i == LOSES)
            *loser_has_one = found == 1;
        if (!found)
            continue;
        assert_int_equal(dr_result_decode(&r, m->payload, m->len, &err), DR_OK);
        assert_string_equal(dr_result_state_name(r), "succeeded");
        dr_result_free(r);
    }
    log_free(&log);
    return n;
}

static void the_next_worker_does_what_the_lost_device_had(void **state)
{
    const int64_t until_ms = dr_clock_ms() + PATIENCE_MS;
    bool loser_has_one;
    pid_t pid;
    (void)state;

    put_jobs();
    pid = start_worker("null");
    assert_int_equal(program_code(pid), 5);
    assert_true(program_has_said("the null device is lost, as asked"));
    assert_true(program_has_said("drained: what the device had finished is committed"));
    assert_true(results(&loser_has_one) < JOBS);
    assert_false(loser_has_one);

    pid = start_worker("cpu"); /* to which the prompt is a prompt */
    while (results(&loser_has_one) < JOBS && dr_clock_ms() < until_ms)
        usleep(200000);
    assert_int_equal(results(&loser_has_one), JOBS);
    assert_true(loser_has_one);
    assert_int_equal(kill(pid, SIGTERM), 0);
    assert_int_equal(program_code(pid), 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(the_next_worker_does_what_the_lost_device_had) };

    (void)argc;
    program_find(argv[0]);
    return cmocka_run_group_tests_name("device lost", tests, begin, end);
}

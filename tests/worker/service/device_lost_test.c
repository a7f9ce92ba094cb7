/* A worker whose device is lost ends with its own code, and every job that it had not finished is done by
 * the next worker: once, and as if nothing had been.  If that worker's device is lost too, and again,
 * only the job that ran each time fails with that reason.  The test uses no transactions, because
 * the mock broker forgets their offsets.  So what the first worker committed counts for the second. */
#include "tests/worker/broker_fixture.h"
#include "tests/worker/program.h"
#include "worker/jobs/job_fields.h"
#include "worker/jobs/result.h"

enum { JOBS = 12, LOSES = 7, PATIENCE_MS = 60000 };

static broker shared;

static int begin(void **state)
{
    broker_open(&shared, 1);
    return program_begin(state);
}

static int end(void **state)
{
    broker_close(&shared);
    return program_end(state);
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
        "consumer.session.timeout.ms=5000", /* tests/worker/broker_fixture.h says why */
        "-X",
        "consumer.heartbeat.interval.ms=100",
        "-X",
        "consumer.fetch.wait.max.ms=10",
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
        assert_int_equal(dr_job_parse(&job, &(dr_job_line){ .text = line, .size = strlen(line) }, NULL, &err),
                         DR_OK);
        assert_int_equal(dr_job_encode(job, &bytes, &size, &err), DR_OK);
        broker_put(&shared, i % PARTITIONS, id, bytes, size, NULL);
        free(bytes);
        dr_job_free(job);
    }
}

/* How many jobs have a result.  Each has at most one, and each result that is not the loser's is a good one.
 * *loser is the caller's; NULL: the loser has no result. */
static int results(dr_result **loser)
{
    read_log log;
    int n = 0;

    *loser = NULL;
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
        if (!found)
            continue;
        assert_int_equal(dr_result_decode(&r, m->payload, m->len, &err), DR_OK);
        if (i == LOSES) {
            *loser = r;
            continue;
        }
        assert_string_equal(dr_result_state_name(r), "succeeded");
        dr_result_free(r);
    }
    log_free(&log);
    return n;
}

/* A null device is lost with the loser, which then has no result.  Returns how many other jobs have one. */
static int run_into_it(void)
{
    const pid_t pid = start_worker("null");
    dr_result *loser;
    int n;

    assert_int_equal(program_code(pid), 5);
    assert_true(program_has_said("the null device is lost, as asked"));
    assert_true(program_has_said("drained: what the device had finished is committed"));
    n = results(&loser);
    assert_null(loser);
    assert_true(n < JOBS);
    return n;
}

/* Runs a worker until all jobs have a result.  Then *loser is the caller's. */
static void run_to_the_end(const char *device, dr_result **loser)
{
    const int64_t until_ms = dr_clock_ms() + PATIENCE_MS;
    const pid_t pid = start_worker(device);

    while (results(loser) < JOBS && dr_clock_ms() < until_ms) {
        dr_result_free(*loser);
        usleep(50000);
    }
    assert_non_null(*loser);
    assert_int_equal(kill(pid, SIGTERM), 0);
    assert_int_equal(program_code(pid), 0);
}

static void the_next_worker_does_what_the_lost_device_had(void **state)
{
    dr_result *loser;
    (void)state;

    put_jobs();
    run_into_it();
    run_to_the_end("cpu", &loser); /* for the CPU the prompt is only a prompt */
    assert_string_equal(dr_result_state_name(loser), "succeeded");
    dr_result_free(loser);
}

static void a_job_that_every_device_is_lost_with_fails(void **state)
{
    dr_result *loser;
    pid_t pid;
    (void)state;

    put_jobs();
    run_into_it();
    for (int losses = 1; losses < DR_DEVICE_LOSSES_MAX; losses++) {
        char alone[128];
        snprintf(alone, sizeof(alone),
                 "job job-%d: a device was lost while it ran, %d of at most %d times: it runs alone", LOSES,
                 losses, DR_DEVICE_LOSSES_MAX);
        if (losses + 1 < DR_DEVICE_LOSSES_MAX) {
            run_into_it();
        } else {
            pid = start_worker("null");
            assert_int_equal(program_code(pid), 5);
            results(&loser);
            assert_non_null(loser);
            dr_result_free(loser);
        }
        assert_true(program_has_said(alone));
    }
    run_to_the_end("null", &loser);
    assert_string_equal(dr_result_state_name(loser), "failed");
    assert_int_equal(loser->error.status, DR_EDEVICE);
    assert_false(loser->error.retriable);
    assert_string_equal(loser->error.text,
                        "a device was lost each of the 3 times that this job ran: job job-7: the null device "
                        "is lost, as asked");
    dr_result_free(loser);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_next_worker_does_what_the_lost_device_had, begin, end),
        cmocka_unit_test_setup_teardown(a_job_that_every_device_is_lost_with_fails, begin, end),
    };

    (void)argc;
    program_find(argv[0]);
    return cmocka_run_group_tests_name("device lost", tests, NULL, NULL);
}

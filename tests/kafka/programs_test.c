/* The programs at a real broker: jobs are submitted, done by workers and collected.  And what a worker says
 * if a job is wrong, if another worker has its name, or if its time is over. */
#include "tests/kafka/real_broker.h"

static int run_program(const char *const *args)
{
    return exit_code(spawn("build/kafka/test-program.log", args));
}

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
    worker = start_worker(&a, 0, (const char *[]){ "--model-wait-s", "0", NULL });
    assert_int_equal(run_program(submit), 1);  /* the line that is bad */
    assert_int_equal(run_program(collect), 1); /* the model that is missing */
    assert_int_equal(access("build/kafka/out/one.png", R_OK), 0);
    assert_int_equal(access("build/kafka/out/two@0.png", R_OK), 0);
    assert_int_equal(access("build/kafka/out/two@1.png", R_OK), 0);
    assert_int_equal(run_program(collect), 1); /* has everything already, and a failure among it */
    assert_int_equal(end(worker), 0);
    arena_close(&a);
}

/* The model in this tree, and one of another kind. */
#define MODELS "build/kafka/models"
#define LINK_MODELS                                                                  \
    "rm -rf " MODELS " && mkdir -p " MODELS " && ln -s ../../../models/tiny " MODELS \
    "/tiny && "                                                                      \
    "ln -s ../../../tests/goldens/models/sd2 " MODELS "/sd2"

/* The engine draws the same bytes through the broker and without it. */
static void stable_diffusion_through_kafka_is_what_render_draws(void **state)
{
    static const char lines[] =
        "{\"id\":\"apple\",\"model\":\"tiny\",\"prompt\":\"a red "
        "apple\",\"width\":128,\"height\":128,\"steps\":10,"
        "\"seed\":7,\"sampler\":\"euler_a\"}\n"
        "{\"id\":\"dog\",\"model\":\"tiny\",\"prompt\":\"a "
        "dog face\",\"width\":128,\"height\":128,\"steps\":10,\"seed\":8}\n"
        "{\"id\":\"cat\",\"model\":\"sd2\",\"prompt\":\"a "
        "cat\",\"width\":72,\"height\":64,\"steps\":5,\"seed\":9}\n";
    static const char *const cpu[] = { "--device", "cpu", "--models", MODELS, NULL };
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
                             "--models", MODELS,
                             "--jobs",   "build/kafka/model-jobs.jsonl",
                             "--out",    "build/kafka/drawn",
                             NULL };
    char command[128];
    pid_t worker;

    (void)state;
    arena_open(&a, "model", NULL);
    assert_int_equal(system("rm -rf build/kafka/sent build/kafka/drawn && " LINK_MODELS), 0);
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
    text = kafka_header(headers, "kafka_dlt-original-offset", &size);
    assert_non_null(text);
    assert_string_equal(text, "1");
    assert_non_null(kafka_header(headers, "kafka_dlt-exception-message", &size));
    rd_kafka_headers_destroy(headers);
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

/* Two workers of one name fence each other a few times, since each may have been fenced by itself.  Then one
 * of them knows. */
static void a_slot_has_one_worker(void **state)
{
    const int64_t until_ms = dr_clock_ms() + 120000;
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

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jobs_from_a_file_become_pictures_in_a_folder),
        cmocka_unit_test(stable_diffusion_through_kafka_is_what_render_draws),
        cmocka_unit_test(what_is_no_job_is_a_dead_letter_and_harms_nobody),
        cmocka_unit_test(a_result_that_is_too_large_says_so),
        cmocka_unit_test(a_second_signal_ends_it_at_once),
        cmocka_unit_test(a_slot_has_one_worker),
    };

    return set_up(argc, argv) ? cmocka_run_group_tests(tests, NULL, NULL) : 2;
}

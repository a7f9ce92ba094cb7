/* `darkroom collect`: results of a topic are kept, and what only looks like a result is not. */
#include "worker/jobs/result.h"
#include "worker/pictures/picture.h"
#include "worker/render/results_file.h"

#include "tests/worker/broker_fixture.h"
#include "tests/worker/program.h"
#include "worker/render/jobs_file.h"

#include <jansson.h>

static broker b;
static char out[128];

static int begin(void **state)
{
    program_begin(state);
    snprintf(out, sizeof(out), "%s/out", program_folder.path);
    broker_open(&b, 1);
    return 0;
}

static int end(void **state)
{
    broker_close(&b);
    return program_end(state);
}

static dr_result *result_of(const char *id, const char *bytes)
{
    char line[160];
    dr_job *job;
    dr_result *r;

    snprintf(line, sizeof(line),
             "{\"id\":\"%s\",\"model\":\"m\",\"width\":64,\"height\":64,\"sampler\":\"ddim\"}", id);
    assert_int_equal(dr_job_parse(&job, &(dr_job_line){ .text = line, .size = strlen(line) }, NULL, NULL),
                     DR_OK);
    r = dr_result_create(job);
    r->pictures = 1;
    r->picture[0] =
        (dr_rendition){ .bytes = strdup(bytes), .size = strlen(bytes), .width = 64, .height = 64 };
    dr_sha256_hex(r->picture[0].sha256, bytes, strlen(bytes));
    return r;
}

static void put_bytes(const void *bytes, size_t size, const char *key)
{
    assert_int_equal(rd_kafka_producev(b.producer, RD_KAFKA_V_TOPIC("results"), RD_KAFKA_V_PARTITION(0),
                                       RD_KAFKA_V_KEY(key, strlen(key)),
                                       RD_KAFKA_V_VALUE((void *)(uintptr_t)bytes, size),
                                       RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END),
                     RD_KAFKA_RESP_ERR_NO_ERROR);
    assert_int_equal(rd_kafka_flush(b.producer, 20000), RD_KAFKA_RESP_ERR_NO_ERROR);
}

/* Takes the result. */
static void put(dr_result *r, const char *key)
{
    void *bytes;
    size_t size;

    assert_int_equal(dr_result_encode(r, "test", &bytes, &size, NULL), DR_OK);
    put_bytes(bytes, size, key);
    free(bytes);
    dr_result_free(r);
}

static int collect(char *count)
{
    char *argv[] = { program,
                     "collect",
                     "--brokers",
                     (char *)(uintptr_t)dr_mock_broker_bootstrap(b.mock),
                     "--results-topic",
                     "results",
                     "--count",
                     count,
                     "--timeout-s",
                     "60",
                     "--out",
                     out,
                     NULL };
    return program_code(program_spawn(argv));
}

static bool exists(const char *name)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", out, name);
    return access(path, F_OK) == 0;
}

static void what_only_looks_like_a_result_is_told(void **state)
{
    dr_result *r;
    (void)state;

    put(result_of("other", "picture"), "someone");
    put(result_of("keyless", "picture"), "");
    r = result_of("changed", "picture");
    ((char *)r->picture[0].bytes)[3] ^= 1;
    put(r, "changed");
    r = result_of("cut", "picture");
    r->picture[0].size--;
    put(r, "cut");
    r = result_of("lacking", "picture");
    r->job->images = 2;
    r->job->given |= 1u << 11; /* any bit: the field is sent */
    put(r, "lacking");
    put(result_of("good", "picture"), "good");
    assert_int_equal(collect("1"), 0);
    assert_true(program_has_said("a result of job other has another job's key"));
    assert_true(program_has_said("a result of job keyless has another job's key"));
    assert_true(program_has_said("job changed: picture 0 does not have the bytes of its hash"));
    assert_true(program_has_said("job cut: picture 0 does not have the bytes"));
    assert_true(program_has_said("job lacking: it has 1 of 2 pictures"));
    assert_true(exists("good.png"));
    assert_false(exists("other.png") || exists("changed.png") || exists("cut.png") || exists("lacking.png") ||
                 exists("lacking@0.png"));
}

/* Text from a topic does not control the terminal.  Our own workers send clean text, so the test changes
 * the bytes. */
static void a_terminal_is_not_commanded(void **state)
{
    static const char hostile[] =
        "red \xc2\x9b"
        "31m \xe2\x80\xae"
        "backwards",
                      placeholder[] = "red **31m ***backwards";
    dr_result *r = result_of("bad", "");
    void *bytes;
    char *at;
    size_t size;
    (void)state;

    dr_fail(&r->error, DR_EINVAL, "%s", placeholder);
    r->pictures = 0;
    free(r->picture[0].bytes);
    assert_int_equal(dr_result_encode(r, "test", &bytes, &size, NULL), DR_OK);
    at = memmem(bytes, size, placeholder, strlen(placeholder));
    assert_non_null(at);
    memcpy(at, hostile, strlen(hostile));
    put_bytes(bytes, size, "bad");
    free(bytes);
    dr_result_free(r);
    assert_int_equal(collect("1"), 1);
    assert_int_equal(dr_file_read(program_said, 1 << 20, &bytes, &size, NULL), DR_OK);
    assert_non_null(strstr(bytes, "red  31m  backwards"));
    free(bytes);
}

static dr_result *failure_of(const char *id)
{
    dr_result *r = result_of(id, "");

    dr_fail(&r->error, DR_ENOTFOUND, "job %s: no model", id);
    free(r->picture[0].bytes);
    r->pictures = 0;
    return r;
}

/* A job that failed and was sent again.  The topic keeps both results, and is read from its start each
 * time. */
static void a_success_takes_a_failures_place_and_nothing_a_successs(void **state)
{
    (void)state;

    put(failure_of("again"), "again");
    assert_int_equal(collect("1"), 1);
    assert_int_equal(collect("1"), 1); /* the folder has it, and it has failed */
    put(result_of("again", "picture"), "again");
    put(failure_of("again"), "again");
    put(result_of("again", "another"), "again");
    put(result_of("last", "picture"), "last");
    assert_int_equal(collect("2"), 0);
    assert_true(exists("again.png"));
    put(result_of("end", "picture"), "end");
    assert_int_equal(collect("3"), 0);

    char path[256];
    void *bytes;
    size_t size;
    snprintf(path, sizeof(path), "%s/again.png", out);
    assert_int_equal(dr_file_read(path, 64, &bytes, &size, NULL), DR_OK);
    assert_string_equal(bytes, "picture");
    free(bytes);
    snprintf(path, sizeof(path), "%s/results.jsonl", out);
    assert_int_equal(dr_file_read(path, 1 << 20, &bytes, &size, NULL), DR_OK);
    assert_null(strstr(bytes, "no model"));
    free(bytes);
}

/* A failed result whose own id differs from the id of its job. */
static void a_failure_of_two_jobs_is_none(void **state)
{
    dr_result *r = failure_of("one");
    void *bytes;
    char *at;
    size_t size;
    (void)state;

    r->job->complete = true; /* its job is sent with it */
    assert_int_equal(dr_result_encode(r, "test", &bytes, &size, NULL), DR_OK);
    at = memmem(bytes, size, "one", 3);
    assert_non_null(at);
    memcpy(at, "two", 3);
    put_bytes(bytes, size, "one");
    put_bytes(bytes, size, "two");
    free(bytes);
    dr_result_free(r);
    put(result_of("good", "picture"), "good");
    assert_int_equal(collect("1"), 0);
    assert_true(program_has_said("it names two jobs, two and one"));
    assert_true(exists("good.png"));
}

/* results.jsonl alone says what the folder has, as --help says.  So a deleted picture counts, and stays
 * deleted. */
static void results_jsonl_says_what_the_folder_has(void **state)
{
    char path[256];
    (void)state;

    put(result_of("good", "picture"), "good");
    assert_int_equal(collect("1"), 0);
    snprintf(path, sizeof(path), "%s/good.png", out);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(collect("1"), 0);
    put(result_of("next", "picture"), "next");
    assert_int_equal(collect("2"), 0); /* the topic was read from its start */
    assert_false(exists("good.png"));
    snprintf(path, sizeof(path), "%s/results.jsonl", out);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(collect("2"), 0);
    assert_true(exists("good.png"));
}

static void an_interrupt_is_6_where_results_are_missing(void **state)
{
    char *argv[] = {
        program,           "collect", "--brokers", (char *)(uintptr_t)dr_mock_broker_bootstrap(b.mock),
        "--results-topic", "results", "--count",   "2",
        "--out",           out,       NULL
    };
    (void)state;

    put(result_of("good", "picture"), "good");
    const pid_t pid = program_spawn(argv);
    for (int i = 0; i < 6000 && !exists("good.png"); i++)
        usleep(10000);
    assert_true(exists("good.png"));
    kill(pid, SIGTERM);
    assert_int_equal(program_code(pid), 6);
    assert_int_equal(collect("1"), 0); /* it is there already */
}

static void a_folder_of_others_is_left_alone(void **state)
{
    char path[256];
    (void)state;

    put(result_of("good", "picture"), "good");
    assert_int_equal(dr_folder_make(out, NULL), DR_OK);
    snprintf(path, sizeof(path), "%s/results.jsonl", out);
    assert_int_equal(dr_file_write(path, "notes", 5, NULL), DR_OK);
    assert_int_equal(collect("1"), 2);
    assert_true(program_has_said("not a line that Darkroom writes"));
    assert_false(exists("good.png"));
}

static int run_against_the_broker(char *command, char *first, ...)
{
    char *argv[16] = { program, command, "--brokers", (char *)(uintptr_t)dr_mock_broker_bootstrap(b.mock) };
    int argc = 4;
    va_list ap;

    va_start(ap, first);
    for (char *argument = first; argument && argc < 15; argument = va_arg(ap, char *))
        argv[argc++] = argument;
    va_end(ap);
    return program_code(program_spawn(argv));
}

static void patience_ends_with_what_there_is(void **state)
{
    (void)state;
    assert_int_equal(run_against_the_broker("collect", "--results-topic", "results", "--out", out, "--count",
                                            "2", "--timeout-s", "1", NULL),
                     1);
    assert_true(program_has_said("no result for 1 s; the folder has 0 of 2\n"));
    assert_int_equal(run_against_the_broker("collect", "--results-topic", "results", "--out", out,
                                            "--timeout-s", "1", NULL),
                     1);
    assert_true(program_has_said("no result for 1 s; the folder has 0\n")); /* of none that was said */
}

static void a_line_that_is_not_sent_is_told_with_its_place(void **state)
{
    static const char lines[] =
        "{\"id\":\"good\",\"model\":\"m\"}\n{\"id\":\"bad\",\"model\":\"m\",\"steps\":0}\n";
    char path[256];
    (void)state;

    snprintf(path, sizeof(path), "%s/jobs.jsonl", program_folder.path);
    assert_int_equal(dr_file_write(path, lines, strlen(lines), NULL), DR_OK);
    assert_int_equal(run_against_the_broker("submit", "--jobs-topic", "results", "--jobs", path,
                                            "--timeout-s", "60", NULL),
                     1);
    assert_true(program_has_said("/jobs.jsonl:2: steps: 0; allowed: 1..150\n"));
    assert_true(program_has_said("good\n"));
    assert_string_equal(dr_jobs_file_name("-"), "standard input");
    assert_int_equal(run_against_the_broker("submit", "--jobs", path, "--steps", "3", NULL), 2);
    assert_true(program_has_said("--set steps=VALUE"));
    assert_int_equal(run_against_the_broker("collect", "--out", "-", "--timeout-s", "1", NULL), 2);
    assert_true(program_has_said("--out -: pictures go into a folder"));
    assert_int_equal(run_against_the_broker("submit", NULL), 2);
    assert_true(program_has_said("--jobs FILE, or one job in flags"));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_only_looks_like_a_result_is_told, begin, end),
        cmocka_unit_test_setup_teardown(a_terminal_is_not_commanded, begin, end),
        cmocka_unit_test_setup_teardown(a_success_takes_a_failures_place_and_nothing_a_successs, begin, end),
        cmocka_unit_test_setup_teardown(a_failure_of_two_jobs_is_none, begin, end),
        cmocka_unit_test_setup_teardown(results_jsonl_says_what_the_folder_has, begin, end),
        cmocka_unit_test_setup_teardown(an_interrupt_is_6_where_results_are_missing, begin, end),
        cmocka_unit_test_setup_teardown(a_folder_of_others_is_left_alone, begin, end),
        cmocka_unit_test_setup_teardown(patience_ends_with_what_there_is, begin, end),
        cmocka_unit_test_setup_teardown(a_line_that_is_not_sent_is_told_with_its_place, begin, end),
    };
    (void)argc;
    program_find(argv[0]);
    return cmocka_run_group_tests_name("collect", tests, NULL, NULL);
}

/* `darkroom submit`: which jobs are sent, and which are reported and not sent. */
#include "tests/worker/broker_fixture.h"
#include "tests/worker/program.h"

static broker b;

static int begin(void **state)
{
    program_begin(state);
    broker_open(&b, 1);
    return 0;
}

static int end(void **state)
{
    broker_close(&b);
    return program_end(state);
}

/* `darkroom submit` to the broker, with these four arguments. */
static int submit_with(char *one, char *two, char *three, char *four)
{
    char *argv[] = { program,
                     "submit",
                     "--brokers",
                     (char *)(uintptr_t)dr_mock_broker_bootstrap(b.mock),
                     "--jobs-topic",
                     "jobs",
                     "--timeout-s",
                     "60",
                     one,
                     two,
                     three,
                     four,
                     NULL };
    return program_code(program_spawn(argv));
}

static int submit(const char *text)
{
    return submit_with("--jobs",
                       (char *)(uintptr_t)temp_write(&program_folder, "jobs.jsonl", text, strlen(text)), NULL,
                       NULL);
}

static void an_id_is_sent_once(void **state)
{
    (void)state;

    assert_int_equal(submit("{\"id\":\"first\",\"model\":\"m\"}\n{\"id\":\"FIRST\",\"model\":\"m\"}\n"), 0);
    assert_true(program_has_said("first\n") && program_has_said("FIRST\n"));
    assert_int_equal(submit("{\"id\":\"twice\",\"model\":\"m\"}\n"
                            "{\"id\":\"twice\",\"model\":\"m\",\"seed\":7}\n"
                            "{\"id\":\"last\",\"model\":\"m\"}\n"),
                     1);
    assert_true(program_has_said("jobs.jsonl:2: id: twice was on line 1 already"));
    assert_true(program_has_said("twice\n") && program_has_said("last\n"));
}

/* A worker would refuse a job without a model, but so late that its sender does not look any more. */
static void a_job_needs_a_model(void **state)
{
    char *prompts = (char *)(uintptr_t)temp_write(&program_folder, "prompts.txt", "a fox\na hill\n", 13);
    (void)state;

    assert_int_equal(submit_with("--prompt", "a fox", NULL, NULL), 2);
    assert_true(program_has_said("--model NAME is missing: it says which model draws"));
    assert_int_equal(submit_with("--jobs", prompts, NULL, NULL), 2);
    assert_true(program_has_said("--set model=NAME is missing: it says which model draws"));
    assert_int_equal(submit_with("--jobs", prompts, "--set", "model=m"), 0);
    assert_int_equal(submit_with("--prompt", "a fox", "--model", "m"), 0);
}

/* Wrong flags are reported before submit connects.  A wrong property stands for the connection here, because
 * it is looked at when the producer is made. */
static void flags_are_checked_first(void **state)
{
    char *prompts = (char *)(uintptr_t)temp_write(&program_folder, "prompts.txt", "a fox\na hill\n", 13);
    (void)state;

    assert_int_equal(submit_with("--prompt", "a fox", "-X", "no.such.property=1"), 2);
    assert_true(program_has_said("--model NAME is missing"));
    assert_int_equal(submit_with("--jobs", prompts, "-X", "no.such.property=1"), 2);
    assert_true(program_has_said("--set model=NAME is missing"));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_id_is_sent_once, begin, end),
        cmocka_unit_test_setup_teardown(a_job_needs_a_model, begin, end),
        cmocka_unit_test_setup_teardown(flags_are_checked_first, begin, end),
    };
    (void)argc;
    program_find(argv[0]);
    return cmocka_run_group_tests_name("submit", tests, NULL, NULL);
}

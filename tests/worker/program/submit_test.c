/* `darkroom submit` of a file: what is sent, and what is told and not sent. */
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

static int submit(const char *text)
{
    char path[256];
    char *argv[] = {
        program,        "submit", "--brokers",   (char *)(uintptr_t)dr_mock_broker_bootstrap(b.mock),
        "--jobs-topic", "jobs",   "--timeout-s", "60",
        "--jobs",       path,     NULL
    };

    snprintf(path, sizeof(path), "%s/jobs.jsonl", program_folder.path);
    assert_int_equal(dr_file_write(path, text, strlen(text), NULL), DR_OK);
    return program_code(program_spawn(argv));
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

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_id_is_sent_once, begin, end),
    };
    (void)argc;
    program_find(argv[0]);
    return cmocka_run_group_tests_name("submit", tests, NULL, NULL);
}

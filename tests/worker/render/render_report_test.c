/* What `darkroom render` says while it draws: on a terminal, and into a file. */
#include "tests/worker/render/render_fixture.h"

#include <pty.h>
#include <sys/ioctl.h>

/* Lines for a person do not stand between lines for a program. */
static void a_file_gets_text_and_no_json(void **state)
{
    char *argv[] = { program,     "render", "--device", "null",        "--null-step-us", "200", "--jobs",
                     render_jobs, "--out",  render_out, "--log-level", "debug",          NULL };
    (void)state;

    write_jobs(good);
    assert_int_equal(program_code(program_spawn(argv)), 0);
    assert_true(program_has_said(" debug batch: "));
    assert_true(program_has_said("3 done, 0 done before, 0 failed"));
    assert_int_equal(times_said("{\""), 0);
}

static void what_is_not_supported_is_said_once_a_job(void **state)
{
    json_t *result;
    (void)state;

    write_jobs(
        "{\"id\":\"fox\",\"model\":\"m\",\"prompt\":\"a (red:1.3) "
        "fox\",\"width\":64,\"height\":64,\"steps\":2,\"images\":3}\n");
    assert_int_equal(render(NULL), 0);
    assert_int_equal(times_said("jobs.jsonl:1: prompt: weights like (word:1.3) are not supported"), 1);
    assert_int_equal(times_said("(red"), 0); /* prompts are not logged */
    result = result_of("fox");
    assert_string_equal(json_string_value(json_array_get(json_object_get(result, "warnings"), 0)),
                        "prompt: weights like (word:1.3) are not supported, and read as text");
    json_decref(result);
}

/* All that the program writes to a terminal with so many columns; *code is its exit code. */
static char *said_on_terminal(unsigned short columns, char *const *argv, int *code)
{
    const struct winsize window = { .ws_row = 24, .ws_col = columns };
    char *text = NULL, part[4096];
    size_t size = 0;
    ssize_t n;
    int terminal;
    const pid_t pid = forkpty(&terminal, NULL, NULL, &window);

    assert_true(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execv(program, argv);
        _exit(127);
    }
    while ((n = read(terminal, part, sizeof(part))) > 0) { /* fails with EIO when the program has ended */
        text = realloc(text, size + (size_t)n + 1);
        memcpy(text + size, part, (size_t)n);
        size += (size_t)n;
        text[size] = 0;
    }
    close(terminal);
    *code = program_code(pid);
    assert_non_null(text);
    return text;
}

/* The bar could not be taken away again if it were longer than the terminal's line. */
static void assert_no_line_is_longer(const char *text, size_t columns)
{
    for (const char *at = text; *at; at += strcspn(at, "\r\n") + (at[strcspn(at, "\r\n")] != 0)) {
        const size_t bytes = strcspn(at, "\r\n"), escape = strncmp(at, "\033[K", 3) == 0 ? 3 : 0;
        const bool is_bar = strstr(at, "step ") && strstr(at, "step ") < at + bytes;
        if (is_bar && bytes - escape >= columns)
            fail_msg("%.*s", (int)bytes, at);
    }
}

/* Such a line does not stand behind the bar: the bar was taken away before. */
static void assert_begins_a_line(const char *text, const char *what)
{
    const char *at = strstr(text, what);

    assert_non_null(at);
    while (at > text && at[-1] != '\r' && at[-1] != '\n')
        at--;
    assert_memory_equal(at, "\033[K", 3);
}

static void a_terminal_sees_steps_and_whole_lines(void **state)
{
    char *argv[] = { program,     "render", "--device", "null", "--null-step-us", "100000", "--jobs",
                     render_jobs, "--out",  render_out, NULL };
    (void)state;

    write_jobs(
        "{\"id\":\"fox\",\"model\":\"m\",\"width\":64,\"height\":64,\"steps\":9}\n"
        "{\"id\":\"two\",\"model\":\"m\",\"prompt\":\"a (red:1.3) "
        "fox\",\"width\":64,\"height\":72,\"steps\":9}\n"
        /* These two share a batch, which fails as a whole: the log says so. */
        "{\"id\":\"a\",\"model\":\"m\",\"width\":72,\"height\":72,\"steps\":2}\n"
        "{\"id\":\"b\",\"model\":\"m\",\"prompt\":\"!fail step\",\"width\":72,\"height\":72,\"steps\":2}\n");
    for (unsigned short columns = 40; columns <= 120; columns += 80) {
        int code;
        char *text = said_on_terminal(columns, argv, &code);
        assert_int_equal(code, 1);
        assert_non_null(strstr(text, "0/4, step ")); /* before the first picture is done */
        assert_non_null(strstr(text, "/9, "));
        assert_int_equal(strstr(text, "[=") != NULL, columns == 120);
        assert_no_line_is_longer(text, columns);
        assert_begins_a_line(text, "jobs.jsonl:2: prompt: weights");
        assert_begins_a_line(text, "warn  batch: ");
        free(text);
        unlink(path_of("results.jsonl"));
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_terminal_sees_steps_and_whole_lines, begin, program_end),
        cmocka_unit_test_setup_teardown(a_file_gets_text_and_no_json, begin, program_end),
        cmocka_unit_test_setup_teardown(what_is_not_supported_is_said_once_a_job, begin, program_end),
    };
    (void)argc;
    program_find(argv[0]);
    return cmocka_run_group_tests_name("render_report", tests, NULL, NULL);
}

/* The command line: --help from the tables, flags over the environment over the file, and what is not understood. */
#include "worker/cli.h"
#include "worker/commands.h"
#include "worker/job_fields.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static int seen_threads, seen_steps, runs;
static char seen_kafka[64];

static int record(dr_cli *cli)
{
    runs++;
    seen_threads = cli->config.threads;
    seen_steps = cli->job->steps;
    snprintf(seen_kafka, sizeof(seen_kafka), "%s", cli->config.kafka_count ? cli->config.kafka[0].value : "");
    return 0;
}

static const dr_command probe = {
    .name = "probe",
    .bit = DR_FOR_SUBMIT | DR_FOR_ENGINE,
    .takes_job = true,
    .summary = "what it is for",
    .run = record,
};

static int run_with(char *const *environment, ...)
{
    static const dr_command *const commands[] = { &probe, &dr_cmd_version };
    char *argv[16] = { "darkroom" };
    int argc = 1;
    va_list ap;

    va_start(ap, environment);
    while ((argv[argc] = va_arg(ap, char *)))
        argc++;
    va_end(ap);
    return dr_cli_run(commands, 2, argc, argv, environment);
}

static char *nothing[] = { NULL };

static void flags_win(void **state)
{
    char path[] = "/tmp/darkroom-cli-XXXXXX";
    const int fd = mkstemp(path);
    char variable[64];
    (void)state;

    assert_int_equal(write(fd, "threads = 2\n", 12), 12);
    close(fd);
    snprintf(variable, sizeof(variable), "DARKROOM_CONFIG=%s", path);
    char *file_only[] = { variable, NULL }, *both[] = { variable, "DARKROOM_THREADS=3", NULL };
    assert_int_equal(run_with(file_only, "probe", NULL), 0);
    assert_int_equal(seen_threads, 2);
    assert_int_equal(run_with(both, "probe", NULL), 0);
    assert_int_equal(seen_threads, 3);
    assert_int_equal(run_with(both, "probe", "--threads", "4", NULL), 0);
    assert_int_equal(seen_threads, 4);
    assert_int_equal(run_with(nothing, "probe", "--config", path, NULL), 0);
    assert_int_equal(seen_threads, 2);
    unlink(path);
}

static void flags_fill_jobs_and_kafka(void **state)
{
    (void)state;
    assert_int_equal(run_with(nothing, "probe", "--steps=7", "-X", "a.b=c=d", "--report-events", NULL), 0);
    assert_int_equal(seen_steps, 7);
    assert_string_equal(seen_kafka, "c=d");
}

static void what_is_not_understood_is_2(void **state)
{
    const int before = runs;
    char *bad[] = { "DARKROOM_NONE=1", NULL };
    (void)state;

    assert_int_equal(run_with(nothing, NULL), 2);
    assert_int_equal(run_with(nothing, "nonsense", NULL), 2);
    assert_int_equal(run_with(bad, "probe", NULL), 2);
    assert_int_equal(run_with(nothing, "probe", "--none", NULL), 2);
    assert_int_equal(run_with(nothing, "probe", "--threads", NULL), 2);
    assert_int_equal(run_with(nothing, "probe", "--threads", "-1", NULL), 2);
    assert_int_equal(run_with(nothing, "probe", "--steps", "151", NULL), 2);
    assert_int_equal(run_with(nothing, "probe", "-X", "novalue", NULL), 2);
    assert_int_equal(run_with(nothing, "probe", "stray", NULL), 2);
    assert_int_equal(run_with(nothing, "probe", "--config", "/no/such/file", NULL), 2);
    assert_int_equal(run_with(nothing, "version", "-X", "a=b", NULL), 2);
    assert_int_equal(runs, before);
}

/* What the command says on stderr. */
static char *said_by(char *const *argv, int argc)
{
    static const dr_command *const commands[] = { &probe, &dr_cmd_version };
    static char text[4096];
    const int out = dup(STDERR_FILENO);
    FILE *said = tmpfile();
    size_t n;

    fflush(stderr);
    dup2(fileno(said), STDERR_FILENO);
    const int code = dr_cli_run(commands, 2, argc, (char **)(uintptr_t)argv, nothing);
    fflush(stderr);
    dup2(out, STDERR_FILENO);
    close(out);
    rewind(said);
    n = fread(text, 1, sizeof(text) - 1, said);
    text[n] = 0;
    fclose(said);
    assert_int_equal(code, 2);
    assert_true(n > 0);
    return text;
}

static void no_secret_is_echoed(void **state)
{
    static const struct {
        char *argument[4];
    } cases[] = {
        { { "-X", "sasl.password:hunter2" } },
        { { "-X", "=hunter2" } },
        { { "-Xsasl.password hunter2" } },
        { { "-X", "sasl.password=", "hunter2" } },
        { { "-Xsasl.password=a", "--threads", "1", "hunter2" } },
        { { "--sasl-password=hunter2" } },
        { { "--kafka.sasl.password=hunter2" } },
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *argv[8] = { "darkroom", "probe" };
        int argc = 2;
        for (int j = 0; j < 4 && cases[i].argument[j]; j++)
            argv[argc++] = cases[i].argument[j];
        const char *text = said_by(argv, argc);
        if (strstr(text, "hunter2"))
            fail_msg("%s", text);
    }
    char *stray[] = { "darkroom", "probe", "str\x1b[1may", NULL };
    assert_non_null(strstr(said_by(stray, 3), "str [1may: not a flag"));
}

/* Each row that is a flag of the command stands in its --help, with what is allowed and the default. */
static void help_names_every_row(void **state)
{
    char *text = NULL;
    size_t size;
    FILE *to = open_memstream(&text, &size);
    (void)state;

    dr_cli_help(to, &probe);
    fclose(to);
    for (int i = 0; i < dr_setting_count; i++) {
        char flag[64];
        snprintf(flag, sizeof(flag), "  --%s ", dr_settings[i].name);
        for (char *c = flag; *c; c++)
            if (*c == '_')
                *c = '-';
        assert_int_equal(strstr(text, flag) != NULL, (dr_settings[i].commands & probe.bit) != 0);
    }
    for (int i = 0; i < dr_job_field_count; i++)
        assert_non_null(strstr(text, dr_job_fields[i].help));
    assert_non_null(strstr(text, "  --steps X                   denoising steps; 1..150 (50)"));
    assert_non_null(strstr(text, "Exit codes:\n  0  done\n  1  something failed"));
    free(text);
    assert_int_equal(run_with(nothing, "--help", NULL), 0);
    assert_int_equal(run_with(nothing, "probe", "--threads", "3", "--help", NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flags_win),
        cmocka_unit_test(flags_fill_jobs_and_kafka),
        cmocka_unit_test(what_is_not_understood_is_2),
        cmocka_unit_test(no_secret_is_echoed),
        cmocka_unit_test(help_names_every_row),
    };
    return cmocka_run_group_tests_name("cli", tests, NULL, NULL);
}

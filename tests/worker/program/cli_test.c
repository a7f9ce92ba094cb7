/* The command line: --help from the tables, flags over the environment over the file, and what is not
 * understood. */
#include "worker/jobs/job_fields.h"
#include "worker/program/cli.h"
#include "worker/program/commands.h"
#include "worker/program/flag_names.h"
#include "worker/program/help.h"

#include "tests/support/temp_folder.h"

#include <ctype.h>

static int seen_threads, seen_steps, runs;
static bool seen_sheet;
static int seen_default_steps;
static char seen_kafka[64], seen_default_negative[64];

static int record(dr_cli *cli)
{
    runs++;
    seen_threads = cli->config.threads;
    seen_steps = cli->job->steps;
    seen_sheet = cli->config.sheet;
    seen_default_steps = cli->defaults->steps;
    snprintf(seen_default_negative, sizeof(seen_default_negative), "%s",
             cli->defaults->negative_prompt ? cli->defaults->negative_prompt : "");
    snprintf(seen_kafka, sizeof(seen_kafka), "%s", cli->config.kafka_count ? cli->config.kafka[0].value : "");
    return 0;
}

static const dr_command probe = {
    .name = "probe",
    .bit = DR_FOR_SUBMIT | DR_FOR_ENGINE | DR_FOR_RENDER,
    .takes_job = true,
    .summary = "what it is for",
    .text = "More than this is nothing.",
    .example = "darkroom probe --threads 3",
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
    temp_folder folder;
    char path[80], variable[128];
    (void)state;

    temp_open(&folder);
    strcpy(path, temp_write(&folder, "darkroom.conf", "threads = 2\n", 12));
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
    temp_close(&folder);
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

/* What the command prints on stderr. */
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
        { { "-X", "sasl.password hunter2=x" } },
        { { "-X", "sasl.password:hunter2=x" } },
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

static void assert_lines_fit(const char *name, const char *text)
{
    for (const char *line = text; *line; line += strcspn(line, "\n") + 1)
        if (strcspn(line, "\n") > DR_HELP_COLUMNS)
            fail_msg("%s: %.*s", name, (int)strcspn(line, "\n"), line);
}

/* The help of a command, where each row is one line: the line ends of wrapped rows are blanks. */
static char *help_of(const dr_command *command)
{
    char *text = NULL, *to;
    size_t size;
    FILE *file = open_memstream(&text, &size);

    dr_help_command(file, command);
    fclose(file);
    assert_lines_fit(command->name, text);
    to = text;
    for (const char *from = text; *from;
         from++) /* a line that begins with many blanks goes on from the one above */
        if (strncmp(from, "\n                              ", 31) == 0) {
            *to++ = ' ';
            from += 30;
        } else {
            *to++ = *from;
        }
    *to = 0;
    return text;
}

/* Each row that is a flag of the command stands in its --help, with what is allowed and the default. */
static void help_names_every_row(void **state)
{
    char *text = help_of(&probe);
    (void)state;

    for (int i = 0; i < dr_setting_count; i++) {
        char flag[64];
        snprintf(flag, sizeof(flag), "  --%s%s", dr_settings[i].name,
                 dr_flag_has_no(&dr_settings[i]) ? "," : " ");
        for (char *c = flag; *c; c++)
            if (*c == '_')
                *c = '-';
        assert_int_equal(strstr(text, flag) != NULL, (dr_settings[i].commands & probe.bit) != 0);
        if (dr_settings[i].commands & probe.bit)
            assert_non_null(strstr(text, dr_settings[i].help));
    }
    for (int i = 0; i < dr_job_field_count; i++)
        assert_non_null(strstr(text, dr_job_fields[i].help));
    assert_non_null(strstr(text, "  --steps COUNT               Denoising steps (1..150; default 50)"));
    assert_non_null(strstr(text, "Exit codes:\n  0  Done\n  1  Something failed"));
    assert_non_null(strstr(text, "\nMore than this is nothing.\n"));
    free(text);
    assert_int_equal(run_with(nothing, "--help", NULL), 0);
    assert_int_equal(run_with(nothing, "probe", "--threads", "3", "--help", NULL), 0);
}

/* A row's text begins like a sentence, without the full stop at its end: what is allowed follows.  Its
 * value has a name that says something. */
static void check_row(const char *name, const char *help, const char *placeholder, bool is_bool)
{
    const size_t size = strlen(help);

    if (!isupper((unsigned char)help[0]) || strncmp(help, "Of ", 3) == 0 || help[size - 1] == '.')
        fail_msg("%s: the help begins with a capital, not with Of, and has no full stop: %s", name, help);
    if (is_bool && placeholder)
        fail_msg("%s: a BOOL needs no value", name);
    if (!is_bool && (!placeholder || strlen(placeholder) < 2))
        fail_msg("%s: the placeholder of its value must say what the value is", name);
    for (const char *c = placeholder ? placeholder : ""; *c; c++)
        if (islower((unsigned char)*c))
            fail_msg("%s: the placeholder is in capitals: %s", name, placeholder);
}

static void help_of_rows_is_of_one_form(void **state)
{
    (void)state;
    for (int i = 0; i < dr_setting_count; i++)
        check_row(dr_settings[i].name, dr_settings[i].help, dr_settings[i].placeholder,
                  dr_settings[i].type == DR_SETTING_BOOL);
    for (int i = 0; i < dr_job_field_count; i++)
        check_row(dr_job_fields[i].name, dr_job_fields[i].help, dr_job_fields[i].placeholder,
                  dr_job_fields[i].type == DR_FIELD_BOOL);
}

static void help_of_every_command_fits_and_has_an_example(void **state)
{
    static const dr_command *const commands[] = { &dr_cmd_worker,  &dr_cmd_render, &dr_cmd_submit,
                                                  &dr_cmd_collect, &dr_cmd_demo,   &dr_cmd_models,
                                                  &dr_cmd_version };
    (void)state;

    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        char *text = help_of(commands[i]), example[64];
        snprintf(example, sizeof(example), "\nExample:\n  darkroom %s", commands[i]->name);
        if (!strstr(text, example))
            fail_msg("%s", text);
        /* A code that the command never returns is not in its help. */
        assert_int_equal(strstr(text, "Device lost or not there") != NULL,
                         (commands[i]->bit & DR_FOR_ENGINE) != 0);
        /* --config stands under a heading too where a command has no settings. */
        assert_non_null(strstr(text, "\nSettings"));
        free(text);
    }
}

/* `darkroom --help`: the list of commands, and all exit codes. */
static void help_of_the_program_fits(void **state)
{
    static const dr_command *const commands[] = { &dr_cmd_worker, &dr_cmd_render, &dr_cmd_version };
    char *text = NULL;
    size_t size;
    FILE *file = open_memstream(&text, &size);
    (void)state;

    dr_help_commands(file, commands, 3);
    fclose(file);
    assert_lines_fit("darkroom", text);
    for (int i = 0; i < 3; i++)
        assert_true(isupper((unsigned char)commands[i]->summary[0]));
    for (int i = 0; i < dr_exit_code_count; i++) {
        assert_non_null(strstr(text, dr_exit_codes[i].meaning));
        assert_true(isupper((unsigned char)dr_exit_codes[i].meaning[0]));
    }
    free(text);
}

static void version_is_a_flag_too(void **state)
{
    (void)state;
    assert_int_equal(run_with(nothing, "--version", NULL), 0);
    assert_int_equal(run_with(nothing, "version", NULL), 0);
}

static void what_is_true_unless_told_has_a_no(void **state)
{
    (void)state;
    assert_int_equal(run_with(nothing, "probe", NULL), 0);
    assert_true(seen_sheet);
    assert_int_equal(run_with(nothing, "probe", "--no-sheet", NULL), 0);
    assert_false(seen_sheet);
    assert_int_equal(run_with(nothing, "probe", "--no-sheet", "--sheet", NULL), 0);
    assert_true(seen_sheet);
    assert_int_equal(run_with(nothing, "probe", "--no-sheet=true", NULL), 2);
    assert_int_equal(run_with(nothing, "probe", "--no-fast", NULL), 2); /* it is false already */
}

static void what_is_wrong_is_said_in_one_line(void **state)
{
    static const struct {
        char *argument[4];
        const char *said;
    } cases[] = {
        { { "nonsense" }, "darkroom: no command is called \"nonsense\"\nSee darkroom --help.\n" },
        { { "probe", "--threads", "lots" }, "probe: --threads is \"lots\"; allowed: 0..256\n" },
        { { "probe", "--set", "stepz=20" }, "probe: --set stepz: a job has no such field\n" },
        { { "probe", "--set", "steps" }, "probe: --set steps: it needs FIELD=VALUE\n" },
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *argv[8] = { "darkroom" };
        int argc = 1;
        for (int j = 0; j < 4 && cases[i].argument[j]; j++)
            argv[argc++] = cases[i].argument[j];
        const char *text = said_by(argv, argc);
        if (!strstr(text, cases[i].said))
            fail_msg("%s", text);
    }
}

static void set_gives_defaults(void **state)
{
    (void)state;
    assert_int_equal(run_with(nothing, "probe", "--set", "steps=20", "--set", "negative-prompt=a=b", NULL),
                     0);
    assert_int_equal(seen_default_steps, 20);
    assert_string_equal(seen_default_negative, "a=b");
    assert_int_equal(seen_steps, 50); /* the job of the flags is another one */
    assert_int_equal(run_with(nothing, "probe", "--set", "steps=0", NULL), 2);
    assert_int_equal(run_with(nothing, "probe", "--set", "steps", NULL), 2);
    assert_int_equal(run_with(nothing, "probe", "--set", "stepz=1", NULL), 2);
    assert_int_equal(run_with(nothing, "probe", "--set", "id=a", NULL), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flags_win),
        cmocka_unit_test(flags_fill_jobs_and_kafka),
        cmocka_unit_test(what_is_not_understood_is_2),
        cmocka_unit_test(no_secret_is_echoed),
        cmocka_unit_test(help_names_every_row),
        cmocka_unit_test(help_of_rows_is_of_one_form),
        cmocka_unit_test(help_of_every_command_fits_and_has_an_example),
        cmocka_unit_test(help_of_the_program_fits),
        cmocka_unit_test(version_is_a_flag_too),
        cmocka_unit_test(what_is_true_unless_told_has_a_no),
        cmocka_unit_test(what_is_wrong_is_said_in_one_line),
        cmocka_unit_test(set_gives_defaults),
    };
    return cmocka_run_group_tests_name("cli", tests, NULL, NULL);
}

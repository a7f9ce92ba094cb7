/* docs/reference.md is what the tables of settings, fields, commands and exit codes give.  After a change
 * of a table:
 *
 *     build/release/tests/worker/program/reference_test --write      writes the page anew */
#include "worker/jobs/job_fields.h"
#include "worker/program/commands.h"
#include "worker/support/files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char PATH[] = "docs/reference.md";

static const dr_command *const commands[] = {
    &dr_cmd_worker, &dr_cmd_render, &dr_cmd_submit,  &dr_cmd_collect,
    &dr_cmd_demo,   &dr_cmd_models, &dr_cmd_version,
};
enum { COMMANDS = sizeof(commands) / sizeof(commands[0]) };

static void write_commands(FILE *to)
{
    fprintf(to, "## Commands\n\n");
    for (int i = 0; i < COMMANDS; i++)
        fprintf(to, "- `darkroom %s`: %s\n", commands[i]->name, commands[i]->summary);
    fprintf(to, "\n`darkroom COMMAND --help` lists the flags of a command.\n\n");
}

static void write_exit_codes(FILE *to)
{
    fprintf(
        to,
        "## Exit codes\n\n| exit code | commands | means | start it again? |\n| --- | --- | --- | --- |\n");
    for (int i = 0; i < dr_exit_code_count; i++) {
        const dr_exit_code *e = &dr_exit_codes[i];
        fprintf(to, "| %d | %s | %s | %s |\n", e->code, *e->commands ? e->commands : "all", e->meaning,
                e->again);
    }
    fprintf(to, "\n");
}

static void write_fields(FILE *to)
{
    fprintf(
        to,
        "## Fields of a job\n\n"
        "A field has the same name in protobuf (`proto/darkroom/v1/job.proto`) and in JSON. As a flag of "
        "`darkroom submit` and\n"
        "`darkroom render` it has `-` for `_`. A value that is not allowed is refused; the message names the "
        "field and what is\nallowed.\n\n"
        "| field | meaning | allowed | default |\n| --- | --- | --- | --- |\n");
    for (int i = 0; i < dr_job_field_count; i++) {
        const dr_job_field *f = &dr_job_fields[i];
        char allowed[200], preset[64];
        dr_job_field_allowed(f, allowed, sizeof(allowed));
        dr_job_field_preset(f, preset, sizeof(preset));
        fprintf(to, "| `%s` | %s | %s | %s |\n", f->name, f->help, allowed,
                f->required ? "required" : preset);
    }
    fprintf(to,
            "\nIn JSON a seed of 2^63 or more may be a number or a string. `init_image`, `strength`, "
            "`mask_image` and\n"
            "`noise_level` belong to tasks that this version refuses as unsupported.\n\n");
}

static void write_commands_of(FILE *to, const dr_setting *s)
{
    bool first = true;

    for (int c = 0; c < COMMANDS; c++)
        if (s->commands & commands[c]->bit) {
            fprintf(to, "%s%s", first ? "" : ", ", commands[c]->name);
            first = false;
        }
}

static void write_settings(FILE *to)
{
    fprintf(
        to,
        "## Settings\n\n"
        "A setting can stand in three places:\n\n"
        "- as `batch_max = 8` in the config file, which `--config` or `DARKROOM_CONFIG` names;\n"
        "- as `DARKROOM_BATCH_MAX=8` in the environment;\n"
        "- as the flag `--batch-max 8`.\n\n"
        "The environment overrides the file, and flags override both. A name that no setting has is an "
        "error, "
        "which says where it\n"
        "stands.\n\n"
        "A setting of librdkafka can stand there as well: `kafka.KEY = VALUE`, `DARKROOM_KAFKA_KEY=VALUE`, "
        "`-X KEY=VALUE`.\n"
        "A secret one (`sasl.password`, `ssl.key.password`, ...) can stand in a file of its own, which "
        "`KEY_file` names.\n\n"
        "| setting | meaning | allowed | default | commands |\n| --- | --- | --- | --- | --- |\n");
    for (int i = 0; i < dr_setting_count; i++) {
        const dr_setting *s = &dr_settings[i];
        char allowed[160];
        dr_setting_allowed(s, allowed, sizeof(allowed));
        fprintf(to, "| `%s` | %s | %s | %s%s%s | ", s->name, s->help, allowed, *s->preset ? "`" : "",
                s->preset, *s->preset ? "`" : "");
        write_commands_of(to, s);
        fprintf(to, " |\n");
    }
}

static char *make_reference(size_t *size)
{
    char *text = NULL;
    FILE *to = open_memstream(&text, size);

    assert_non_null(to);
    fprintf(to,
            "# Reference\n\n`tests/worker/program/reference_test.c` makes this page from the tables in the "
            "source.\n\n");
    write_commands(to);
    write_exit_codes(to);
    write_fields(to);
    write_settings(to);
    fclose(to);
    return text;
}

static void the_page_says_what_the_tables_say(void **state)
{
    size_t size, page_size;
    char *text = make_reference(&size);
    void *page;
    dr_error err;
    (void)state;

    if (dr_file_read(PATH, 1 << 20, &page, &page_size, &err))
        fail_msg("%s", err.text);
    if (size != page_size || memcmp(page, text, size))
        fail_msg("%s is not up to date: run this test with --write", PATH);
    free(page);
    free(text);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_page_says_what_the_tables_say),
    };

    if (argc > 1 && strcmp(argv[1], "--write") == 0) {
        size_t size;
        char *text = make_reference(&size);
        const dr_status rc = dr_file_write(PATH, text, size, NULL);
        free(text);
        return rc != DR_OK;
    }
    return cmocka_run_group_tests_name("reference", tests, NULL, NULL);
}

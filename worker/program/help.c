#include "worker/program/help.h"

#include "worker/jobs/job_fields.h"
#include "worker/program/flag_names.h"

#include <stdio.h>
#include <string.h>

enum { COLUMN = 30, TEXT_MAX = 1024 };

/* Print words from column `at` on.  Further lines begin at column `margin`. */
static void wrap(FILE *to, const char *text, int at, int margin)
{
    bool first = true;

    while (*(text += strspn(text, " "))) {
        const int n = (int)strcspn(text, " ");
        if (!first && at + 1 + n > DR_HELP_COLUMNS) {
            fprintf(to, "\n%*s", margin, "");
            at = margin;
            first = true;
        }
        fprintf(to, "%s%.*s", first ? "" : " ", n, text);
        at += n + !first;
        first = false;
        text += n;
    }
    fputc('\n', to);
}

void dr_help_row(FILE *to, const char *flag, const char *text)
{
    const int used = fprintf(to, "  %-*s", COLUMN - 2, flag);

    if (used > COLUMN || strlen(flag) >= COLUMN - 2)
        fprintf(to, "\n%*s", COLUMN, "");
    wrap(to, text, COLUMN, COLUMN);
}

static void print_row(FILE *to, const char *flag, const char *help, const char *allowed, const char *preset)
{
    char text[TEXT_MAX];
    const bool either = *allowed || *preset;

    snprintf(text, sizeof(text), "%s%s%s%s%s%s%s", help, either ? " (" : "", allowed,
             *allowed && *preset ? "; " : "", *preset ? "default " : "", preset, either ? ")" : "");
    dr_help_row(to, flag, text);
}

static void print_settings(FILE *to, const dr_command *command)
{
    for (int i = 0; i < dr_setting_count; i++) {
        const dr_setting *s = &dr_settings[i];
        char name[DR_FLAG_NAME_MAX], flag[2 * DR_FLAG_NAME_MAX + 16], allowed[160];
        if (!(s->commands & command->bit))
            continue;
        dr_flag_name(name, s->name);
        if (dr_flag_has_no(s))
            snprintf(flag, sizeof(flag), "--%s, --no-%s", name, name);
        else
            snprintf(flag, sizeof(flag), "--%s %s", name, s->placeholder ? s->placeholder : "");
        dr_setting_allowed(s, allowed, sizeof(allowed));
        print_row(to, flag, s->help, allowed, s->preset);
    }
}

static void print_fields(FILE *to)
{
    for (int i = 0; i < dr_job_field_count; i++) {
        const dr_job_field *f = &dr_job_fields[i];
        char name[DR_FLAG_NAME_MAX], flag[DR_FLAG_NAME_MAX + 16], allowed[200], preset[64];
        dr_flag_name(name, f->name);
        snprintf(flag, sizeof(flag), "--%s %s", name, f->placeholder ? f->placeholder : "");
        dr_job_field_allowed(f, allowed, sizeof(allowed));
        dr_job_field_preset(f, preset, sizeof(preset));
        print_row(to, flag, f->help, allowed, preset);
    }
}

void dr_help_command(FILE *to, const dr_command *command)
{
    fprintf(to, "usage: darkroom %s [flags]\n\n%s\n", command->name, command->summary);
    if (command->text) {
        fputc('\n', to);
        for (const char *text = command->text; *text;) {
            char paragraph[TEXT_MAX];
            const size_t size = strcspn(text, "\n");
            snprintf(paragraph, sizeof(paragraph), "%.*s", (int)size, text);
            wrap(to, paragraph, 0, 0);
            text += size + (text[size] == '\n');
        }
    }
    fprintf(to, "\nExample:\n  %s\n", command->example);
    if (command->takes_job) {
        fprintf(to, "\nThe job:\n");
        print_fields(to);
        fprintf(to, "\nWith --jobs FILE:\n");
        dr_help_row(
            to, "--set FIELD=VALUE",
            "Value of a field, for all jobs of the file that do not have one. May be given several times");
    }
    fprintf(to, command->bit ? "\nSettings. In the config file they are key = value, in the environment "
                               "DARKROOM_KEY=value:\n"
                             : "\nSettings:\n");
    print_settings(to, command);
    if (command->bit & DR_FOR_KAFKA) {
        dr_help_row(to, "-X KEY=VALUE", "Any setting of librdkafka. In the config file: kafka.KEY = VALUE");
        dr_help_row(
            to, "-X KEY_file=FILE",
            "File that holds the value of a secret setting (sasl.password, ...). Flags can be seen by "
            "everybody on this machine");
    }
    dr_help_row(to, "--config FILE", "Config file. DARKROOM_CONFIG names it as well");
    dr_exit_codes_print(to, command->name);
}

void dr_help_commands(FILE *to, const dr_command *const *commands, size_t count)
{
    fprintf(to,
            "usage: darkroom COMMAND [flags]     darkroom COMMAND --help     darkroom --version\n\n"
            "Stable Diffusion in batches: jobs from Kafka or from a file, pictures out.\n\n");
    for (size_t i = 0; i < count; i++)
        fprintf(to, "  %-10s%s\n", commands[i]->name, commands[i]->summary);
    fprintf(to,
            "\nA first picture:\n"
            "  darkroom render --model tiny --prompt \"a cat face on a teal background\" --out cat.png\n");
    dr_exit_codes_print(to, NULL);
}

#include "worker/program/cli.h"

#include "worker/jobs/job_fields.h"
#include "worker/program/flag_names.h"
#include "worker/program/help.h"
#include "worker/program/process.h"
#include "worker/support/log.h"
#include "worker/support/text.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum {
    FLAG_CONFIG = 1000,
    FLAG_SET,
    FLAG_SETTING = 2000, /* + the setting's row */
    FLAG_NO = 3000,      /* + the setting's row: false */
    FLAG_FIELD = 4000,   /* + the job field's row */
};

/* --- messages -------------------------------------------------------------------------------- */

int dr_cli_usage(const dr_command *command, const char *format, ...)
{
    va_list ap;

    fprintf(stderr, "darkroom %s: ", command->name);
    va_start(ap, format);
    dr_text_vprint(stderr, format, ap);
    va_end(ap);
    fprintf(stderr, "See darkroom %s --help.\n", command->name);
    return DR_EXIT_USAGE;
}

int dr_cli_failed(const dr_command *command, const dr_error *err)
{
    dr_text_print(stderr, "darkroom %s: %s", command->name, err->text);
    return err->status == DR_EDEVICE ? DR_EXIT_DEVICE : DR_EXIT_FAILED;
}

int dr_cli_check_jobs(const dr_command *command, const dr_cli *cli)
{
    const dr_job_field *given = NULL;
    char flag[DR_FLAG_NAME_MAX];

    for (int i = 0; i < dr_job_field_count; i++)
        if (dr_job_given(cli->job, &dr_job_fields[i]))
            given = &dr_job_fields[i];
    if (!*cli->config.jobs && !given)
        return dr_cli_usage(command,
                            "no job: say --jobs FILE, or one job in flags (--model NAME --prompt TEXT ...)");
    if (!*cli->config.jobs || !given)
        return DR_EXIT_DONE;
    dr_flag_name(flag, given->name);
    return dr_cli_usage(command,
                        "--%s is for one job in flags; for all jobs of --jobs FILE say --set %s=VALUE", flag,
                        given->name);
}

int dr_cli_check_out(const dr_command *command, const dr_cli *cli)
{
    if (strcmp(cli->config.out, "-") == 0)
        return dr_cli_usage(command, "--out -: pictures go into a folder, not to standard output");
    if (*cli->config.out)
        return DR_EXIT_DONE;
    return dr_cli_usage(command, "--out is missing: name a folder%s",
                        command->takes_job ? ", or for one job in flags its picture (x.png)" : "");
}

/* --- flags -------------------------------------------------------------------------------------- */

typedef struct flags {
    struct option *option; /* owned, for getopt_long(); ends with zeros */
    char (*name)[DR_FLAG_NAME_MAX];
    size_t count;
} flags;

static void add_flag(flags *f, const char *prefix, const char *key, bool optional, int value)
{
    char *name = f->name[f->count], dashed[DR_FLAG_NAME_MAX];

    dr_flag_name(dashed, key);
    snprintf(name, DR_FLAG_NAME_MAX, "%s%s", prefix, dashed);
    f->option[f->count++] =
        (struct option){ name, optional ? optional_argument : required_argument, NULL, value };
}

static dr_status make_flags(flags *f, const dr_command *command, dr_error *err)
{
    const size_t most = (size_t)(2 * dr_setting_count + dr_job_field_count) + 4;

    f->option = calloc(most, sizeof(*f->option));
    f->name = calloc(most, sizeof(*f->name));
    if (!f->option || !f->name)
        return dr_fail(err, DR_ENOMEM, "no memory for the flags");
    f->option[f->count++] = (struct option){ "help", no_argument, NULL, 'h' };
    f->option[f->count++] = (struct option){ "config", required_argument, NULL, FLAG_CONFIG };
    for (int i = 0; i < dr_setting_count; i++) {
        const dr_setting *s = &dr_settings[i];
        if (!(s->commands & command->bit))
            continue;
        add_flag(f, "", s->name, s->type == DR_SETTING_BOOL, FLAG_SETTING + i);
        if (dr_flag_has_no(s)) {
            add_flag(f, "no-", s->name, false, FLAG_NO + i);
            f->option[f->count - 1].has_arg = no_argument;
        }
    }
    for (int i = 0; command->takes_job && i < dr_job_field_count; i++)
        add_flag(f, "", dr_job_fields[i].name, dr_job_fields[i].type == DR_FIELD_BOOL, FLAG_FIELD + i);
    if (command->takes_job)
        add_flag(f, "", "set", false, FLAG_SET);
    return DR_OK;
}

/* Say what is wrong with an argument, without showing a password.  What follows = may be one.  So may a
 * whole word after -X KEY= VALUE, where the blank is a mistake. */
static dr_status refuse_argument(char *const *argv, int at, const char *what, dr_error *err)
{
    const bool named = argv[at][0] == '-';

    for (int i = 1; i < at && !named; i++)
        if (strncmp(argv[i], "-X", 2) == 0)
            return dr_fail(err, DR_EINVAL,
                           "argument %d: %s; it comes after -X KEY=VALUE, which holds no blanks", at, what);
    return dr_fail(err, DR_EINVAL, "%.*s: %s", (int)strcspn(argv[at], "="), argv[at], what);
}

/* "sasl.mechanism=PLAIN", of -X */
static dr_status take_x(dr_cli *cli, const char *argument, dr_error *err)
{
    const char *equals = strchr(argument, '=');
    char key[128];

    if (!equals || equals == argument || (size_t)(equals - argument) >= sizeof(key))
        return dr_fail(err, DR_EINVAL, "-X: it needs KEY=VALUE");
    snprintf(key, sizeof(key), "%.*s", (int)(equals - argument), argument);
    if (!dr_setting_is_name(key))
        return dr_fail(err, DR_EINVAL, "-X: it needs KEY=VALUE");
    return dr_config_set_kafka(&cli->config, key, equals + 1, "-X", err);
}

static dr_status take_setting(dr_cli *cli, const dr_setting *setting, const char *value, dr_error *err)
{
    char name[DR_FLAG_NAME_MAX], flag[DR_FLAG_NAME_MAX + 2];

    dr_flag_name(name, setting->name);
    snprintf(flag, sizeof(flag), "--%s", name);
    return dr_config_set(&cli->config, setting, value, flag, err);
}

/* "steps=20", of --set */
static dr_status take_set(dr_cli *cli, const char *argument, dr_error *err)
{
    const char *equals = strchr(argument, '=');
    char name[DR_FLAG_NAME_MAX];
    const dr_job_field *field = NULL;

    if (equals && (size_t)(equals - argument) < sizeof(name)) {
        snprintf(name, sizeof(name), "%.*s", (int)(equals - argument), argument);
        for (char *c = name; *c; c++)
            if (*c == '-')
                *c = '_';
        field = dr_job_field_find(name);
    }
    if (!field)
        return equals ? dr_fail(err, DR_EINVAL, "--set %.*s: a job has no such field",
                                (int)(equals - argument), argument)
                      : dr_fail(err, DR_EINVAL, "--set %.64s: it needs FIELD=VALUE", argument);
    if (field == dr_job_field_find("id"))
        return dr_fail(err, DR_EINVAL, "--set id: each job needs an id of its own");
    return dr_job_set_text(cli->defaults, field, equals + 1, NULL, err);
}

/* Go through argv once.  With cli NULL only --help and --config are looked for: they come before
 * everything else. */
static dr_status read_flags(const flags *f, const dr_command *command, int argc, char **argv, dr_cli *cli,
                            bool *help, const char **config_file, dr_error *err)
{
    dr_status rc = DR_OK;
    int flag;

    optind = 0; /* glibc: start again */
    opterr = 0;
    while (!rc && (flag = getopt_long(argc, argv, ":hX:", f->option, NULL)) != -1) {
        const char *value = optarg ? optarg : "true"; /* a BOOL without a value */
        if (flag == 'h')
            *help = true;
        else if (flag == FLAG_CONFIG)
            *config_file = optarg;
        else if (flag == ':')
            rc = refuse_argument(argv, optind - 1, "a value is missing", err);
        else if (flag == '?')
            rc = refuse_argument(argv, optind - 1, "no such flag", err);
        else if (flag == 'X' && !(command->bit & DR_FOR_KAFKA))
            rc = dr_fail(err, DR_EINVAL, "-X: no such flag");
        else if (!cli)
            continue;
        else if (flag == 'X')
            rc = take_x(cli, optarg, err);
        else if (flag == FLAG_SET)
            rc = take_set(cli, optarg, err);
        else if (flag >= FLAG_FIELD)
            rc = dr_job_set_text(cli->job, &dr_job_fields[flag - FLAG_FIELD], value, NULL, err);
        else if (flag >= FLAG_NO)
            rc = take_setting(cli, &dr_settings[flag - FLAG_NO], "false", err);
        else
            rc = take_setting(cli, &dr_settings[flag - FLAG_SETTING], value, err);
    }
    if (!rc && optind < argc)
        rc = refuse_argument(argv, optind, "not a flag", err);
    return rc;
}

static const char *config_file_of(char *const *environment)
{
    for (; *environment; environment++)
        if (strncmp(*environment, "DARKROOM_CONFIG=", 16) == 0)
            return *environment + 16;
    return "";
}

/* --- one command ------------------------------------------------------------------------------------ */

static int run_command(const dr_command *command, int argc, char **argv, char *const *environment)
{
    const char *config_file = config_file_of(environment);
    flags f = { 0 };
    dr_cli cli = { 0 };
    bool help = false;
    dr_error err;
    dr_status rc;
    int code;

    rc = make_flags(&f, command, &err);
    if (!rc)
        rc = read_flags(&f, command, argc, argv, NULL, &help, &config_file, &err);
    if (!rc && help) {
        dr_help_command(stdout, command);
        code = DR_EXIT_DONE;
        goto out;
    }
    if (!rc)
        rc = dr_config_open(&cli.config, &err);
    if (!rc && command->takes_job && (!(cli.job = dr_job_create()) || !(cli.defaults = dr_job_create())))
        rc = dr_fail(&err, DR_ENOMEM, "no memory for a job");
    if (!rc && *config_file)
        rc = dr_config_read_file(&cli.config, config_file, &err);
    if (!rc)
        rc = dr_config_read_environment(&cli.config, environment, &err);
    if (!rc)
        rc = read_flags(&f, command, argc, argv, &cli, &help, &config_file, &err);
    if (rc) {
        code = dr_cli_usage(command, "%s", err.text);
        goto out;
    }
    if (cli.config.core_dumps)
        dr_process_allow_cores();
    /* Its log goes to stderr between lines for people, which are text. */
    if (!command->is_service && cli.config.log_format == DR_LOG_AUTO)
        cli.config.log_format = DR_LOG_TEXT;
    dr_log_set((dr_log_level)cli.config.log_level, (dr_log_form)cli.config.log_format);
    code = command->run(&cli);
out:
    dr_job_free(cli.job);
    dr_job_free(cli.defaults);
    dr_config_close(&cli.config);
    free(f.option);
    free(f.name);
    return code;
}

int dr_cli_run(const dr_command *const *commands, size_t count, int argc, char **argv,
               char *const *environment)
{
    const char *name = argc > 1 ? argv[1] : "";

    if (strcmp(name, "--version") == 0)
        name = "version";
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        dr_help_commands(stdout, commands, count);
        return DR_EXIT_DONE;
    }
    for (size_t i = 0; i < count; i++)
        if (strcmp(commands[i]->name, name) == 0)
            return run_command(commands[i], argc - 1, argv + 1, environment);
    if (*name) {
        dr_text_print(stderr, "darkroom: no command is called \"%s\"", name);
        fprintf(stderr, "See darkroom --help.\n");
        return DR_EXIT_USAGE;
    }
    dr_help_commands(stderr, commands, count);
    return DR_EXIT_USAGE;
}

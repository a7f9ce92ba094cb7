/* cmd_models.c - `darkroom models`: a line for each folder of models. */
#include "worker/engine/model_folders.h"
#include "worker/program/commands.h"
#include "worker/support/text.h"

#include "model/model.h"

#include <limits.h>
#include <string.h>
#include <utf8proc.h>

enum { NAME_COLUMNS = 24 };

/* Columns that the name takes on most terminals: wide letters take two. */
static int columns_of(const char *name)
{
    utf8proc_int32_t character;
    int columns = 0;

    for (utf8proc_ssize_t n; *name; name += n) {
        n = utf8proc_iterate((const utf8proc_uint8_t *)name, -1, &character);
        if (n <= 0)
            n = 1;
        else
            columns += utf8proc_charwidth(character);
    }
    return columns;
}

static void print_entry(const char *name, const char *what)
{
    char clean[NAME_MAX + 1];
    int columns;

    dr_text_copy(clean, sizeof(clean), name, strlen(name));
    columns = columns_of(clean);
    dr_text_print(stdout, "%s%*s %s", clean, columns < NAME_COLUMNS ? NAME_COLUMNS - columns : 0, "", what);
}

static void print_model(const char *name, const dr_model_config *config)
{
    char what[2 * DR_ERROR_TEXT_MAX];
    dr_sampler sampler;
    dr_error err;

    if (dr_sampler_choose(&sampler, &config->sampler, DR_SAMPLER_DEFAULT, &err))
        snprintf(what, sizeof(what), "%s, usable with a sampler named: %s", config->class_name, err.text);
    else
        snprintf(what, sizeof(what), "%s, sampler %s", config->class_name, dr_sampler_name(sampler));
    print_entry(name, what);
}

static void describe(const char *models_dir, const char *name)
{
    char path[PATH_MAX], what[DR_ERROR_TEXT_MAX + 32];
    dr_model_config config;
    dr_error err;
    dr_status rc = dr_model_entry_check(models_dir, name, &err);

    if (!rc) {
        snprintf(path, sizeof(path), "%s/%s", models_dir, name);
        rc = dr_model_check(&config, path, &err);
    }
    if (!rc) {
        print_model(name, &config);
        return;
    }
    snprintf(what, sizeof(what), "can't be used: %s", err.text);
    print_entry(name, what);
}

static int run(dr_cli *cli)
{
    dr_model_names names;
    dr_error err;

    if (dr_model_entries_read(&names, cli->config.models, &err))
        return err.retriable ? dr_cli_failed(&dr_cmd_models, &err)
                             : dr_cli_usage(&dr_cmd_models, "%s", err.text);
    for (int i = 0; i < names.count; i++)
        describe(cli->config.models, names.name[i]);
    if (names.count == 0)
        dr_text_print(stderr, "%s: the folder has no models", cli->config.models);
    dr_model_names_free(&names);
    return DR_EXIT_DONE;
}

const dr_command dr_cmd_models = {
    .name = "models",
    .bit = DR_FOR_MODELS,
    .summary = "List the models that jobs can name",
    .text =
        "Prints a line for each folder: its pipeline and its default sampler, or why it can't be used. A "
        "folder that can't be used is no failure of this command.",
    .example = "darkroom models --models /srv/models",
    .run = run,
};

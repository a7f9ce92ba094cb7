/* cmd_models.c - `darkroom models`: a line for each folder of models. */
#include "worker/engine/model_folders.h"
#include "worker/program/commands.h"
#include "worker/support/text.h"

#include "model/model.h"

#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
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

/* One folder of models. */
typedef struct entry {
    const char *name;
    bool usable;
    dr_model_config config; /* if it is usable */
    const char *sampler;    /* the default one; NULL: it has none, and why says why */
    dr_error why;           /* if it is not usable, or has no default sampler */
} entry;

static void look_at(entry *e, const char *models_dir, const char *name)
{
    char path[PATH_MAX];
    dr_sampler sampler;
    dr_status rc = dr_model_entry_check(models_dir, name, &e->why);

    e->name = name;
    e->sampler = NULL;
    if (!rc) {
        snprintf(path, sizeof(path), "%s/%s", models_dir, name);
        rc = dr_model_check(&e->config, path, &e->why);
    }
    e->usable = !rc;
    if (e->usable && !dr_sampler_choose(&sampler, &e->config.sampler, DR_SAMPLER_DEFAULT, &e->why))
        e->sampler = dr_sampler_name(sampler);
}

static void print_text(const entry *e)
{
    char what[2 * DR_ERROR_TEXT_MAX];

    if (!e->usable)
        snprintf(what, sizeof(what), "can't be used: %s", e->why.text);
    else if (!e->sampler)
        snprintf(what, sizeof(what), "%s, usable with a sampler named: %s", e->config.class_name,
                 e->why.text);
    else
        snprintf(what, sizeof(what), "%s, sampler %s", e->config.class_name, e->sampler);
    print_entry(e->name, what);
}

/* False: there is no memory for it. */
static bool print_json(const entry *e)
{
    char name[NAME_MAX + 1], why[DR_ERROR_TEXT_MAX];
    json_t *object;
    char *text;

    dr_text_copy(name, sizeof(name), e->name, strlen(e->name)); /* JSON is UTF-8 */
    dr_text_copy(why, sizeof(why), e->why.text, strlen(e->why.text));
    object = json_pack("{s:s, s:b, s:s*, s:s*, s:s*}", "name", name, "usable", e->usable, "pipeline",
                       e->usable ? e->config.class_name : NULL, "sampler", e->sampler, "why",
                       e->sampler ? NULL : why);
    text = object ? json_dumps(object, JSON_COMPACT) : NULL;
    if (text)
        puts(text);
    free(text);
    json_decref(object);
    return text;
}

static int run(dr_cli *cli)
{
    dr_model_names names;
    bool said = true;
    dr_error err;

    if (dr_model_entries_read(&names, cli->config.models, &err))
        return err.retriable ? dr_cli_failed(&dr_cmd_models, &err)
                             : dr_cli_usage(&dr_cmd_models, "%s", err.text);
    for (int i = 0; i < names.count && said; i++) {
        entry e;
        look_at(&e, cli->config.models, names.name[i]);
        if (cli->config.json)
            said = print_json(&e);
        else
            print_text(&e);
    }
    if (names.count == 0)
        dr_text_print(stderr, "%s: the folder has no models", cli->config.models);
    dr_model_names_free(&names);
    if (said)
        return DR_EXIT_DONE;
    dr_fail(&err, DR_ENOMEM, "no memory for a line of JSON");
    return dr_cli_failed(&dr_cmd_models, &err);
}

const dr_command dr_cmd_models = {
    .name = "models",
    .bit = DR_FOR_MODELS,
    .summary = "List the models that jobs can name",
    .text =
        "Prints a line for each folder: its pipeline and its default sampler, or why it can't be used. A "
        "folder that can't be used is no failure of this command. With --json each line is an object: name, "
        "usable, and where they are known pipeline, sampler and why.",
    .example = "darkroom models --models /srv/models",
    .run = run,
};

/* cmd_models.c - what models there are, and what they are. */
#include "worker/commands.h"
#include "worker/models.h"

#include "model/config.h"

#include <string.h>

static void describe(const char *models_dir, const char *name)
{
    dr_model_config config;
    char path[4096];
    dr_error err;

    snprintf(path, sizeof(path), "%s/%s", models_dir, name);
    if (dr_model_config_read(&config, path, &err))
        printf("%-24s can't be used: %s\n", name, err.text);
    else
        printf("%-24s %s, sampler %s\n", name, config.class_name, dr_sampler_name(config.sampler.own));
}

static int run(dr_cli *cli)
{
    dr_model_names names;
    dr_error err;

    if (dr_model_names_read(&names, cli->config.models, &err))
        return dr_cli_failed(&dr_cmd_models, &err);
    for (int i = 0; i < names.count; i++)
        describe(cli->config.models, names.name[i]);
    if (names.count == 0)
        fprintf(stderr, "%s: no folder here has a model_index.json\n", cli->config.models);
    dr_model_names_free(&names);
    return DR_EXIT_DONE;
}

const dr_command dr_cmd_models = {
    .name = "models",
    .bit = DR_FOR_MODELS,
    .summary = "list the models that jobs can name",
    .example = "darkroom models --models /srv/models",
    .run = run,
};

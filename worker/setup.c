#include "worker/setup.h"

#include "worker/files.h"

#include <string.h>

dr_pipeline_options dr_setup_pipeline(const dr_config *config)
{
    return (dr_pipeline_options){
        .engine = {
            .device = config->device,
            .models_dir = config->models,
            .threads = config->threads,
            .batch_max = config->batch_max,
            .models_max = config->models_max,
            .null_step_us = config->null_step_us,
        },
        .finish_threads = config->finish_threads,
        .jobs_max = config->jobs_max,
    };
}

dr_status dr_setup_check_models(const dr_config *config, dr_error *err)
{
    if (strcmp(config->device, "null") == 0 || dr_folder_exists(config->models))
        return DR_OK;
    return dr_fail(err, DR_ENOTFOUND, "%s: there is no such models directory", config->models);
}

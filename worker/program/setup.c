#include "worker/program/setup.h"

#include "worker/support/files.h"

#include <stdlib.h>
#include <string.h>

static dr_engine_options engine_options(const dr_config *config)
{
    return (dr_engine_options){
        .device = dr_config_device(config),
        .models_dir = config->models,
        .batch_max = config->batch_max,
        .models_max = config->models_max,
        .null_step_us = config->null_step_us,
    };
}

dr_pipeline_options dr_setup_pipeline(const dr_config *config)
{
    return (dr_pipeline_options){
#define NUMBER(name) .name = config->name,
        DR_PIPELINE_NUMBERS(NUMBER)
#undef NUMBER
            .engine = engine_options(config),
    };
}

dr_status dr_setup_kafka(dr_kafka_options *out, const dr_config *config, dr_error *err)
{
    dr_status rc;

    *out = (dr_kafka_options){ 0 };
    rc = dr_kafka_options_add(out, "bootstrap.servers", config->brokers, err);
    for (size_t i = 0; i < config->kafka_count && !rc; i++)
        rc = dr_kafka_options_add(out, config->kafka[i].key, config->kafka[i].value, err);
    return rc;
}

dr_service_options dr_setup_service(const dr_config *config, const char *slot)
{
    return (dr_service_options){
        .group = config->group,
        .slot = slot,
        .jobs_topic = config->jobs_topic,
        .results_topic = config->results_topic,
        .dead_letters_topic = config->dead_letters_topic,
        .events_topic = config->events_topic,
        .control_topic = config->control_topic,
        .delivery = (dr_delivery)config->delivery,
        .pipeline = dr_setup_pipeline(config),
    };
}

dr_status dr_setup_check_models(const dr_config *config, dr_error *err)
{
    if (strcmp(config->device, "null") == 0 || dr_folder_exists(config->models))
        return DR_OK;
    return dr_fail(err, DR_ENOTFOUND, "%s: no such folder; --models names the folder of models",
                   config->models);
}

/* A kubelet can't reach a pod's loopback, and a pod's network is its own.  Elsewhere only this machine may
 * ask. */
const char *dr_setup_http(const char *setting)
{
    if (strcmp(setting, "auto") != 0)
        return setting;
    return getenv("KUBERNETES_SERVICE_HOST") ? ":9464" : "127.0.0.1:9464";
}

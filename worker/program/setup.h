/* setup.h - from settings to the options of the program's parts.  Any thread. */
#ifndef DR_WORKER_PROGRAM_SETUP_H
#define DR_WORKER_PROGRAM_SETUP_H

#include "worker/kafka/kafka.h"
#include "worker/pipeline/pipeline.h"
#include "worker/service/service.h"
#include "worker/settings/config.h"

/* The options of the pipeline, without on_result, on_event and arg.  They borrow the config's strings.
 * render, demo and worker all have their pipeline's options from here. */
dr_pipeline_options dr_setup_pipeline(const dr_config *config);

/* The brokers, and what the user set as kafka.*.  On success *out is the caller's, to be freed with
 * dr_kafka_options_free().  DR_ENOMEM: *out is empty. */
dr_status dr_setup_kafka(dr_kafka_options *out, const dr_config *config, dr_error *err);

/* The options of the service, without kafka and reply_topics.  They borrow slot and the config's strings. */
dr_service_options dr_setup_service(const dr_config *config, const char *slot);

/* DR_ENOTFOUND: the folder of models is not there, and the device needs it. */
dr_status dr_setup_check_models(const dr_config *config, dr_error *err);

/* The address that the http setting means: a literal, or the setting itself. */
const char *dr_setup_http(const char *setting);

#endif

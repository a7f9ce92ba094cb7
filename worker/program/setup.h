/* setup.h - from settings to the options of the parts. */
#ifndef DR_WORKER_PROGRAM_SETUP_H
#define DR_WORKER_PROGRAM_SETUP_H

#include "worker/kafka/kafka.h"
#include "worker/pipeline/pipeline.h"
#include "worker/service/service.h"
#include "worker/settings/config.h"

/* All but on_result, on_event and arg.  Borrows the config's strings. */
dr_pipeline_options dr_setup_pipeline(const dr_config *config);

/* The brokers, and what the user set as kafka.*.  On success *out is the caller's, to be freed with dr_kafka_options_free(). */
dr_status dr_setup_kafka(dr_kafka_options *out, const dr_config *config, dr_error *err);

/* All but kafka and reply_topics.  Borrows the config's strings, and slot. */
dr_service_options dr_setup_service(const dr_config *config, const char *slot);

/* DR_ENOTFOUND where the models directory is not there and the device looks at it. */
dr_status dr_setup_check_models(const dr_config *config, dr_error *err);

/* Where the http setting means.  A literal, or the setting itself. */
const char *dr_setup_http(const char *setting);

#endif

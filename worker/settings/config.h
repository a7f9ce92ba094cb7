/* config.h - the settings of the program: one row each, from which come parsing, checks and --help.
 *
 *     default  <  config file  <  DARKROOM_* environment  <  flags         later wins
 *
 *     batch_max = 8          in the file
 *     DARKROOM_BATCH_MAX=8   in the environment
 *     --batch-max 8          as a flag
 *
 * A file is flat `key = value` lines (worker/settings/config_file.c), good for all subcommands.  A key, variable or flag that nobody knows
 * is an error that names it and where it stands.  Keys that begin with `kafka.` go to librdkafka as they
 * are (kafka.security.protocol = ssl; DARKROOM_KAFKA_SECURITY_PROTOCOL; -X security.protocol=ssl). */
#ifndef DR_WORKER_SETTINGS_CONFIG_H
#define DR_WORKER_SETTINGS_CONFIG_H

#include "base/error.h"
#include "worker/kafka/kafka_settings.h"

#include <darkroom/device.h>

#include <stdbool.h>
#include <stddef.h>

/* Which subcommands have a setting. */
enum {
    DR_FOR_WORKER = 1,
    DR_FOR_RENDER = 2,
    DR_FOR_SUBMIT = 4,
    DR_FOR_COLLECT = 8,
    DR_FOR_DEMO = 16,
    DR_FOR_MODELS = 32,
    DR_FOR_KAFKA = DR_FOR_WORKER | DR_FOR_SUBMIT | DR_FOR_COLLECT,
    DR_FOR_ENGINE = DR_FOR_WORKER | DR_FOR_RENDER | DR_FOR_DEMO,
    DR_FOR_ALL = 63,
};

typedef struct dr_config {
    /* the device: a member for each row of darkroom/options.h, by its setting's name */
#define DR_CONFIG_TEXT(field, setting, ...) char *setting;
#define DR_CONFIG_CHOICE(field, setting, ...) int setting; /* index of the name */
#define DR_CONFIG_INT(field, setting, ...) int setting;
#define DR_CONFIG_SWITCH(field, setting, ...) bool setting;
    DR_DEVICE_OPTIONS(DR_CONFIG_TEXT, DR_CONFIG_CHOICE, DR_CONFIG_INT, DR_CONFIG_INT, DR_CONFIG_SWITCH)
#undef DR_CONFIG_TEXT
#undef DR_CONFIG_CHOICE
#undef DR_CONFIG_INT
#undef DR_CONFIG_SWITCH
    /* the engine */
    char *models;
    int batch_max, models_max, model_wait_s, null_step_us, finish_threads, jobs_max;
    /* Kafka */
    char *brokers, *jobs_topic, *results_topic, *events_topic, *control_topic, *dead_letters_topic,
        *reply_topics;
    char *group, *worker, *http;
    int delivery; /* dr_delivery */
    int drain_s;
    dr_property *kafka; /* what came as kafka.*, in order */
    size_t kafka_count;
    /* files */
    char *jobs, *out;
    bool sheet, dry_run;
    int count, timeout_s;
    /* what is said */
    bool core_dumps;
    int log_level, log_format; /* dr_log_level, dr_log_form */
} dr_config;

typedef enum dr_setting_type {
    DR_SETTING_TEXT,
    DR_SETTING_INT,
    DR_SETTING_BOOL,
    DR_SETTING_CHOICE
} dr_setting_type;

typedef struct dr_setting {
    const char *name; /* the file's key; with - for _ the flag; in capitals after DARKROOM_ the variable */
    dr_setting_type type;
    size_t offset;
    const char *preset; /* the default, as it would stand in a file */
    long min, max;      /* INT */
    const char *(*choice)(int value);
    int choices;
    const char *placeholder; /* of the value in --help, "COUNT"; NULL: a BOOL, which needs no value */
    unsigned commands;
    const char *help;
} dr_setting;

extern const dr_setting dr_settings[];
extern const int dr_setting_count;
const dr_setting *dr_setting_find(const char *name); /* NULL: no such setting */

/* Whether it can be the name of a setting, ours or librdkafka's: letters, digits, . _ and -.  What is not is no name that
 * somebody mistook, and may hold a password: it is not shown. */
bool dr_setting_is_name(const char *text);

/* All defaults. */
dr_status dr_config_open(dr_config *config, dr_error *err);
void dr_config_close(dr_config *config);

/* The device that the settings ask for.  Its strings are the config's, or live for ever. */
dr_device_options dr_config_device(const dr_config *config);

/* One value; `where` says whence it comes, for messages ("worker.conf:3", "DARKROOM_THREADS", "--threads"). */
dr_status dr_config_set(dr_config *config, const dr_setting *setting, const char *value, const char *where,
                        dr_error *err);
/* A setting of librdkafka's.  KEY_file of one that is secret (worker/support/secrets.h) is KEY, and value the file it stands in. */
dr_status dr_config_set_kafka(dr_config *config, const char *key, const char *value, const char *where,
                              dr_error *err);

/* DR_EINVAL where a line is not understood, with its number and without its value; DR_ENOTFOUND, DR_EIO, DR_EFORMAT of the
 * file as a text. */
dr_status dr_config_read_file(dr_config *config, const char *path, dr_error *err);
/* environment: as environ, NULL at its end.  DARKROOM_CONFIG is not looked at: it names the file. */
dr_status dr_config_read_environment(dr_config *config, char *const *environment, dr_error *err);

/* "1..64", "error, warn, info, debug", "" */
void dr_setting_allowed(const dr_setting *setting, char *text, size_t size);

#endif

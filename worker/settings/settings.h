/* settings.h - the settings of the program: a row for each.  No setting is spelled anywhere else but where
 * it is used.
 *
 *     TEXT(name, preset, placeholder, commands, help)                       char *
 *     NUMBER(name, preset, min, max, placeholder, commands, help)           int, min .. max
 *     SWITCH(name, preset, commands, help)                                  bool
 *     CHOICE(name, preset, choice, choices, placeholder, commands, help)    int i, named choice(i)
 *
 * From a row come the member of dr_config, the key of the config file, the variable, the flag, the check
 * of the value, its line in --help and its line in docs/reference.md:
 *
 *     batch_max = 8          in the file
 *     DARKROOM_BATCH_MAX=8   in the environment
 *     --batch-max 8          as a flag
 *
 * `preset` is the default as it would stand in the file.  `commands` says which commands have the setting.
 * `placeholder` stands for the value in --help: two capitals or more that say what the value is.  `help`
 * begins with a capital and not with "Of", and has no full stop at its end.
 *
 * The settings of the device are rows of darkroom/options.h. */
#ifndef DR_WORKER_SETTINGS_SETTINGS_H
#define DR_WORKER_SETTINGS_SETTINGS_H

#include "base/limits.h"
#include "worker/kafka/guarantee.h"
#include "worker/support/log.h"

#include <stdbool.h>
#include <stddef.h>

/* Which commands have a setting. */
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

/* clang-format off */
#define DR_SETTINGS(TEXT, NUMBER, SWITCH, CHOICE)                                                       \
    /* the engine */                                                                                    \
    TEXT(models, "models", "FOLDER", DR_FOR_ENGINE | DR_FOR_MODELS,                                     \
         "Folder that holds one folder for each model")                                                 \
    NUMBER(batch_max, "8", 1, DR_SAMPLES_MAX, "COUNT", DR_FOR_ENGINE,                                   \
           "Pictures to draw together, at most")                                                        \
    NUMBER(models_max, "2", 1, 64, "COUNT", DR_FOR_ENGINE,                                              \
           "Models to keep loaded, at most")                                                            \
    NUMBER(model_wait_s, "600", 0, 604800, "SECONDS", DR_FOR_WORKER,                                    \
           "Time that a job waits for a model that is not there, in seconds, while other jobs go "      \
           "on. 0 means that the job fails at once")                                                    \
    NUMBER(null_step_us, "2000", 0, 10000000, "MICROSECONDS", DR_FOR_ENGINE,                            \
           "Time that the null device takes for one step of one picture, in microseconds")              \
    NUMBER(finish_threads, "0", 0, 64, "COUNT", DR_FOR_ENGINE,                                          \
           "Threads that encode PNG, JPEG and WebP. 0 means half of the CPU cores; the other half "     \
           "helps while many pictures wait")                                                            \
    NUMBER(jobs_max, "64", 1, 4096, "COUNT", DR_FOR_ENGINE,                                             \
           "Jobs taken and not yet published, at most")                                                 \
    /* Kafka */                                                                                         \
    TEXT(brokers, "localhost:9092", "HOST:PORT,...", DR_FOR_KAFKA,                                      \
         "Addresses of some brokers of the Kafka cluster")                                              \
    TEXT(jobs_topic, "darkroom.jobs", "TOPIC", DR_FOR_WORKER | DR_FOR_SUBMIT,                           \
         "Topic of the jobs")                                                                           \
    TEXT(results_topic, "darkroom.results", "TOPIC", DR_FOR_WORKER | DR_FOR_COLLECT,                    \
         "Topic of the results")                                                                        \
    TEXT(events_topic, "darkroom.events", "TOPIC", DR_FOR_WORKER,                                       \
         "Topic of the events that jobs ask for; empty means that none are sent")                       \
    TEXT(control_topic, "darkroom.control", "TOPIC", DR_FOR_WORKER,                                     \
         "Topic of the cancellations; empty means that none are read")                                  \
    TEXT(dead_letters_topic, "darkroom.dead-letters", "TOPIC", DR_FOR_WORKER,                           \
         "Topic of the dead letters: messages that are no jobs")                                        \
    TEXT(reply_topics, "", "TOPIC,...", DR_FOR_WORKER,                                                  \
         "Topics that a job may name as its reply_topic, separated by commas")                          \
    TEXT(group, "darkroom", "NAME", DR_FOR_WORKER,                                                      \
         "Consumer group of the workers")                                                               \
    TEXT(worker, "", "NAME", DR_FOR_WORKER,                                                             \
         "Name of this worker, the same after a restart; empty means the host's name")                  \
    TEXT(http, "auto", "ADDRESS:PORT", DR_FOR_WORKER,                                                   \
         "Address of /metrics, /healthz and /readyz: 127.0.0.1:9464, [::1]:9464 with IPv6, :9464 "      \
         "for every address. auto means 127.0.0.1:9464, and in a Kubernetes pod :9464, where the "      \
         "kubelet reaches it. Empty means no address")                                                  \
    CHOICE(delivery, "exactly_once", dr_delivery_name, DR_DELIVERIES, "GUARANTEE", DR_FOR_WORKER,       \
           "Delivery of results. at_least_once uses no transactions, so a crash may publish a "         \
           "result twice")                                                                              \
    NUMBER(drain_s, "300", 0, 86400, "SECONDS", DR_FOR_WORKER,                                          \
           "Time to finish the running jobs after SIGTERM, in seconds")                                 \
    /* files */                                                                                         \
    TEXT(jobs, "", "FILE", DR_FOR_RENDER | DR_FOR_SUBMIT,                                               \
         "File of jobs, or - for standard input. In a .csv or .tsv file the first row names "           \
         "fields of a job. In a .txt file each line is a prompt. In every other file each line is "     \
         "a JSON object")                                                                               \
    TEXT(out, "", "FOLDER", DR_FOR_RENDER | DR_FOR_COLLECT | DR_FOR_DEMO,                               \
         "Folder for pictures and results.jsonl")                                                       \
    SWITCH(sheet, "true", DR_FOR_RENDER | DR_FOR_DEMO,                                                  \
           "Make a contact sheet of all pictures")                                                      \
    SWITCH(dry_run, "false", DR_FOR_RENDER,                                                             \
           "Say what would be drawn and what is wrong, and draw nothing")                               \
    SWITCH(json, "false", DR_FOR_MODELS,                                                                \
           "Print JSON, an object a line, for other programs")                                          \
    NUMBER(count, "0", 0, 1000000000, "COUNT", DR_FOR_COLLECT,                                          \
           "Results to have in the folder at the end, failures and earlier ones included; 0 means "     \
           "to go on until interrupted")                                                                \
    NUMBER(timeout_s, "0", 0, 86400, "SECONDS", DR_FOR_SUBMIT | DR_FOR_COLLECT,                         \
           "Time to wait for the broker or for the next result, in seconds; 0 means no limit")          \
    /* what is said */                                                                                  \
    SWITCH(core_dumps, "false", DR_FOR_ALL,                                                             \
           "Leave a core file after a crash. It holds prompts, pictures and passwords")                 \
    CHOICE(log_level, "info", dr_log_level_name, DR_LOG_LEVELS, "LEVEL", DR_FOR_ALL,                    \
           "Log this level and the more urgent ones")                                                   \
    CHOICE(log_format, "auto", dr_log_form_name, DR_LOG_FORMS, "FORMAT", DR_FOR_ALL,                    \
           "Form of the log's lines; auto means text, but JSON for a worker whose stderr is no "        \
           "terminal")
/* clang-format on */

typedef enum dr_setting_type {
    DR_SETTING_TEXT,
    DR_SETTING_INT,
    DR_SETTING_BOOL,
    DR_SETTING_CHOICE
} dr_setting_type;

/* One row, here or of darkroom/options.h. */
typedef struct dr_setting {
    const char *name; /* the file's key; with - for _ the flag; in capitals after DARKROOM_ the variable */
    dr_setting_type type;
    size_t offset; /* in dr_config */
    const char *preset;
    long min, max;                    /* INT */
    const char *(*choice)(int value); /* CHOICE */
    int choices;
    const char *placeholder; /* NULL: a BOOL, which needs no value */
    unsigned commands;       /* DR_FOR_... */
    const char *help;
} dr_setting;

extern const dr_setting dr_settings[];
extern const int dr_setting_count;

/* NULL: no setting has this name. */
const dr_setting *dr_setting_find(const char *name);

/* Whether a text may be the name of a setting, ours or librdkafka's: letters, digits, . _ and -.  A text
 * that may not is nobody's mistyped name.  It may hold a password, and must not be shown. */
bool dr_setting_is_name(const char *text);

/* What values are allowed, as text: "1..64", "error, warn, info, debug", or "" where every text is. */
void dr_setting_allowed(const dr_setting *setting, char *text, size_t size);

#endif

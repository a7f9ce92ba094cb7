#include "worker/settings/config.h"

#include "base/limits.h"
#include "worker/delivery/outbox.h"
#include "worker/settings/kubernetes.h"
#include "worker/support/log.h"
#include "worker/support/secrets.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT(member) DR_SETTING_TEXT, offsetof(dr_config, member)
#define INT(member) DR_SETTING_INT, offsetof(dr_config, member)
#define BOOL(member) DR_SETTING_BOOL, offsetof(dr_config, member)
#define CHOICE(member) DR_SETTING_CHOICE, offsetof(dr_config, member)
#define RANGE(from, to) .min = (from), .max = (to)

/* --- the device's options: rows of darkroom/options.h -------------------------------------------- */

/* For each CHOICE: storage_names[], and choose_storage(), which gives one of them by its index. */
#define NONE(...)
#define NAMES(field, setting, preset, placeholder, text, ...)     \
    static const char *const setting##_names[] = { __VA_ARGS__ }; \
    static const char *choose_##setting(int value)                \
    {                                                             \
        return setting##_names[value];                            \
    }
DR_DEVICE_OPTIONS(NONE, NAMES, NONE, NONE, NONE)
#undef NAMES
#undef NONE

/* clang-format off */
#define DEVICE_TEXT(field, setting, default_text, value_name, text)                                         \
    { #setting, TEXT(setting), default_text, .placeholder = value_name, .commands = DR_FOR_ENGINE, .help = text },
#define DEVICE_CHOICE(field, setting, default_text, value_name, text, ...)                                  \
    { #setting, CHOICE(setting), default_text, .choice = choose_##setting,                                  \
      .choices = sizeof(setting##_names) / sizeof(setting##_names[0]),                                      \
      .placeholder = value_name, .commands = DR_FOR_ENGINE, .help = text },
#define DEVICE_NUMBER(setting, default_text, most, value_name, text)                                        \
    { #setting, INT(setting), default_text, RANGE(0, most), .placeholder = value_name,                      \
      .commands = DR_FOR_ENGINE, .help = text },
#define DEVICE_COUNT(field, setting, default_text, most, text)                                              \
    DEVICE_NUMBER(setting, default_text, most, "COUNT", text)
#define DEVICE_MIB(field, setting, default_text, most, text)                                                \
    DEVICE_NUMBER(setting, default_text, most, "MIB", text)
#define DEVICE_SWITCH(field, setting, default_text, text)                                                   \
    { #setting, BOOL(setting), default_text, .commands = DR_FOR_ENGINE, .help = text },
/* clang-format on */

dr_device_options dr_config_device(const dr_config *config)
{
    return (dr_device_options){
#define FIELD_AS_IS(field, setting, ...) .field = config->setting,
#define FIELD_CHOICE(field, setting, ...) .field = choose_##setting(config->setting),
#define FIELD_MIB(field, setting, ...) .field = (size_t)config->setting << 20,
        DR_DEVICE_OPTIONS(FIELD_AS_IS, FIELD_CHOICE, FIELD_AS_IS, FIELD_MIB, FIELD_AS_IS)
    };
}

/* --- all settings ----------------------------------------------------------------------------------- */

/* clang-format off */
const dr_setting dr_settings[] = {
    { "models", TEXT(models), "models", .placeholder = "FOLDER", .commands = DR_FOR_ENGINE | DR_FOR_MODELS,
      .help = "Folder that holds one folder for each model" },
    DR_DEVICE_OPTIONS(DEVICE_TEXT, DEVICE_CHOICE, DEVICE_COUNT, DEVICE_MIB, DEVICE_SWITCH)
    { "batch_max", INT(batch_max), "8", RANGE(1, DR_SAMPLES_MAX), .placeholder = "COUNT",
      .commands = DR_FOR_ENGINE,
      .help = "Pictures to draw together, at most" },
    { "models_max", INT(models_max), "2", RANGE(1, 64), .placeholder = "COUNT", .commands = DR_FOR_ENGINE,
      .help = "Models to keep loaded, at most" },
    { "model_wait_s", INT(model_wait_s), "600", RANGE(0, 604800), .placeholder = "SECONDS",
      .commands = DR_FOR_WORKER,
      .help = "Time that a job waits for a model that is not there, in seconds, while other jobs go on. 0 "
              "means that the job fails at once" },
    { "null_step_us", INT(null_step_us), "2000", RANGE(0, 10000000), .placeholder = "MICROSECONDS",
      .commands = DR_FOR_ENGINE,
      .help = "Time that the null device takes for one step of one picture, in microseconds" },
    { "finish_threads", INT(finish_threads), "0", RANGE(0, 64), .placeholder = "COUNT",
      .commands = DR_FOR_ENGINE,
      .help = "Threads that encode PNG, JPEG and WebP. 0 means half as many as threads = 0 takes, and "
              "the other half too while pictures wait" },
    { "jobs_max", INT(jobs_max), "64", RANGE(1, 4096), .placeholder = "COUNT", .commands = DR_FOR_ENGINE,
      .help = "Jobs taken and not yet published, at most" },

    { "brokers", TEXT(brokers), "localhost:9092", .placeholder = "HOST:PORT,...", .commands = DR_FOR_KAFKA,
      .help = "Addresses of some brokers of the Kafka cluster" },
    { "jobs_topic", TEXT(jobs_topic), "darkroom.jobs", .placeholder = "TOPIC",
      .commands = DR_FOR_WORKER | DR_FOR_SUBMIT,
      .help = "Topic of the jobs" },
    { "results_topic", TEXT(results_topic), "darkroom.results", .placeholder = "TOPIC",
      .commands = DR_FOR_WORKER | DR_FOR_COLLECT,
      .help = "Topic of the results" },
    { "events_topic", TEXT(events_topic), "darkroom.events", .placeholder = "TOPIC",
      .commands = DR_FOR_WORKER,
      .help = "Topic of the events that jobs ask for; empty means that none are sent" },
    { "control_topic", TEXT(control_topic), "darkroom.control", .placeholder = "TOPIC",
      .commands = DR_FOR_WORKER,
      .help = "Topic of the cancellations; empty means that none are read" },
    { "dead_letters_topic", TEXT(dead_letters_topic), "darkroom.dead-letters", .placeholder = "TOPIC",
      .commands = DR_FOR_WORKER,
      .help = "Topic of the dead letters: messages that are no jobs" },
    { "reply_topics", TEXT(reply_topics), "", .placeholder = "TOPIC,...", .commands = DR_FOR_WORKER,
      .help = "Topics that a job may name as its reply_topic, separated by commas" },
    { "group", TEXT(group), "darkroom", .placeholder = "NAME", .commands = DR_FOR_WORKER,
      .help = "Consumer group of the workers" },
    { "worker", TEXT(worker), "", .placeholder = "NAME", .commands = DR_FOR_WORKER,
      .help = "Name of this worker, the same after a restart; empty means the host's name" },
    { "http", TEXT(http), "auto", .placeholder = "ADDRESS:PORT", .commands = DR_FOR_WORKER,
      .help = "Address of /metrics, /healthz and /readyz: 127.0.0.1:9464, [::1]:9464 with IPv6, :9464 for "
              "every address. auto means 127.0.0.1:9464, and in a Kubernetes pod :9464, where the kubelet "
              "reaches it. Empty means no address" },
    { "delivery", CHOICE(delivery), "exactly_once", .choice = dr_delivery_name, .choices = DR_DELIVERIES,
      .placeholder = "GUARANTEE", .commands = DR_FOR_WORKER,
      .help = "Delivery of results. at_least_once uses no transactions, so a crash may publish a result "
              "twice" },
    { "drain_s", INT(drain_s), "300", RANGE(0, 86400), .placeholder = "SECONDS", .commands = DR_FOR_WORKER,
      .help = "Time to finish the running jobs after SIGTERM, in seconds" },

    { "jobs", TEXT(jobs), "", .placeholder = "FILE", .commands = DR_FOR_RENDER | DR_FOR_SUBMIT,
      .help = "File of jobs, or - for standard input. In a .csv or .tsv file the first row names fields "
              "of a job. In a .txt file each line is a prompt. In every other file each line is a JSON "
              "object" },
    { "out", TEXT(out), "", .placeholder = "FOLDER", .commands = DR_FOR_RENDER | DR_FOR_COLLECT | DR_FOR_DEMO,
      .help = "Folder for pictures and results.jsonl. Where render draws one job in flags, it may be the "
              "picture's file: x.png" },
    { "sheet", BOOL(sheet), "true", .commands = DR_FOR_RENDER | DR_FOR_DEMO,
      .help = "Make a contact sheet of all pictures" },
    { "dry_run", BOOL(dry_run), "false", .commands = DR_FOR_RENDER,
      .help = "Say what would be drawn and what is wrong, and draw nothing" },
    { "count", INT(count), "0", RANGE(0, 1000000000), .placeholder = "COUNT", .commands = DR_FOR_COLLECT,
      .help = "Results to have in the folder at the end, failures and earlier ones included; 0 means to "
              "go on until interrupted" },
    { "timeout_s", INT(timeout_s), "0", RANGE(0, 86400), .placeholder = "SECONDS",
      .commands = DR_FOR_SUBMIT | DR_FOR_COLLECT,
      .help = "Time to wait for the broker or for the next result, in seconds; 0 means no limit" },

    { "core_dumps", BOOL(core_dumps), "false", .commands = DR_FOR_ALL,
      .help = "Leave a core file after a crash. It holds prompts, pictures and passwords" },
    { "log_level", CHOICE(log_level), "info", .choice = dr_log_level_name, .choices = DR_LOG_LEVELS,
      .placeholder = "LEVEL", .commands = DR_FOR_ALL,
      .help = "Log this level and the more urgent ones" },
    { "log_format", CHOICE(log_format), "auto", .choice = dr_log_form_name, .choices = DR_LOG_FORMS,
      .placeholder = "FORMAT", .commands = DR_FOR_ALL,
      .help = "Form of the log's lines; auto means text, but JSON for a worker whose stderr is no terminal" },
};
/* clang-format on */
const int dr_setting_count = sizeof(dr_settings) / sizeof(dr_settings[0]);

const dr_setting *dr_setting_find(const char *name)
{
    for (int i = 0; i < dr_setting_count; i++)
        if (strcmp(dr_settings[i].name, name) == 0)
            return &dr_settings[i];
    return NULL;
}

bool dr_setting_is_name(const char *text)
{
    for (const char *c = text; *c; c++)
        if (!isalnum((unsigned char)*c) && !strchr("._-", *c))
            return false;
    return *text;
}

void dr_setting_allowed(const dr_setting *setting, char *text, size_t size)
{
    size_t used = 0;

    text[0] = 0;
    if (setting->type == DR_SETTING_INT)
        snprintf(text, size, "%ld..%ld", setting->min, setting->max);
    else if (setting->type == DR_SETTING_BOOL)
        snprintf(text, size, "true, false");
    else if (setting->type == DR_SETTING_CHOICE)
        for (int i = 0; i < setting->choices && used < size; i++)
            used += (size_t)snprintf(text + used, size - used, "%s%s", i ? ", " : "", setting->choice(i));
}

/* --- one value --------------------------------------------------------------------------- */

static bool set_int(int *to, const dr_setting *setting, const char *value)
{
    char *end;

    errno = 0;
    const long number = strtol(value, &end, 10);
    if (end == value || *end || errno || number < setting->min || number > setting->max)
        return false;
    *to = (int)number;
    return true;
}

static bool set_choice(int *to, const dr_setting *setting, const char *value)
{
    for (int i = 0; i < setting->choices; i++)
        if (strcmp(setting->choice(i), value) == 0) {
            *to = i;
            return true;
        }
    return false;
}

static bool set_bool(bool *to, const char *value)
{
    *to = strcmp(value, "true") == 0;
    return *to || strcmp(value, "false") == 0;
}

static dr_status set_text(char **to, const char *value, dr_error *err)
{
    char *copy = strdup(value);

    if (!copy)
        return dr_fail(err, DR_ENOMEM, "no memory for the settings");
    free(*to);
    *to = copy;
    return DR_OK;
}

dr_status dr_config_set(dr_config *config, const dr_setting *setting, const char *value, const char *where,
                        dr_error *err)
{
    void *at = (char *)config + setting->offset;
    char allowed[160];
    bool fits = false;

    switch (setting->type) {
    case DR_SETTING_TEXT:
        return set_text(at, value, err);
    case DR_SETTING_INT:
        fits = set_int(at, setting, value);
        break;
    case DR_SETTING_BOOL:
        fits = set_bool(at, value);
        break;
    case DR_SETTING_CHOICE:
        fits = set_choice(at, setting, value);
        break;
    }
    if (fits)
        return DR_OK;
    dr_setting_allowed(setting, allowed, sizeof(allowed));
    return dr_fail(err, DR_EINVAL, "%s: %s is \"%s\"; allowed: %s", where, setting->name, value, allowed);
}

static dr_status add_property(dr_config *config, const char *key, const char *value, dr_error *err)
{
    dr_property *list = realloc(config->kafka, (config->kafka_count + 1) * sizeof(*list));
    dr_property property = { strdup(key), strdup(value) };

    if (list)
        config->kafka = list;
    if (!list || !property.key || !property.value) {
        free(property.key);
        free(property.value);
        return dr_fail(err, DR_ENOMEM, "no memory for the settings");
    }
    list[config->kafka_count++] = property;
    return DR_OK;
}

dr_status dr_config_set_kafka(dr_config *config, const char *key, const char *value, const char *where,
                              dr_error *err)
{
    const size_t secret = dr_secret_file_key(key);
    char *bare = NULL, *text = NULL;
    dr_status rc;

    if (!secret)
        return add_property(config, key, value, err);
    bare = strndup(key, secret);
    rc = bare ? dr_secret_read(&text, value, err) : dr_fail(err, DR_ENOMEM, "no memory for the settings");
    rc = rc ? dr_fail_within(err, "%s: kafka.%s", where, key) : add_property(config, bare, text, err);
    free(text);
    free(bare);
    return rc;
}

dr_status dr_config_open(dr_config *config, dr_error *err)
{
    *config = (dr_config){ 0 };
    for (int i = 0; i < dr_setting_count; i++) {
        const dr_status rc = dr_config_set(config, &dr_settings[i], dr_settings[i].preset, "default", err);
        dr_assert(rc != DR_EINVAL); /* a preset is allowed */
        if (rc)
            return rc;
    }
    return DR_OK;
}

void dr_config_close(dr_config *config)
{
    for (int i = 0; i < dr_setting_count; i++)
        if (dr_settings[i].type == DR_SETTING_TEXT)
            free(*(char **)((char *)config + dr_settings[i].offset));
    for (size_t i = 0; i < config->kafka_count; i++) {
        free(config->kafka[i].key);
        free(config->kafka[i].value);
    }
    free(config->kafka);
    *config = (dr_config){ 0 };
}

/* --- the environment --------------------------------------------------------------------------- */

/* BOOTSTRAP_SERVERS -> bootstrap.servers */
static void spell(char *to, size_t size, const char *name, size_t n, char separator)
{
    size_t i;

    for (i = 0; i < n && i + 1 < size; i++)
        to[i] = name[i] == '_' ? separator : (char)tolower((unsigned char)name[i]);
    to[i] = 0;
}

dr_status dr_config_read_environment(dr_config *config, char *const *environment, dr_error *err)
{
    static const char prefix[] = "DARKROOM_", kafka[] = "KAFKA_";
    dr_status rc = DR_OK;

    for (; *environment && !rc; environment++) {
        const char *name = *environment, *value = strchr(name, '=');
        char key[128], where[160];
        if (!value || strncmp(name, prefix, sizeof(prefix) - 1))
            continue;
        snprintf(where, sizeof(where), "%.*s", (int)(value - name), name);
        name += sizeof(prefix) - 1;
        if (strncmp(name, "CONFIG=", 7) == 0 || dr_kubernetes_made(*environment))
            continue;
        if (strncmp(name, kafka, sizeof(kafka) - 1) == 0) {
            name += sizeof(kafka) - 1;
            spell(key, sizeof(key), name, (size_t)(value - name), '.');
            rc = dr_config_set_kafka(config, key, value + 1, where, err);
            continue;
        }
        spell(key, sizeof(key), name, (size_t)(value - name), '_');
        const dr_setting *setting = dr_setting_find(key);
        rc = setting ? dr_config_set(config, setting, value + 1, where, err)
                     : dr_fail(err, DR_EINVAL, "%s: no setting is called \"%s\"", where, key);
    }
    return rc;
}

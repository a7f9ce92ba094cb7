#include "worker/settings/config.h"

#include "base/limits.h"
#include "worker/delivery/outbox.h"
#include "worker/engine/engine.h"
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

/* clang-format off */
const dr_setting dr_settings[] = {
    { "models", TEXT(models), "models", .commands = DR_FOR_ENGINE | DR_FOR_MODELS, .help = "directory with a folder for each model" },
    { "device", TEXT(device), "auto", .commands = DR_FOR_ENGINE, .help = "auto: the first GPU that can be used, else cpu; cpu; cuda:N; null: pictures made up, for trying everything else" },
    { "device_memory_mib", INT(device_memory_mib), "0", RANGE(0, 1 << 20), .commands = DR_FOR_ENGINE, .help = "of a GPU's memory for this process, so that several can share one; 0: all that is free" },
    { "isa", TEXT(isa), "", .commands = DR_FOR_ENGINE, .help = "instruction set, for trying out: the CPU's generic, avx2, avx512 or amx, a GPU's sm_80 or sm_90a; a picture's bits depend on it; empty: the widest there is" },
    { "storage", CHOICE(storage), "f16", .choice = dr_storage_name, .choices = DR_STORAGES, .commands = DR_FOR_ENGINE, .help = "of weights and activations on a GPU; sums are float32 always" },
    { "convolutions", CHOICE(convolutions), "own", .choice = dr_family_name, .choices = DR_FAMILIES, .commands = DR_FOR_ENGINE, .help = "on a GPU: ours, or cuDNN's where it has them; a picture's bits depend on it" },
    { "attention", CHOICE(attention), "own", .choice = dr_family_name, .choices = DR_FAMILIES, .commands = DR_FOR_ENGINE, .help = "on a GPU: ours, or cuDNN's of a picture to itself; a picture's bits depend on it" },
    { "fp8", CHOICE(fp8), "off", .choice = dr_fp8_name, .choices = DR_FP8, .commands = DR_FOR_ENGINE, .help = "on a GPU of compute capability 9.0: multiply what may be in 8 bits: the UNet's convolutions, or its transformers' linear layers too; a picture's bits depend on it, and it is less exact" },
    { "fast", BOOL(fast), "false", .commands = DR_FOR_ENGINE, .help = "on a GPU: the fastest kernels, even those with which a picture's bits depend on its neighbours in the batch; results say so" },
    { "cuda_libs", TEXT(cuda_libs), "", .commands = DR_FOR_ENGINE, .help = "folders with cuBLASLt, and cuDNN where it is used, with colons; empty: where the loader looks" },
    { "plan_cache", TEXT(plan_cache), "", .commands = DR_FOR_ENGINE, .help = "folder for what was measured of a GPU's kernels, so that the next start need not; empty: darkroom in $XDG_CACHE_HOME or ~/.cache; off: none" },
    { "threads", INT(threads), "0", RANGE(0, DR_THREADS_MAX), .commands = DR_FOR_ENGINE, .help = "of the CPU; 0: as many as affinity and the CPU quota of the control group allow" },
    { "batch_max", INT(batch_max), "8", RANGE(1, DR_SAMPLES_MAX), .commands = DR_FOR_ENGINE, .help = "pictures in one denoising pass" },
    { "models_max", INT(models_max), "2", RANGE(1, 64), .commands = DR_FOR_ENGINE, .help = "models kept loaded" },
    { "model_wait_s", INT(model_wait_s), "600", RANGE(0, 604800), .commands = DR_FOR_WORKER, .help = "seconds that a job waits for a model that is not there, while others run, before it fails; 0: it fails at once" },
    { "null_step_us", INT(null_step_us), "2000", RANGE(0, 10000000), .commands = DR_FOR_ENGINE, .help = "microseconds that the null device takes for a step of a picture" },
    { "finish_threads", INT(finish_threads), "0", RANGE(0, 64), .commands = DR_FOR_ENGINE, .help = "threads that write PNG, JPEG and WebP; 0: half as many as threads = 0 takes, and the other half while pictures wait" },
    { "jobs_max", INT(jobs_max), "64", RANGE(1, 4096), .commands = DR_FOR_ENGINE, .help = "jobs taken and not yet published" },

    { "brokers", TEXT(brokers), "localhost:9092", .commands = DR_FOR_KAFKA, .help = "HOST:PORT,... to find the Kafka cluster by" },
    { "jobs_topic", TEXT(jobs_topic), "darkroom.jobs", .commands = DR_FOR_WORKER | DR_FOR_SUBMIT, .help = "where jobs come from" },
    { "results_topic", TEXT(results_topic), "darkroom.results", .commands = DR_FOR_WORKER | DR_FOR_COLLECT, .help = "where results go" },
    { "events_topic", TEXT(events_topic), "darkroom.events", .commands = DR_FOR_WORKER, .help = "where events go, for jobs that ask; empty: nowhere" },
    { "control_topic", TEXT(control_topic), "darkroom.control", .commands = DR_FOR_WORKER, .help = "where cancellations come from; empty: nowhere" },
    { "dead_letters_topic", TEXT(dead_letters_topic), "darkroom.dead-letters", .commands = DR_FOR_WORKER, .help = "where messages go that are no jobs" },
    { "reply_topics", TEXT(reply_topics), "", .commands = DR_FOR_WORKER, .help = "topics that a job may name as its reply_topic, with commas" },
    { "group", TEXT(group), "darkroom", .commands = DR_FOR_WORKER, .help = "consumer group" },
    { "worker", TEXT(worker), "", .commands = DR_FOR_WORKER, .help = "this worker's name, the same after a restart; empty: the host's name" },
    { "http", TEXT(http), "auto", .commands = DR_FOR_WORKER, .help = "ADDRESS:PORT of /metrics, /healthz and /readyz, [::1]:9464 with IPv6, :9464 for every address; auto: 127.0.0.1:9464, and in a Kubernetes pod :9464, where the kubelet reaches it; empty: none" },
    { "delivery", CHOICE(delivery), "exactly_once", .choice = dr_delivery_name, .choices = DR_DELIVERIES, .commands = DR_FOR_WORKER, .help = "at_least_once: without transactions; a crash may double a result" },
    { "drain_s", INT(drain_s), "300", RANGE(0, 86400), .commands = DR_FOR_WORKER, .help = "seconds to finish what runs after SIGTERM" },

    { "jobs", TEXT(jobs), "", .commands = DR_FOR_RENDER | DR_FOR_SUBMIT, .help = "file of jobs: one JSON object a line, a .csv or .tsv with the names of fields in its first row, or a .txt with a prompt a line; -: standard input" },
    { "out", TEXT(out), "", .commands = DR_FOR_RENDER | DR_FOR_COLLECT | DR_FOR_DEMO, .help = "folder for pictures and results.jsonl; of render with one job in flags also a picture's file, x.png" },
    { "sheet", BOOL(sheet), "true", .commands = DR_FOR_RENDER | DR_FOR_DEMO, .help = "make a contact sheet" },
    { "dry_run", BOOL(dry_run), "false", .commands = DR_FOR_RENDER, .help = "say what would be drawn and what is wrong, and draw nothing" },
    { "count", INT(count), "0", RANGE(0, 1000000000), .commands = DR_FOR_COLLECT, .help = "results to wait for; 0: until interrupted" },
    { "timeout_s", INT(timeout_s), "0", RANGE(0, 86400), .commands = DR_FOR_SUBMIT | DR_FOR_COLLECT, .help = "seconds to wait for the broker or the next result; 0: no limit" },

    { "core_dumps", BOOL(core_dumps), "false", .commands = DR_FOR_ALL, .help = "leave a core after a crash; it holds prompts, pictures and passwords" },
    { "log_level", CHOICE(log_level), "info", .choice = dr_log_level_name, .choices = DR_LOG_LEVELS, .commands = DR_FOR_ALL, .help = "what is logged" },
    { "log_format", CHOICE(log_format), "auto", .choice = dr_log_form_name, .choices = DR_LOG_FORMS, .commands = DR_FOR_ALL, .help = "auto: text on a terminal, else JSON" },
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

#include "worker/settings/config.h"

#include "worker/settings/kubernetes.h"
#include "worker/support/secrets.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
    return dr_fail(err, DR_EINVAL, "%s is \"%s\"; allowed: %s", where, value, allowed);
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

/* --- all values ------------------------------------------------------------------------------- */

dr_status dr_config_open(dr_config *config, dr_error *err)
{
    *config = (dr_config){ 0 };
    for (int i = 0; i < dr_setting_count; i++) {
        const dr_setting *s = &dr_settings[i];
        char where[96];
        snprintf(where, sizeof(where), "the default of %s", s->name);
        const dr_status rc = dr_config_set(config, s, s->preset, where, err);
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

dr_device_options dr_config_device(const dr_config *config)
{
    return (dr_device_options){
#define FIELD_AS_IS(field, setting, ...) .field = config->setting,
#define FIELD_CHOICE(field, setting, ...) .field = dr_setting_find(#setting)->choice(config->setting),
#define FIELD_MIB(field, setting, ...) .field = (size_t)config->setting << 20,
        DR_DEVICE_OPTIONS(FIELD_AS_IS, FIELD_CHOICE, FIELD_AS_IS, FIELD_MIB, FIELD_AS_IS)
    };
}

/* --- the environment --------------------------------------------------------------------------- */

/* BOOTSTRAP_SERVERS, with separator '.', gives bootstrap.servers */
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

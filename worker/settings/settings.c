#include "worker/settings/settings.h"

#include "worker/settings/config.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* For each CHOICE of the device: storage_names[], and choose_storage(), which gives one of them by its
 * index. */
#define NONE(...)
#define NAMES(field, name, preset, placeholder, help, ...)     \
    static const char *const name##_names[] = { __VA_ARGS__ }; \
    static const char *choose_##name(int value)                \
    {                                                          \
        return name##_names[value];                            \
    }
DR_DEVICE_OPTIONS(NONE, NAMES, NONE, NONE, NONE)
#undef NAMES
#undef NONE

/* clang-format off */
#define TEXT(name, preset, placeholder, commands, help) \
    { #name, DR_SETTING_TEXT, offsetof(dr_config, name), preset, 0, 0, NULL, 0, placeholder, commands, help },
#define NUMBER(name, preset, min, max, placeholder, commands, help) \
    { #name, DR_SETTING_INT, offsetof(dr_config, name), preset, min, max, NULL, 0, placeholder, commands, help },
#define SWITCH(name, preset, commands, help) \
    { #name, DR_SETTING_BOOL, offsetof(dr_config, name), preset, 0, 0, NULL, 0, NULL, commands, help },
#define CHOICE(name, preset, choice, choices, placeholder, commands, help) \
    { #name, DR_SETTING_CHOICE, offsetof(dr_config, name), preset, 0, 0, choice, choices, placeholder, commands, help },

#define DEVICE_TEXT(field, name, preset, placeholder, help) TEXT(name, preset, placeholder, DR_FOR_ENGINE, help)
#define DEVICE_CHOICE(field, name, preset, placeholder, help, ...) \
    CHOICE(name, preset, choose_##name, sizeof(name##_names) / sizeof(name##_names[0]), placeholder, DR_FOR_ENGINE, help)
#define DEVICE_COUNT(field, name, preset, max, help) NUMBER(name, preset, 0, max, "COUNT", DR_FOR_ENGINE, help)
#define DEVICE_MIB(field, name, preset, max, help) NUMBER(name, preset, 0, max, "MIB", DR_FOR_ENGINE, help)
#define DEVICE_SWITCH(field, name, preset, help) SWITCH(name, preset, DR_FOR_ENGINE, help)

const dr_setting dr_settings[] = {
    DR_DEVICE_OPTIONS(DEVICE_TEXT, DEVICE_CHOICE, DEVICE_COUNT, DEVICE_MIB, DEVICE_SWITCH)
    DR_SETTINGS(TEXT, NUMBER, SWITCH, CHOICE)
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

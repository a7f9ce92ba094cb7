#include "worker/program/flag_names.h"

#include "base/error.h"

#include <string.h>

void dr_flag_name(char name[DR_FLAG_NAME_MAX], const char *key)
{
    dr_assert(strlen(key) < DR_FLAG_NAME_MAX);
    strcpy(name, key);
    for (char *c = name; *c; c++)
        if (*c == '_')
            *c = '-';
}

bool dr_flag_has_no(const dr_setting *setting)
{
    return setting->type == DR_SETTING_BOOL && strcmp(setting->preset, "true") == 0;
}

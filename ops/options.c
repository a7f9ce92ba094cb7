#include "ops/options.h"

#include "base/error.h"

#include <stdio.h>
#include <string.h>

/* value: NULL is the default.  names: [count]. */
static dr_status check_choice(const char *field, const char *value, const char *const *names, int count,
                              dr_error *err)
{
    char all[80];
    int used = 0;

    if (!value)
        return DR_OK;
    for (int i = 0; i < count; i++)
        if (strcmp(value, names[i]) == 0)
            return DR_OK;
    for (int i = 0; i < count && used < (int)sizeof(all); i++)
        used += snprintf(all + used, sizeof(all) - (size_t)used, "%s%s", i ? ", " : "", names[i]);
    return dr_fail(err, DR_EINVAL, "no %s '%s'; there are: %s", field, value, all);
}

dr_status dr_device_options_check(const dr_device_options *options, dr_error *err)
{
    dr_status rc = DR_OK;

#define NONE(...)
#define CHECK(field, setting, preset, placeholder, help, ...)                                    \
    if (!rc) {                                                                                   \
        static const char *const names[] = { __VA_ARGS__ };                                      \
        rc = check_choice(#field, options->field, names, sizeof(names) / sizeof(names[0]), err); \
    }
    DR_DEVICE_OPTIONS(NONE, CHECK, NONE, NONE, NONE)
#undef NONE
#undef CHECK
    return rc;
}

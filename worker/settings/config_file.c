/* config_file.c - the config file: a setting on each line.
 *
 *     # a comment                       and a line that begins with ; is one, too
 *     key = value                       the value is all after the first =, without blanks at its ends
 *
 * Nothing else has a meaning: there are no quotes, no comments after a value, and no line goes on in the
 * next one.  So a password is written as it is. */
#include "worker/settings/config.h"
#include "worker/support/text_file.h"

#include "base/limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char BLANKS[] = " \t";

/* The text without blanks at both ends, in place. */
static char *trim(char *text)
{
    size_t n;

    text += strspn(text, BLANKS);
    for (n = strlen(text); n > 0 && strchr(BLANKS, text[n - 1]); n--)
        ;
    text[n] = 0;
    return text;
}

static dr_status take_setting(dr_config *config, const char *name, const char *value, const char *where,
                              dr_error *err)
{
    const dr_setting *setting = dr_setting_find(name);
    char place[400];

    if (strncmp(name, "kafka.", 6) == 0 && name[6])
        return dr_config_set_kafka(config, name + 6, value, where, err);
    if (!setting)
        return dr_fail(err, DR_EINVAL, "%s: no setting is called \"%.64s\"", where, name);
    snprintf(place, sizeof(place), "%s: %s", where, name);
    return dr_config_set(config, setting, value, place, err);
}

/* Errors do not show the line: it may hold a password. */
static dr_status take_line(dr_config *config, char *line, size_t size, const char *where, dr_error *err)
{
    const size_t indent = strspn(line, BLANKS);
    char *equals, *name;

    if (size > DR_CONFIG_LINE_BYTES_MAX)
        return dr_fail(err, DR_EINVAL, "%s: a line of %zu bytes; at most %d", where, size,
                       DR_CONFIG_LINE_BYTES_MAX);
    if (strlen(line) != size)
        return dr_fail(err, DR_EINVAL, "%s: a NUL", where);
    if (!line[indent] || line[indent] == '#' || line[indent] == ';')
        return DR_OK;
    if (indent)
        return dr_fail(err, DR_EINVAL, "%s: begins with a blank; no setting goes on in the next line", where);
    if (*line == '[')
        return dr_fail(err, DR_EINVAL, "%s: a section; the file has no sections", where);
    equals = strchr(line, '=');
    if (equals)
        *equals = 0;
    name = trim(line);
    if (!equals || !dr_setting_is_name(name))
        return dr_fail(err, DR_EINVAL, "%s: not \"key = value\"", where);
    return take_setting(config, name, trim(equals + 1), where, err);
}

dr_status dr_config_read_file(dr_config *config, const char *path, dr_error *err)
{
    char where[320], *line = malloc(DR_CONFIG_LINE_BYTES_MAX + 1);
    dr_text_file *file = NULL;
    dr_status rc = DR_OK;
    size_t size;

    if (!line)
        return dr_fail(err, DR_ENOMEM, "%s: no memory", path);
    rc = dr_text_file_open(&file, path, err);
    for (int n = 1; !rc && dr_text_file_line(file, line, DR_CONFIG_LINE_BYTES_MAX + 1, &size); n++) {
        snprintf(where, sizeof(where), "%s:%d", path, n);
        rc = take_line(config, line, size, where, err);
    }
    if (!rc)
        rc = dr_text_file_status(file, err);
    dr_text_file_close(file);
    free(line);
    return rc;
}

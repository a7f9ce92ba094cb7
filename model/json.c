#include "model/json.h"

#include "base/file_kind.h"
#include "base/input_file.h"
#include "base/limits.h"
#include "model/json_text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- files -------------------------------------------------------------------------------- */

json_t *dr_json_load(const char *text, size_t bytes, size_t flags, bool *lacked_memory, json_error_t *why)
{
    json_t *json;

    errno = 0;
    json = json_loadb(text, bytes, flags, why);
    *lacked_memory = errno == ENOMEM || (!json && why->text[0] == '\0');
    if (*lacked_memory) {
        json_decref(json);
        json = NULL;
    }
    return json;
}

char *dr_json_text(const json_t *json)
{
    char *text;

    errno = 0;
    text = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(9));
    if (errno != ENOMEM)
        return text;
    free(text);
    return NULL;
}

static dr_status parse(json_t **out, const dr_input_content *file, const char *path, dr_error *err)
{
    json_error_t parse_error;
    bool lacked_memory;
    const char *kind;
    size_t bytes;
    char *text;
    dr_status rc = dr_json_text_from_python(&text, &bytes, (const char *)file->data, file->bytes, path, err);

    if (rc)
        return rc;
    *out = dr_json_load(text, bytes, 0, &lacked_memory, &parse_error);
    free(text);
    if (lacked_memory)
        return dr_fail(err, DR_ENOMEM, "%s: no memory to parse it", path);
    kind = *out ? NULL : dr_file_kind(file->data, file->bytes);
    if (kind)
        return dr_fail(err, DR_EFORMAT, "%s: this is %s", path, kind);
    if (!*out)
        return dr_fail(err, DR_EFORMAT, "%s: %s (line %d, column %d)", path, parse_error.text,
                       parse_error.line, parse_error.column);
    if (!json_is_object(*out)) {
        json_decref(*out);
        *out = NULL;
        return dr_fail(err, DR_EFORMAT, "%s: not a JSON object", path);
    }
    return DR_OK;
}

dr_status dr_json_read(json_t **out, const char *path, dr_error *err)
{
    dr_input_content file;
    dr_status rc;

    *out = NULL;
    rc = dr_input_content_read(&file, path, DR_JSON_BYTES_MAX, err);
    if (!rc)
        rc = parse(out, &file, path, err);
    dr_input_content_free(&file);
    return rc;
}

/* --- values ------------------------------------------------------------------------------- */

dr_json dr_json_at(const char *path, json_t *object, dr_error *err)
{
    return (dr_json){ .path = path, .object = object, .err = err };
}

void dr_json_fail(dr_json *j, dr_status status, const char *key, const char *format, ...)
{
    char said[256];
    json_t *value = json_object_get(j->object, key);
    char *text = value ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(6)) : NULL;
    va_list ap;

    va_start(ap, format);
    vsnprintf(said, sizeof(said), format, ap);
    va_end(ap);
    if (!j->status)
        j->status = dr_fail(j->err, status, "%s: %s%s%s is %.80s; %s", j->path, j->parent ? j->parent : "",
                            j->parent ? "." : "", key, text ? text : "missing", said);
    free(text);
}

/* The key's value, borrowed.  NULL: the getter returns `otherwise`. */
static json_t *value_of(const dr_json *j, const char *key)
{
    return j->status ? NULL : json_object_get(j->object, key);
}

bool dr_json_has(const dr_json *j, const char *key)
{
    return json_object_get(j->object, key) != NULL;
}

bool dr_json_is_null(const dr_json *j, const char *key)
{
    const json_t *value = json_object_get(j->object, key);

    return !value || json_is_null(value);
}

void dr_json_enter(dr_json *j, const char *key)
{
    if (j->status || dr_json_is_null(j, key))
        return;
    if (!json_is_object(json_object_get(j->object, key))) {
        dr_json_fail(j, DR_EFORMAT, key, "an object is needed");
        return;
    }
    j->object = json_object_get(j->object, key);
    j->parent = key;
}

/* null is Python's None, which counts as false. */
static bool is_flag(const json_t *value)
{
    return json_is_boolean(value) || json_is_null(value);
}

bool dr_json_bool(dr_json *j, const char *key, bool otherwise)
{
    const json_t *value = value_of(j, key);

    if (!value)
        return otherwise;
    if (!is_flag(value))
        dr_json_fail(j, DR_EFORMAT, key, "true, false or null is needed");
    return json_is_true(value);
}

static bool is_int_within(const json_t *value, int min, int max)
{
    return json_is_integer(value) && json_integer_value(value) >= min && json_integer_value(value) <= max;
}

int dr_json_int(dr_json *j, const char *key, int otherwise, int min, int max)
{
    const json_t *value = value_of(j, key);

    if (!value)
        return otherwise;
    if (!is_int_within(value, min, max)) {
        dr_json_fail(j, DR_EFORMAT, key, "a whole number from %d to %d is needed", min, max);
        return otherwise;
    }
    return (int)json_integer_value(value);
}

double dr_json_number(dr_json *j, const char *key, double otherwise, double min, double max)
{
    const json_t *value = value_of(j, key);
    const double number = json_number_value(value);

    if (!value)
        return otherwise;
    if (!json_is_number(value) || !(number >= min && number <= max)) {
        dr_json_fail(j, DR_EFORMAT, key, "a number from %g to %g is needed", min, max);
        return otherwise;
    }
    return number;
}

/* --- choices ------------------------------------------------------------------------------ */

static int place_of(const json_t *value, const char *const *names, int count)
{
    for (int i = 0; json_is_string(value) && i < count; i++)
        if (!strcmp(json_string_value(value), names[i]))
            return i;
    return -1;
}

static void fail_choice(dr_json *j, const char *key, const char *const *names, int count)
{
    char all[224] = "";
    size_t used = 0;

    for (int i = 0; i < count && used < sizeof(all); i++)
        used += (size_t)snprintf(all + used, sizeof(all) - used, "%s%s", i ? ", " : "", names[i]);
    dr_json_fail(j, DR_EUNSUPPORTED, key, "supported: %s", all);
}

int dr_json_choice(dr_json *j, const char *key, const char *const *names, int count, int otherwise)
{
    const json_t *value = value_of(j, key);
    int place;

    if (!value)
        return otherwise;
    place = place_of(value, names, count);
    if (place < 0) {
        fail_choice(j, key, names, count);
        return otherwise;
    }
    return place;
}

static bool equal(json_t *a, json_t *b)
{
    if (json_is_number(a) && json_is_number(b))
        return json_number_value(a) == json_number_value(b); /* 1 is 1.0 */
    return json_equal(a, b);
}

void dr_json_only(dr_json *j, const char *key, const char *values)
{
    json_t *value = value_of(j, key), *list, *allowed;
    char text[128];
    bool found = false;
    size_t i;

    if (!value)
        return;
    dr_assert(snprintf(text, sizeof(text), "[%s]", values) < (int)sizeof(text));
    list = json_loads(text, 0, NULL);
    if (!list) { /* Darkroom's own text is well-formed, so memory was lacking */
        j->status = dr_fail(j->err, DR_ENOMEM, "%s: no memory", j->path);
        return;
    }
    json_array_foreach(list, i, allowed) found = found || equal(value, allowed);
    json_decref(list);
    if (!found)
        dr_json_fail(j, DR_EUNSUPPORTED, key, "supported: %s", values);
}

/* --- lists -------------------------------------------------------------------------------- */

int dr_json_list(dr_json *j, const char *key, int otherwise, int max)
{
    const json_t *value = value_of(j, key);
    const size_t count = json_array_size(value);

    if (!value)
        return otherwise;
    if (count < 1 || count > (size_t)max) {
        dr_json_fail(j, DR_EFORMAT, key, "a list of 1 to %d values is needed", max);
        return otherwise;
    }
    return (int)count;
}

/* The i-th value of a list; or the one value, which is for all i. */
static const json_t *element(const json_t *value, int i)
{
    return json_is_array(value) ? json_array_get(value, (size_t)i) : value;
}

static bool has_length(dr_json *j, const char *key, const json_t *value, int count)
{
    if (!json_is_array(value) || json_array_size(value) == (size_t)count)
        return true;
    dr_json_fail(j, DR_EFORMAT, key, "a list of %d values is needed, one per block", count);
    return false;
}

void dr_json_ints(dr_json *j, const char *key, int otherwise, int min, int max, int *to, int count)
{
    const json_t *value = value_of(j, key);

    for (int i = 0; i < count; i++)
        to[i] = otherwise;
    if (!value || !has_length(j, key, value, count))
        return;
    for (int i = 0; i < count; i++) {
        if (!is_int_within(element(value, i), min, max)) {
            dr_json_fail(j, DR_EFORMAT, key, "whole numbers from %d to %d are needed", min, max);
            return;
        }
        to[i] = (int)json_integer_value(element(value, i));
    }
}

void dr_json_bools(dr_json *j, const char *key, bool otherwise, bool *to, int count)
{
    const json_t *value = value_of(j, key);

    for (int i = 0; i < count; i++)
        to[i] = otherwise;
    if (!value || !has_length(j, key, value, count))
        return;
    for (int i = 0; i < count; i++) {
        if (!json_is_boolean(element(value, i))) {
            dr_json_fail(j, DR_EFORMAT, key, "true or false is needed");
            return;
        }
        to[i] = json_is_true(element(value, i));
    }
}

void dr_json_choices(dr_json *j, const char *key, const char *const *names, int names_count, int *to,
                     int count)
{
    const json_t *value = value_of(j, key);

    for (int i = 0; i < count; i++)
        to[i] = 0;
    if (j->status)
        return;
    if (!json_is_array(value) || json_array_size(value) != (size_t)count) {
        dr_json_fail(j, DR_EFORMAT, key, "a list of %d values is needed, one per block", count);
        return;
    }
    for (int i = 0; i < count; i++) {
        to[i] = place_of(json_array_get(value, (size_t)i), names, names_count);
        if (to[i] < 0) {
            to[i] = 0;
            fail_choice(j, key, names, names_count);
            return;
        }
    }
}

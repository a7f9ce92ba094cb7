/* job_json.c - jobs as lines of JSON. */
#include "worker/jobs/job_json.h"

#include "model/json.h"
#include "worker/support/text.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Fields of other tasks than text to image.  A line that has one asks for that task. */
static const struct {
    const char *name;
    dr_task task;
} task_fields[] = {
    { "mask_image", DR_TASK_INPAINT },
    { "noise_level", DR_TASK_UPSCALE },
    { "init_image", DR_TASK_IMAGE_TO_IMAGE },
    { "strength", DR_TASK_IMAGE_TO_IMAGE },
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* A copy of the line, malloc'ed, with quotes around each integer of 19 digits or more; NULL without
 * memory.  Without them jansson would refuse a seed of 2^63 or more, for it reads integers as int64; and
 * every row reads a number in quotes too.  The copy is at most 2 bytes longer for each 19. */
static char *quote_big_integers(const char *line, size_t size, size_t *out_size)
{
    char *copy = malloc(size + 2 * (size / 19) + 1);
    bool in_string = false;
    size_t used = 0;

    if (!copy)
        return NULL;
    for (size_t i = 0; i < size;) {
        size_t n = 1;
        if (in_string && line[i] == '\\' && i + 1 < size)
            n = 2;
        else if (line[i] == '"')
            in_string = !in_string;
        else if (!in_string && is_digit(line[i]))
            while (i + n < size && is_digit(line[i + n]))
                n++;
        const bool part_of_real =
            (i > 0 && strchr(".-+eE", line[i - 1])) || (i + n < size && strchr(".eE", line[i + n]));
        const bool quote = n >= 19 && !part_of_real;
        if (quote)
            copy[used++] = '"';
        memcpy(copy + used, line + i, n);
        used += n;
        if (quote)
            copy[used++] = '"';
        i += n;
    }
    *out_size = used;
    return copy;
}

enum { NUMBER_BYTES = 32 };

/* The digits of a whole number, since an id may be one.  False: the value is no whole number. */
static bool number_text(const json_t *json, char text[NUMBER_BYTES])
{
    const double real = json_real_value(json);

    if (json_is_integer(json))
        snprintf(text, NUMBER_BYTES, "%" JSON_INTEGER_FORMAT, json_integer_value(json));
    else if (json_is_real(json) && fabs(real) < 0x1p53 && trunc(real) == real)
        snprintf(text, NUMBER_BYTES, "%.0f", real);
    else
        return false;
    return true;
}

static dr_status set_json(dr_job *job, const dr_job_field *field, const json_t *json, dr_refusal *refusal,
                          dr_error *err)
{
    dr_field_value value = { .kind = DR_VALUE_NONE };
    char allowed[sizeof(refusal->allowed)], digits[NUMBER_BYTES];

    if (dr_job_field_is_string(field) && number_text(json, digits))
        return dr_job_set_text(job, field, digits, refusal, err);
    switch (json_typeof(json)) {
    case JSON_STRING:
        if (!dr_job_field_is_string(field))
            return dr_job_set_text(job, field, json_string_value(json), refusal, err);
        value.kind = DR_VALUE_STRING;
        value.string.bytes = json_string_value(json);
        value.string.size = json_string_length(json);
        break;
    case JSON_INTEGER:
        value = (dr_field_value){ DR_VALUE_INTEGER, .integer = json_integer_value(json) };
        break;
    case JSON_REAL:
        value = (dr_field_value){ DR_VALUE_REAL, .real = json_real_value(json) };
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        value = (dr_field_value){ DR_VALUE_BOOL, .boolean = json_is_true(json) };
        break;
    case JSON_NULL:
        break; /* as if the line did not have the field */
    case JSON_OBJECT:
    case JSON_ARRAY:
        dr_job_field_allowed(field, allowed, sizeof(allowed));
        return dr_job_refuse(refusal, err, DR_EINVAL, field->name, allowed,
                             json_is_object(json) ? "an object" : "a list");
    }
    return dr_job_set(job, field, &value, refusal, err);
}

static dr_status set_from_object(dr_job *job, json_t *object, dr_refusal *refusal, dr_error *err)
{
    const char *name;
    json_t *json;

    json_object_foreach(object, name, json)
    {
        const dr_job_field *field = dr_job_field_find(name);
        bool known = field != NULL;
        if (field) {
            const dr_status rc = set_json(job, field, json, refusal, err);
            if (rc)
                return rc;
        }
        for (size_t i = 0; !known && i < sizeof(task_fields) / sizeof(task_fields[0]); i++)
            known = strcmp(name, task_fields[i].name) == 0;
        if (!known)
            return dr_job_refuse(refusal, err, DR_EINVAL, name, "", "a job has no such field");
    }
    for (size_t i = 0; i < sizeof(task_fields) / sizeof(task_fields[0]); i++)
        if (job->task == DR_TASK_TEXT_TO_IMAGE && json_object_get(object, task_fields[i].name))
            job->task = task_fields[i].task;
    return DR_OK;
}

/* The id comes before all other fields, so that a refused line can be answered under it. */
static dr_status set_id(dr_job *job, const json_t *object, const char *fallback_id, dr_error *err)
{
    const json_t *id = json_object_get(object, "id");
    char digits[NUMBER_BYTES];
    const char *text = json_is_string(id) ? json_string_value(id) : number_text(id, digits) ? digits : "";

    if (!*text || strlen(text) > DR_NAME_BYTES_MAX)
        text = fallback_id ? fallback_id : "";
    if (!*text)
        return dr_fail(err, DR_EFORMAT, "not a job: it has no id");
    job->id = strdup(text);
    if (!job->id)
        return dr_fail(err, DR_ENOMEM, "job %s: no memory", text);
    if (dr_name_valid(text, strlen(text)))
        job->given |= 1u << (dr_job_field_find("id") - dr_job_fields);
    return DR_OK;
}

/* The line as JSON: *object is a new reference. */
static dr_status read_object(json_t **object, const dr_job_line *line, dr_error *err)
{
    size_t quoted_size;
    char *quoted = quote_big_integers(line->text, line->size, &quoted_size);
    bool lacked_memory = !quoted;
    json_error_t where;

    *object =
        quoted ? dr_json_load(quoted, quoted_size, JSON_REJECT_DUPLICATES, &lacked_memory, &where) : NULL;
    free(quoted);
    if (lacked_memory)
        return dr_fail(err, DR_ENOMEM, "no memory to read a line of %zu bytes", line->size);
    if (!*object)
        return dr_fail(err, DR_EFORMAT, "not a JSON object: %s", where.text);
    if (!json_is_object(*object))
        return dr_fail(err, DR_EFORMAT, "not a JSON object%s",
                       json_is_array(*object) ? " but a list; write one object a line" : "");
    return DR_OK;
}

static dr_status fill_from_object(dr_job *job, json_t *object, const dr_job_line *line, dr_refusal *refusal,
                                  dr_error *err)
{
    dr_status rc = set_id(job, object, line->fallback_id, err);

    if (!rc)
        rc = set_from_object(job, object, refusal, err);
    if (!rc && line->defaults)
        rc = dr_job_set_defaults(job, line->defaults, err);
    return rc ? rc : dr_job_complete(job, refusal, err);
}

dr_status dr_job_parse(dr_job **out, const dr_job_line *line, dr_refusal *refusal, dr_error *err)
{
    json_t *object = NULL;
    dr_job *job;
    dr_status rc;

    *out = NULL;
    if (line->size > DR_JOB_LINE_BYTES_MAX)
        return dr_fail(err, DR_EFORMAT, "the line has %zu bytes; a job has at most %d", line->size,
                       DR_JOB_LINE_BYTES_MAX);
    job = dr_job_create();
    if (!job)
        return dr_fail(err, DR_ENOMEM, "no memory for a job");
    rc = read_object(&object, line, err);
    if (!rc)
        rc = fill_from_object(job, object, line, refusal, err);
    if (rc == DR_OK || rc == DR_EINVAL || rc == DR_EUNSUPPORTED) {
        *out = job;
        job = NULL; /* the caller's */
    }
    json_decref(object);
    dr_job_free(job);
    return rc;
}

json_t *dr_seed_json(uint64_t seed)
{
    char digits[24];

    if (seed <= INT64_MAX)
        return json_integer((json_int_t)seed);
    snprintf(digits, sizeof(digits), "%" PRIu64, seed);
    return json_string(digits);
}

json_t *dr_job_field_json(const dr_job *job, const dr_job_field *field)
{
    const dr_field_value value = dr_job_get(job, field);

    switch (value.kind) {
    case DR_VALUE_INTEGER:
        return json_integer(value.integer);
    case DR_VALUE_SEED:
        return dr_seed_json(value.seed);
    case DR_VALUE_REAL:
        return json_real(value.real);
    case DR_VALUE_BOOL:
        return json_boolean(value.boolean);
    case DR_VALUE_STRING:
        return json_stringn(value.string.bytes, value.string.size);
    case DR_VALUE_NONE:
        break;
    }
    return NULL;
}

bool dr_json_put(json_t *object, const char *name, json_t *value)
{
    return json_object_set_new(object, name, value) == 0;
}

bool dr_job_put_field(json_t *object, const dr_job *job, const dr_job_field *field)
{
    return dr_job_get(job, field).kind == DR_VALUE_NONE ||
           dr_json_put(object, field->name, dr_job_field_json(job, field));
}

/* job_values.c - values into the fields of a job and out of them, and the words in which a value is
 * refused. */
#include "worker/jobs/job_fields.h"

#include "worker/support/text.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* --- refusals -------------------------------------------------------------------------- */

dr_status dr_job_refuse(dr_refusal *refusal, dr_error *err, dr_status status, const char *field,
                        const char *allowed, const char *format, ...)
{
    char text[DR_ERROR_TEXT_MAX];
    va_list ap;

    va_start(ap, format);
    vsnprintf(text, sizeof(text), format, ap);
    va_end(ap);
    if (refusal) {
        dr_text_copy(refusal->field, sizeof(refusal->field), field, strlen(field));
        dr_text_copy(refusal->allowed, sizeof(refusal->allowed), allowed, strlen(allowed));
    }
    return dr_fail(err, status, "%s%s%s%s%s", field, *field ? ": " : "", text, *allowed ? "; allowed: " : "",
                   allowed);
}

/* In as few digits as give this value and no other: 150.0000001 is not shown as 150. */
static void show_real(char *text, size_t size, double real)
{
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, size, "%.*g", digits, real);
        if (strtod(text, NULL) == real)
            return;
    }
}

/* The beginning of a long one.  Prompts are never shown, for a refusal gets into logs. */
static void show_string(char *text, size_t size, const dr_job_field *field, const dr_field_value *value)
{
    char start[48];

    dr_text_copy(start, sizeof(start), value->string.bytes, value->string.size);
    if (field->type == DR_FIELD_TEXT && dr_text_valid(value->string.bytes, value->string.size))
        snprintf(text, size, "%zu bytes", value->string.size);
    else if (field->type == DR_FIELD_TEXT)
        snprintf(text, size, "%zu bytes that are not UTF-8 or hold a NUL", value->string.size);
    else if (value->string.size < sizeof(start))
        snprintf(text, size, "\"%s\"", start);
    else
        snprintf(text, size, "\"%s...\" of %zu bytes", start, value->string.size);
}

static void show_value(char *text, size_t size, const dr_job_field *field, const dr_field_value *value)
{
    switch (value->kind) {
    case DR_VALUE_NONE:
        snprintf(text, size, "no value");
        break;
    case DR_VALUE_INTEGER:
        snprintf(text, size, "%" PRId64, value->integer);
        break;
    case DR_VALUE_SEED:
        snprintf(text, size, "%" PRIu64, value->seed);
        break;
    case DR_VALUE_REAL:
        show_real(text, size, value->real);
        break;
    case DR_VALUE_BOOL:
        snprintf(text, size, "%s", value->boolean ? "true" : "false");
        break;
    case DR_VALUE_STRING:
        show_string(text, size, field, value);
        break;
    }
}

static dr_status refuse_value(const dr_job_field *field, const dr_field_value *value, dr_refusal *refusal,
                              dr_error *err)
{
    char allowed[sizeof(refusal->allowed)], shown[128];

    dr_job_field_allowed(field, allowed, sizeof(allowed));
    show_value(shown, sizeof(shown), field, value);
    return dr_job_refuse(refusal, err, DR_EINVAL, field->name, allowed, "%s", shown);
}

/* --- into the job -------------------------------------------------------------------- */

static void *member(dr_job *job, const dr_job_field *field)
{
    return (char *)job + field->offset;
}

/* False: the value is no whole number.  64.0 is one: some programs have no other way to write it. */
static bool as_integer(const dr_field_value *value, int64_t *out)
{
    if (value->kind == DR_VALUE_SEED && value->seed <= INT64_MAX)
        *out = (int64_t)value->seed;
    else if (value->kind == DR_VALUE_REAL && fabs(value->real) < 0x1p63 && trunc(value->real) == value->real)
        *out = (int64_t)value->real;
    else if (value->kind == DR_VALUE_INTEGER)
        *out = value->integer;
    else
        return false;
    return true;
}

static bool as_seed(const dr_field_value *value, uint64_t *out)
{
    int64_t integer;

    if (value->kind == DR_VALUE_SEED)
        *out = value->seed;
    else if (as_integer(value, &integer) && integer >= 0)
        *out = (uint64_t)integer;
    else if (value->kind == DR_VALUE_REAL && value->real >= 0x1p63 && value->real < 0x1p64)
        *out = (uint64_t)value->real;
    else
        return false;
    return true;
}

static bool as_real(const dr_field_value *value, double *out)
{
    int64_t integer;

    if (value->kind == DR_VALUE_REAL)
        *out = value->real;
    else if (as_integer(value, &integer))
        *out = (double)integer;
    else
        return false;
    return true;
}

static bool set_integer(dr_job *job, const dr_job_field *field, const dr_field_value *value)
{
    int64_t integer;

    if (!as_integer(value, &integer) || (double)integer < field->min || (double)integer > field->max)
        return false;
    if (field->multiple_of && integer % field->multiple_of)
        return false;
    if (field->type == DR_FIELD_INT)
        *(int *)member(job, field) = (int)integer;
    else
        *(int64_t *)member(job, field) = integer;
    return true;
}

static bool set_real(dr_job *job, const dr_job_field *field, const dr_field_value *value)
{
    double real;

    if (!as_real(value, &real) || !(real >= field->min && real <= field->max)) /* NaN is refused */
        return false;
    *(float *)member(job, field) = (float)real;
    return true;
}

static bool set_choice(dr_job *job, const dr_job_field *field, const dr_field_value *value)
{
    if (value->kind != DR_VALUE_STRING)
        return false;
    for (int i = field->choices_from; i < field->choices_to; i++) {
        const char *name = field->choice(i);
        if (strlen(name) == value->string.size &&
            memcmp(name, value->string.bytes, value->string.size) == 0) {
            *(int *)member(job, field) = i;
            return true;
        }
    }
    return false;
}

static dr_status set_string(dr_job *job, const dr_job_field *field, const dr_field_value *value,
                            dr_refusal *refusal, dr_error *err)
{
    char **to = member(job, field), *copy;

    if (value->kind != DR_VALUE_STRING || (double)value->string.size > field->max ||
        !dr_text_valid(value->string.bytes, value->string.size) ||
        (field->type == DR_FIELD_NAME && !dr_name_valid(value->string.bytes, value->string.size)) ||
        (field->type == DR_FIELD_FOLDER && !dr_folder_name_valid(value->string.bytes, value->string.size)))
        return refuse_value(field, value, refusal, err);
    copy = strndup(value->string.bytes, value->string.size);
    if (!copy)
        return dr_fail(err, DR_ENOMEM, "%s: no memory for %zu bytes", field->name, value->string.size);
    free(*to);
    *to = copy;
    return DR_OK;
}

dr_status dr_job_set(dr_job *job, const dr_job_field *field, const dr_field_value *value, dr_refusal *refusal,
                     dr_error *err)
{
    bool fits = false;
    dr_status rc;

    if (value->kind == DR_VALUE_NONE || (value->kind == DR_VALUE_STRING && value->string.size == 0))
        return DR_OK;
    switch (field->type) {
    case DR_FIELD_NAME:
    case DR_FIELD_FOLDER:
    case DR_FIELD_TEXT:
        rc = set_string(job, field, value, refusal, err);
        if (rc)
            return rc;
        fits = true;
        break;
    case DR_FIELD_INT:
    case DR_FIELD_TIME:
        fits = set_integer(job, field, value);
        break;
    case DR_FIELD_SEED:
        fits = as_seed(value, member(job, field));
        break;
    case DR_FIELD_REAL:
        fits = set_real(job, field, value);
        break;
    case DR_FIELD_BOOL:
        fits = value->kind == DR_VALUE_BOOL;
        if (fits)
            *(bool *)member(job, field) = value->boolean;
        break;
    case DR_FIELD_CHOICE:
        fits = set_choice(job, field, value);
        break;
    }
    if (!fits)
        return refuse_value(field, value, refusal, err);
    job->given |= 1u << (field - dr_job_fields);
    return DR_OK;
}

/* False: the text is no value of the field's type. */
static bool parse_text(const dr_job_field *field, const char *text, dr_field_value *value)
{
    bool negative;
    uint64_t number;
    char *end;

    switch (field->type) {
    case DR_FIELD_INT:
    case DR_FIELD_TIME:
    case DR_FIELD_SEED:
        if (!dr_text_whole(text, &negative, &number) || (negative && number > INT64_MAX))
            return false;
        *value = negative ? (dr_field_value){ DR_VALUE_INTEGER, .integer = -(int64_t)number }
                          : (dr_field_value){ DR_VALUE_SEED, .seed = number };
        return true;
    case DR_FIELD_REAL:
        errno = 0;
        *value = (dr_field_value){ DR_VALUE_REAL, .real = strtod(text, &end) };
        return !*end && !errno;
    case DR_FIELD_BOOL: /* Python writes True, and spreadsheets TRUE */
        *value = (dr_field_value){ DR_VALUE_BOOL, .boolean = strcasecmp(text, "true") == 0 };
        return value->boolean || strcasecmp(text, "false") == 0;
    case DR_FIELD_NAME:
    case DR_FIELD_FOLDER:
    case DR_FIELD_TEXT:
    case DR_FIELD_CHOICE:
        break;
    }
    return true;
}

dr_status dr_job_set_text(dr_job *job, const dr_job_field *field, const char *text, dr_refusal *refusal,
                          dr_error *err)
{
    const dr_field_value as_text = { DR_VALUE_STRING, .string = { text, strlen(text) } };
    dr_field_value value = as_text;

    if (!*text)
        return DR_OK;
    if (!parse_text(field, text, &value))
        return refuse_value(field, &as_text, refusal, err);
    return dr_job_set(job, field, &value, refusal, err);
}

dr_status dr_job_set_defaults(dr_job *job, const dr_job *defaults, dr_error *err)
{
    dr_status rc = DR_OK;

    for (int i = 0; i < dr_job_field_count && !rc; i++) {
        const dr_job_field *field = &dr_job_fields[i];
        const dr_field_value value = dr_job_get(defaults, field);
        if (dr_job_given(defaults, field) && !dr_job_given(job, field))
            rc = dr_job_set(job, field, &value, NULL, err);
    }
    return rc;
}

/* --- out of the job ------------------------------------------------------------------ */

bool dr_job_given(const dr_job *job, const dr_job_field *field)
{
    return job->given >> (field - dr_job_fields) & 1;
}

const void *dr_job_member(const dr_job *job, const dr_job_field *field)
{
    return (const char *)job + field->offset;
}

dr_field_value dr_job_get(const dr_job *job, const dr_job_field *field)
{
    const dr_field_value none = { .kind = DR_VALUE_NONE };
    const void *at = dr_job_member(job, field);
    const char *string;

    switch (field->type) {
    case DR_FIELD_NAME:
    case DR_FIELD_FOLDER:
    case DR_FIELD_TEXT:
        string = *(char *const *)at;
        return string && *string ? (dr_field_value){ DR_VALUE_STRING, .string = { string, strlen(string) } }
                                 : none;
    case DR_FIELD_INT:
        /* A size below its range is 0: the model has not filled it in yet. */
        return *(const int *)at >= field->min
                   ? (dr_field_value){ DR_VALUE_INTEGER, .integer = *(const int *)at }
                   : none;
    case DR_FIELD_TIME:
        return *(const int64_t *)at ? (dr_field_value){ DR_VALUE_INTEGER, .integer = *(const int64_t *)at }
                                    : none;
    case DR_FIELD_SEED:
        return (dr_field_value){ DR_VALUE_SEED, .seed = *(const uint64_t *)at };
    case DR_FIELD_REAL:
        return (dr_field_value){ DR_VALUE_REAL, .real = (double)*(const float *)at };
    case DR_FIELD_BOOL:
        return (dr_field_value){ DR_VALUE_BOOL, .boolean = *(const bool *)at };
    case DR_FIELD_CHOICE:
        if (*(const int *)at < field->choices_from)
            return none;
        string = field->choice(*(const int *)at);
        return (dr_field_value){ DR_VALUE_STRING, .string = { string, strlen(string) } };
    }
    return none;
}

#include "worker/jobs/job_fields.h"

#include "worker/support/text.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* A choice is stored through an int *. */
_Static_assert(sizeof(dr_task) == sizeof(int) && sizeof(dr_sampler) == sizeof(int) &&
                   sizeof(dr_picture_format) == sizeof(int),
               "enums are ints here");

static const char *task_name(int task)
{
    static const char *const names[] = {
        [DR_TASK_TEXT_TO_IMAGE] = "text_to_image",
        [DR_TASK_IMAGE_TO_IMAGE] = "image_to_image",
        [DR_TASK_INPAINT] = "inpaint",
        [DR_TASK_UPSCALE] = "upscale",
    };
    return names[task];
}

static const char *sampler_name(int sampler)
{
    return dr_sampler_name((dr_sampler)sampler);
}

static const char *format_name(int format)
{
    return dr_picture_format_name((dr_picture_format)format);
}

#define AT(member) .offset = offsetof(dr_job, member)
#define YES DR_FIELD_YES
#define NO DR_FIELD_NO
#define TIME_MAX 253402300799999.0 /* the last millisecond of the year 9999 */

const dr_job_field dr_job_fields[] = {
    { "id", DR_FIELD_NAME, AT(id), .draws = NO, .batches = NO, .required = true, .max = DR_NAME_BYTES_MAX,
      .placeholder = "ID", .help = "Name of the job, its result and its pictures" },
    { "model", DR_FIELD_FOLDER, AT(model), .draws = YES, .batches = YES, .required = true,
      .max = DR_FOLDER_NAME_BYTES_MAX, .placeholder = "NAME",
      .help = "Model that draws: the name of its folder in the folder of models" },
    { "task", DR_FIELD_CHOICE, AT(task), .draws = YES, .batches = YES, .choice = task_name,
      .choices_to = DR_TASK_UPSCALE + 1, .placeholder = "TASK",
      .help = "Kind of drawing. This version does text_to_image and refuses the others" },
    { "prompt", DR_FIELD_TEXT, AT(prompt), .draws = YES, .batches = NO, .max = DR_PROMPT_BYTES_MAX,
      .absent = "empty", .placeholder = "TEXT", .help = "What the picture should show" },
    { "negative_prompt", DR_FIELD_TEXT, AT(negative_prompt), .draws = YES, .batches = NO,
      .max = DR_PROMPT_BYTES_MAX, .absent = "empty", .placeholder = "TEXT",
      .help = "What the picture should not show" },
    { "width", DR_FIELD_INT, AT(width), .draws = YES, .batches = YES, .min = 64, .max = DR_SIDE_MAX,
      .multiple_of = 8, .absent = "the model's own", .placeholder = "PIXELS",
      .help = "Width of the picture, in pixels" },
    { "height", DR_FIELD_INT, AT(height), .draws = YES, .batches = YES, .min = 64, .max = DR_SIDE_MAX,
      .multiple_of = 8, .absent = "the model's own", .placeholder = "PIXELS",
      .help = "Height of the picture, in pixels" },
    { "steps", DR_FIELD_INT, AT(steps), .draws = YES, .batches = YES, .min = 1, .max = DR_STEPS_MAX,
      .preset = 50, .placeholder = "COUNT", .help = "Denoising steps" },
    { "guidance_scale", DR_FIELD_REAL, AT(guidance_scale), .draws = YES, .alike_to = 1, .batches = NO,
      .min = 0, .max = (double)DR_GUIDANCE_MAX, .preset = 7.5, .placeholder = "NUMBER",
      .help = "How closely to follow the prompt; 1 or less means no guidance, which is half the work" },
    { "sampler", DR_FIELD_CHOICE, AT(sampler), .draws = YES, .batches = NO, .choice = sampler_name,
      .choices_from = DR_SAMPLER_DEFAULT + 1, .choices_to = DR_SAMPLERS, .absent = "the model's own",
      .placeholder = "NAME", .help = "Sampler, which diffusers calls a scheduler" },
    { "seed", DR_FIELD_SEED, AT(seed), .draws = YES, .batches = NO, .max = 18446744073709551615.0,
      .absent = "drawn, from the id", .placeholder = "NUMBER",
      .help = "Seed of the first picture; picture i has seed + i" },
    { "images", DR_FIELD_INT, AT(images), .draws = NO, .batches = NO, .min = 1, .max = DR_IMAGES_MAX,
      .preset = 1, .placeholder = "COUNT", .help = "Pictures to draw" },
    { "format", DR_FIELD_CHOICE, AT(format), .draws = NO, .batches = NO, .choice = format_name,
      .choices_to = DR_PICTURE_FORMATS, .preset = DR_PNG, .placeholder = "FORMAT",
      .help = "File format of the pictures" },
    { "quality", DR_FIELD_INT, AT(quality), .draws = NO, .batches = NO, .min = 1, .max = 100, .preset = 90,
      .placeholder = "NUMBER", .help = "Quality of JPEG and WebP" },
    { "priority", DR_FIELD_INT, AT(priority), .draws = NO, .batches = NO, .min = -10, .max = 10, .preset = 0,
      .placeholder = "NUMBER", .help = "Priority of the job; a higher one goes first" },
    { "deadline_ms", DR_FIELD_TIME, AT(deadline_ms), .draws = NO, .batches = NO, .min = 0, .max = TIME_MAX,
      .absent = "none", .placeholder = "TIME",
      .help = "Unix time in milliseconds; after it the job fails as expired" },
    { "report_events", DR_FIELD_BOOL, AT(report_events), .draws = NO, .batches = NO, .preset = 0,
      .help = "Send events while the job waits and runs" },
    { "correlation_id", DR_FIELD_TEXT, AT(correlation_id), .draws = NO, .batches = NO, .max = 256,
      .absent = "none", .placeholder = "TEXT", .help = "Text to copy into the result" },
    { "reply_topic", DR_FIELD_NAME, AT(reply_topic), .draws = NO, .batches = NO, .max = DR_NAME_BYTES_MAX,
      .absent = "the worker's results topic", .placeholder = "TOPIC",
      .help = "Topic of the result, if the worker allows it" },
};
const int dr_job_field_count = sizeof(dr_job_fields) / sizeof(dr_job_fields[0]);
_Static_assert(sizeof(dr_job_fields) / sizeof(dr_job_fields[0]) <= DR_JOB_FIELDS_MAX,
               "dr_job.given has a bit for each field");

const dr_job_field *dr_job_field_find(const char *name)
{
    for (int i = 0; i < dr_job_field_count; i++)
        if (strcmp(dr_job_fields[i].name, name) == 0)
            return &dr_job_fields[i];
    return NULL;
}

/* --- words ------------------------------------------------------------------------- */

static void list_choices(const dr_job_field *field, char *text, size_t size)
{
    size_t used = 0;

    text[0] = 0;
    for (int i = field->choices_from; i < field->choices_to && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%s", used ? ", " : "", field->choice(i));
}

void dr_job_field_allowed(const dr_job_field *field, char *text, size_t size)
{
    switch (field->type) {
    case DR_FIELD_NAME:
        snprintf(text, size, "%s", dr_name_rule);
        break;
    case DR_FIELD_FOLDER:
        snprintf(text, size, "%s", dr_folder_name_rule);
        break;
    case DR_FIELD_TEXT:
        snprintf(text, size, "at most %.0f bytes of UTF-8 without NUL", field->max);
        break;
    case DR_FIELD_INT:
        if (field->multiple_of)
            snprintf(text, size, "a multiple of %d from %.0f to %.0f", field->multiple_of, field->min,
                     field->max);
        else
            snprintf(text, size, "%.0f..%.0f", field->min, field->max);
        break;
    case DR_FIELD_SEED:
        snprintf(text, size, "0..%" PRIu64, UINT64_MAX);
        break;
    case DR_FIELD_TIME:
    case DR_FIELD_REAL:
        snprintf(text, size, "%.0f..%.0f", field->min, field->max);
        break;
    case DR_FIELD_BOOL:
        snprintf(text, size, "true or false");
        break;
    case DR_FIELD_CHOICE:
        list_choices(field, text, size);
        break;
    }
}

void dr_job_field_preset(const dr_job_field *field, char *text, size_t size)
{
    if (field->required)
        snprintf(text, size, "%s", "");
    else if (field->absent)
        snprintf(text, size, "%s", field->absent);
    else if (field->type == DR_FIELD_CHOICE)
        snprintf(text, size, "%s", field->choice((int)field->preset));
    else if (field->type == DR_FIELD_BOOL)
        snprintf(text, size, "%s", field->preset != 0 ? "true" : "false");
    else
        snprintf(text, size, "%g", field->preset);
}

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

/* As short as it can be and still be this value: 150.0000001 is not 150. */
static void show_real(char *text, size_t size, double real)
{
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, size, "%.*g", digits, real);
        if (strtod(text, NULL) == real)
            return;
    }
}

static void show_string(char *text, size_t size, const dr_field_value *value)
{
    char start[48];

    dr_text_copy(start, sizeof(start), value->string.bytes, value->string.size);
    if (value->string.size < sizeof(start))
        snprintf(text, size, "\"%s\"", start);
    else
        snprintf(text, size, "\"%s...\" of %zu bytes", start, value->string.size);
}

/* What was wrong with the value, without repeating a prompt: it may not get into a log. */
static dr_status refuse_value(const dr_job_field *field, const dr_field_value *value, dr_refusal *refusal,
                              dr_error *err)
{
    char allowed[sizeof(refusal->allowed)], shown[128];

    dr_job_field_allowed(field, allowed, sizeof(allowed));
    switch (value->kind) {
    case DR_VALUE_INTEGER:
        return dr_job_refuse(refusal, err, DR_EINVAL, field->name, allowed, "%" PRId64, value->integer);
    case DR_VALUE_SEED:
        return dr_job_refuse(refusal, err, DR_EINVAL, field->name, allowed, "%" PRIu64, value->seed);
    case DR_VALUE_REAL:
        show_real(shown, sizeof(shown), value->real);
        return dr_job_refuse(refusal, err, DR_EINVAL, field->name, allowed, "%s", shown);
    case DR_VALUE_BOOL:
        return dr_job_refuse(refusal, err, DR_EINVAL, field->name, allowed, "%s",
                             value->boolean ? "true" : "false");
    case DR_VALUE_STRING:
        if (field->type == DR_FIELD_TEXT)
            return dr_job_refuse(refusal, err, DR_EINVAL, field->name, allowed, "a text of %zu bytes%s",
                                 value->string.size,
                                 dr_text_valid(value->string.bytes, value->string.size) ? "" : ", not valid");
        show_string(shown, sizeof(shown), value);
        return dr_job_refuse(refusal, err, DR_EINVAL, field->name, allowed, "%s", shown);
    case DR_VALUE_NONE:
        break;
    }
    return dr_job_refuse(refusal, err, DR_EINVAL, field->name, allowed, "not a value of this kind");
}

/* --- into the job -------------------------------------------------------------------- */

static void *member(dr_job *job, const dr_job_field *field)
{
    return (char *)job + field->offset;
}

/* Programs that have no whole numbers write 64.0. */
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

/* False: not a value of this kind. */
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
    case DR_FIELD_BOOL: /* True of Python, TRUE of spreadsheets */
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
        /* A size below its range is one that the model has not said yet. */
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

void dr_job_request(dr_text_to_image *request, const dr_job *job, int image)
{
    memset(request, 0, sizeof(*request));
    request->prompt = job->prompt;
    request->prompt_bytes = job->prompt_bytes;
    request->negative_prompt = job->negative_prompt;
    request->negative_prompt_bytes = job->negative_prompt_bytes;
    request->steps = job->steps;
    request->guidance_scale = job->guidance_scale;
    request->sampler = job->sampler;
    request->seed = dr_job_image_seed(job, image);
}

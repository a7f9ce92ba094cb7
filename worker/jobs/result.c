#include "worker/jobs/result.h"

#include "model/json.h"
#include "worker/jobs/job_json.h"
#include "worker/support/text.h"

#include <stdlib.h>
#include <string.h>

dr_result *dr_result_create(dr_job *job)
{
    dr_result *result = calloc(1, sizeof(*result));

    dr_assert(job);
    if (result)
        result->job = job;
    return result;
}

dr_result *dr_result_failed(dr_job *job, const dr_error *err, const dr_refusal *refusal)
{
    dr_result *result = dr_result_create(job);

    dr_assert(err->status != DR_OK);
    if (!result)
        return NULL;
    result->error = *err;
    if (refusal)
        result->refusal = *refusal;
    return result;
}

void dr_result_free(dr_result *result)
{
    if (!result)
        return;
    for (int i = 0; i < result->pictures; i++)
        free(result->picture[i].bytes);
    dr_job_free(result->job);
    free(result);
}

void dr_picture_file_name(char name[DR_PICTURE_NAME_MAX], const dr_job *job, int image)
{
    const char *suffix = job->format == DR_JPEG ? "jpg" : dr_picture_format_name(job->format);

    if (job->images == 1)
        snprintf(name, DR_PICTURE_NAME_MAX, "%s.%s", job->id, suffix);
    else
        snprintf(name, DR_PICTURE_NAME_MAX, "%s@%d.%s", job->id, image, suffix);
}

const char *dr_result_state_name(const dr_result *result)
{
    switch (result->error.status) {
    case DR_OK:
        return "succeeded";
    case DR_ECANCELED:
        return "canceled";
    case DR_EEXPIRED:
        return "expired";
    default:
        return "failed";
    }
}

/* --- JSON ---------------------------------------------------------------------------- */

/* Each of these puts all of something into `to`.  False: memory was short, and the line is given up. */

static bool put_text(json_t *to, const char *name, const char *text)
{
    return dr_json_put(to, name, json_string(text));
}

static bool put_job(json_t *to, const dr_job *job)
{
    bool whole = true;

    for (int i = 0; i < dr_job_field_count; i++)
        if (job->complete || dr_job_given(job, &dr_job_fields[i]))
            whole = whole && dr_job_put_field(to, job, &dr_job_fields[i]);
    return whole;
}

static bool put_picture(json_t *to, const dr_rendition *picture, const char *file)
{
    return put_text(to, "file", file) && dr_json_put(to, "seed", dr_seed_json(picture->seed)) &&
           put_text(to, "sha256", picture->sha256) &&
           dr_json_put(to, "bytes", json_integer((json_int_t)picture->size)) &&
           dr_json_put(to, "width", json_integer(picture->width)) &&
           dr_json_put(to, "height", json_integer(picture->height));
}

static bool put_pictures(json_t *to, const dr_result *result, const char *const *files)
{
    bool whole = true;

    for (int i = 0; i < result->pictures && whole; i++) {
        json_t *picture = json_object();
        whole =
            json_array_append_new(to, picture) == 0 && put_picture(picture, &result->picture[i], files[i]);
    }
    return whole;
}

static bool put_error(json_t *to, const dr_result *result)
{
    const dr_refusal *refusal = &result->refusal;
    char message[DR_ERROR_TEXT_MAX];

    /* A long message may have been cut inside a character. */
    dr_text_copy(message, sizeof(message), result->error.text, strlen(result->error.text));
    return put_text(to, "code", dr_status_name(result->error.status)) && put_text(to, "message", message) &&
           (!refusal->field[0] || put_text(to, "field", refusal->field)) &&
           (!refusal->allowed[0] || put_text(to, "allowed", refusal->allowed));
}

static double seconds(int64_t ns)
{
    return (double)(ns / 1000000) / 1000; /* to milliseconds, which are enough to read */
}

static bool put_seconds(json_t *to, const dr_result *result)
{
    return dr_json_put(to, "queued", json_real(seconds(result->queued_ns))) &&
           dr_json_put(to, "denoise", json_real(seconds(result->denoise_ns))) &&
           dr_json_put(to, "decode", json_real(seconds(result->decode_ns))) &&
           dr_json_put(to, "encode", json_real(seconds(result->encode_ns)));
}

/* Put an empty object or list into `to`; returns it, borrowed, to be filled.  NULL without memory. */
static json_t *put_empty(json_t *to, const char *name, json_t *empty)
{
    return dr_json_put(to, name, empty) ? empty : NULL;
}

static bool put_pictures_or_error(json_t *line, const dr_result *result, const char *const *files)
{
    json_t *to;

    if (result->error.status == DR_OK)
        return (to = put_empty(line, "pictures", json_array())) && put_pictures(to, result, files);
    return (to = put_empty(line, "error", json_object())) && put_error(to, result);
}

static bool put_batch(json_t *line, const dr_result *result)
{
    json_t *to;

    return dr_json_put(line, "batch_samples", json_integer(result->batch_samples)) &&
           (to = put_empty(line, "seconds", json_object())) && put_seconds(to, result);
}

static bool put_warnings(json_t *line, const dr_result *result)
{
    json_t *list = put_empty(line, "warnings", json_array());
    bool whole = list != NULL;

    for (int i = 0; i < result->warnings.count && whole; i++)
        whole = json_array_append_new(list, json_string(result->warnings.text[i])) == 0;
    return whole;
}

static bool put_result(json_t *line, const dr_result *result, const char *const *files)
{
    json_t *job;

    return put_text(line, "id", result->job->id) && put_text(line, "state", dr_result_state_name(result)) &&
           (job = put_empty(line, "job", json_object())) && put_job(job, result->job) &&
           put_pictures_or_error(line, result, files) &&
           (!result->model_fingerprint[0] ||
            put_text(line, "model_fingerprint", result->model_fingerprint)) &&
           (!result->arithmetic[0] || put_text(line, "arithmetic", result->arithmetic)) &&
           (!result->warnings.count || put_warnings(line, result)) &&
           (!result->batch_samples || put_batch(line, result));
}

char *dr_result_json(const dr_result *result, const char *const *files)
{
    json_t *line = json_object();
    char *text = NULL;

    if (line && put_result(line, result, files))
        text = dr_json_text(line);
    json_decref(line);
    return text;
}

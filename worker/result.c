#include "worker/result.h"

#include "worker/job_json.h"

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

static void add_job(json_t *line, const dr_job *job)
{
    for (int i = 0; i < dr_job_field_count; i++) {
        const dr_job_field *field = &dr_job_fields[i];
        if (!job->complete && !dr_job_given(job, field))
            continue;
        json_t *json = dr_job_field_json(job, field);
        if (json)
            json_object_set_new(line, field->name, json);
    }
}

static json_t *pictures_json(const dr_result *result, const char *const *files)
{
    json_t *list = json_array();

    for (int i = 0; i < result->pictures; i++) {
        const dr_picture *picture = &result->picture[i];
        json_array_append_new(list, json_pack("{s:s, s:o, s:s, s:I, s:i, s:i}", "file", files[i], "seed",
                                              dr_seed_json(picture->seed), "sha256", picture->sha256, "bytes",
                                              (json_int_t)picture->size, "width", picture->width, "height",
                                              picture->height));
    }
    return list;
}

static json_t *error_json(const dr_result *result)
{
    json_t *error =
        json_pack("{s:s, s:s}", "code", dr_status_name(result->error.status), "message", result->error.text);

    if (result->refusal.field[0])
        json_object_set_new(error, "field", json_string(result->refusal.field));
    if (result->refusal.allowed[0])
        json_object_set_new(error, "allowed", json_string(result->refusal.allowed));
    return error;
}

static double seconds(int64_t ns)
{
    return (double)(ns / 1000000) / 1000; /* milliseconds are enough to read */
}

char *dr_result_json(const dr_result *result, const char *const *files)
{
    json_t *line = json_pack("{s:s, s:s}", "id", result->job->id, "state", dr_result_state_name(result));
    json_t *job = json_object();
    char *text = NULL;

    if (!line || !job)
        goto out;
    add_job(job, result->job);
    json_object_set(line, "job", job);
    if (result->error.status == DR_OK)
        json_object_set_new(line, "pictures", pictures_json(result, files));
    else
        json_object_set_new(line, "error", error_json(result));
    if (result->model_fingerprint[0])
        json_object_set_new(line, "model_fingerprint", json_string(result->model_fingerprint));
    if (result->arithmetic[0])
        json_object_set_new(line, "arithmetic", json_string(result->arithmetic));
    if (result->batch_samples) {
        json_object_set_new(line, "batch_samples", json_integer(result->batch_samples));
        json_object_set_new(line, "seconds",
                            json_pack("{s:f, s:f, s:f, s:f}", "queued", seconds(result->queued_ns), "denoise",
                                      seconds(result->denoise_ns), "decode", seconds(result->decode_ns),
                                      "encode", seconds(result->encode_ns)));
    }
    text = json_dumps(line, JSON_COMPACT | JSON_REAL_PRECISION(9));
out:
    json_decref(job);
    json_decref(line);
    return text;
}

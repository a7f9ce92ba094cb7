#include "worker/render/render_jobs.h"

#include "worker/engine/model_folders.h"
#include "worker/jobs/job_fields.h"
#include "worker/jobs/job_json.h"
#include "worker/pictures/picture.h"
#include "worker/support/text.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct dr_render_jobs {
    const char *path;   /* borrowed */
    dr_jobs_file *file; /* NULL: there is one job, of flags */
    dr_job *job;        /* that one, until dr_render_jobs_next() gives it away */
};

/* --- a job of flags ------------------------------------------------------------------------------ */

enum { SLUG_MAX = 40, HASH_DIGITS = 8 };

/* "A red fox, in the snow" gives "a-red-fox-in-the-snow".  A prompt without Latin letters gives "picture". */
static void make_slug(char slug[SLUG_MAX + 1], const char *prompt)
{
    size_t n = 0;

    for (; *prompt && n < SLUG_MAX; prompt++)
        if (isascii((unsigned char)*prompt) && isalnum((unsigned char)*prompt))
            slug[n++] = (char)tolower((unsigned char)*prompt);
        else if (n > 0 && slug[n - 1] != '-')
            slug[n++] = '-';
    while (n > 0 && slug[n - 1] == '-')
        n--;
    slug[n] = 0;
    if (n == 0)
        strcpy(slug, "picture");
}

/* A hash of all fields that were given.  False: no memory. */
static bool hash_fields(char hex[65], const dr_job *job)
{
    json_t *object = json_object();
    char *text;

    for (int i = 0; object && i < dr_job_field_count; i++)
        if (dr_job_given(job, &dr_job_fields[i]))
            json_object_set_new(object, dr_job_fields[i].name, dr_job_field_json(job, &dr_job_fields[i]));
    text = object ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    if (text)
        dr_sha256_hex(hex, text, strlen(text));
    free(text);
    return text != NULL;
}

static dr_status give_id(dr_job *job, const dr_render_target *target, dr_error *err)
{
    const dr_job_field *field = dr_job_field_find("id");
    char slug[SLUG_MAX + 1], hex[65], id[SLUG_MAX + HASH_DIGITS + 2];

    if (dr_job_given(job, field))
        return DR_OK;
    if (target->stem && dr_name_valid(target->stem, strlen(target->stem)))
        return dr_job_set_text(job, field, target->stem, NULL, err);
    make_slug(slug, job->prompt ? job->prompt : "");
    if (!hash_fields(hex, job))
        return dr_fail(err, DR_ENOMEM, "no memory for an id");
    snprintf(id, sizeof(id), "%s-%.*s", slug, HASH_DIGITS, hex);
    return dr_job_set_text(job, field, id, NULL, err);
}

/* This may be a newcomer's first error, so it names the models that there are. */
static dr_status no_model(const char *flag, const char *models_dir, dr_error *err)
{
    dr_model_names names;
    char text[256];

    if (dr_model_names_read(&names, models_dir, NULL))
        return dr_fail(err, DR_EINVAL, "%s says which model draws; --models says where models are", flag);
    dr_model_names_text(&names, text, sizeof(text));
    dr_model_names_free(&names);
    return dr_fail(err, DR_EINVAL, "%s says which model draws; in %s there %s%s", flag, models_dir,
                   *text ? "are: " : "is none", text);
}

static dr_status complete_job(dr_job *job, const dr_render_target *target, const char *models_dir,
                              dr_error *err)
{
    const dr_job_field *format = dr_job_field_find("format");
    dr_refusal refusal;
    dr_status rc;

    if (!dr_job_given(job, dr_job_field_find("model")))
        return no_model("--model NAME", models_dir, err);
    if (target->stem && dr_job_given(job, format) && job->format != target->format)
        return dr_fail(err, DR_EINVAL, "--format %s contradicts --out %s%s",
                       dr_picture_format_name(job->format), target->stem, target->suffix);
    if (target->stem)
        job->format = target->format;
    rc = give_id(job, target, err);
    return rc ? rc : dr_job_complete(job, &refusal, err);
}

/* --- either -------------------------------------------------------------------------------------- */

dr_status dr_render_jobs_open(dr_render_jobs **out, const dr_render_jobs_options *options,
                              const dr_render_target *target, dr_error *err)
{
    dr_render_jobs *jobs = calloc(1, sizeof(*jobs));
    dr_status rc;

    *out = NULL;
    if (!jobs) {
        dr_job_free(options->job);
        return dr_fail(err, DR_ENOMEM, "no memory for the jobs");
    }
    jobs->path = options->path;
    jobs->job = options->job;
    if (*jobs->path) {
        dr_job_free(jobs->job);
        jobs->job = NULL;
        rc = dr_jobs_file_open(&jobs->file, jobs->path, "line-", err);
        if (!rc && dr_jobs_file_has_prompts(jobs->file) &&
            !dr_job_given(options->defaults, dr_job_field_find("model")))
            rc = no_model("--set model=NAME", options->models, err);
        if (!rc)
            dr_jobs_file_set_defaults(jobs->file, options->defaults);
    } else {
        rc = complete_job(jobs->job, target, options->models, err);
    }
    if (rc) {
        dr_render_jobs_close(jobs);
        return rc;
    }
    *out = jobs;
    return DR_OK;
}

void dr_render_jobs_close(dr_render_jobs *jobs)
{
    if (!jobs)
        return;
    dr_jobs_file_close(jobs->file);
    dr_job_free(jobs->job);
    free(jobs);
}

long dr_render_jobs_count(const dr_render_jobs *jobs)
{
    return jobs->file ? dr_jobs_file_count(jobs->file) : 1;
}

bool dr_render_jobs_next(dr_render_jobs *jobs, dr_jobs_entry *entry)
{
    if (jobs->file)
        return dr_jobs_file_next(jobs->file, entry);
    *entry = (dr_jobs_entry){ .line = 1, .last_line = 1, .job = jobs->job };
    jobs->job = NULL;
    if (entry->job)
        snprintf(entry->fallback_id, sizeof(entry->fallback_id), "line-000001");
    return entry->job != NULL;
}

dr_status dr_render_jobs_status(const dr_render_jobs *jobs, dr_error *err)
{
    return jobs->file ? dr_jobs_file_status(jobs->file, err) : DR_OK;
}

void dr_render_jobs_where(const dr_render_jobs *jobs, char where[DR_RENDER_WHERE_MAX], long line)
{
    strcpy(where, "darkroom render: ");
    if (jobs->file)
        snprintf(where, DR_RENDER_WHERE_MAX, "%s:%ld: ", dr_jobs_file_name(jobs->path), line);
}

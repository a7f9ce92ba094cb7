#include "worker/jobs/job.h"

#include "worker/jobs/job_fields.h"

#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

dr_job *dr_job_create(void)
{
    dr_job *job = calloc(1, sizeof(*job));

    if (!job)
        return NULL;
    for (int i = 0; i < dr_job_field_count; i++) {
        const dr_job_field *field = &dr_job_fields[i];
        void *at = (char *)job + field->offset;
        if (field->type == DR_FIELD_INT || field->type == DR_FIELD_CHOICE)
            *(int *)at = (int)field->preset;
        else if (field->type == DR_FIELD_REAL)
            *(float *)at = (float)field->preset;
    }
    job->origin.partition = -1;
    return job;
}

void dr_job_free(dr_job *job)
{
    if (!job)
        return;
    for (int i = 0; i < dr_job_field_count; i++)
        if (dr_job_field_is_string(&dr_job_fields[i]))
            free(*(char *const *)dr_job_member(job, &dr_job_fields[i]));
    free(job);
}

/* 32 bits: the reference's generator reads no more of a seed. */
static uint64_t seed_of_id(const char *id)
{
    unsigned char digest[SHA256_DIGEST_LENGTH];

    SHA256((const unsigned char *)id, strlen(id), digest);
    return (uint64_t)digest[0] << 24 | (uint64_t)digest[1] << 16 | (uint64_t)digest[2] << 8 | digest[3];
}

/* An absent text becomes "", so that nobody has to ask whether it is there.  False without memory. */
static bool fill_in_text(char **text, size_t *bytes)
{
    if (!*text)
        *text = strdup("");
    if (*text)
        *bytes = strlen(*text);
    return *text != NULL;
}

dr_status dr_job_complete(dr_job *job, dr_refusal *refusal, dr_error *err)
{
    for (int i = 0; i < dr_job_field_count; i++) {
        const dr_job_field *field = &dr_job_fields[i];
        char allowed[sizeof(refusal->allowed)];
        if (!field->required || dr_job_given(job, field))
            continue;
        dr_job_field_allowed(field, allowed, sizeof(allowed));
        return dr_job_refuse(refusal, err, DR_EINVAL, field->name, allowed, "missing");
    }
    if (job->task != DR_TASK_TEXT_TO_IMAGE)
        return dr_job_refuse(refusal, err, DR_EUNSUPPORTED, "task", "text_to_image",
                             "this version does not do %s",
                             dr_job_field_find("task")->choice((int)job->task));
    if (!fill_in_text(&job->prompt, &job->prompt_bytes) ||
        !fill_in_text(&job->negative_prompt, &job->negative_prompt_bytes))
        return dr_fail(err, DR_ENOMEM, "job %s: no memory", job->id);
    if (!dr_job_given(job, dr_job_field_find("seed")))
        job->seed = seed_of_id(job->id);
    job->complete = true;
    return DR_OK;
}

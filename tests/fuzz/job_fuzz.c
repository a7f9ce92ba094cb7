/* Any bytes as a Job, a Result and a line of a jobs file.  A job that is accepted can be sent on, and is
 * the same job there. */
#include "worker/jobs/job_fields.h"
#include "worker/jobs/result.h"

#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

static void send_on(const dr_job *job)
{
    dr_refusal refusal;
    dr_job *again;
    dr_error err;
    void *bytes;
    size_t size;

    dr_assert(job->complete && job->steps >= 1 && job->images >= 1 && job->images <= DR_IMAGES_MAX);
    dr_assert(strlen(job->prompt) == job->prompt_bytes && job->guidance_scale >= 0);
    dr_assert(dr_job_encode(job, &bytes, &size, &err) == DR_OK);
    dr_assert(dr_job_decode(&again, bytes, size, &refusal, &err) == DR_OK);
    dr_assert(strcmp(job->id, again->id) == 0 && strcmp(job->prompt, again->prompt) == 0);
    dr_assert(job->seed == again->seed && job->width == again->width && job->given == again->given);
    dr_job_free(again);
    free(bytes);
}

/* A job that is refused can be answered. */
static void answer(dr_job *job, const dr_error *why, const dr_refusal *refusal)
{
    dr_result *result = dr_result_failed(job, why, refusal), *again;
    dr_error err;
    void *bytes;
    size_t size;
    char *line;

    dr_assert(result && dr_result_encode(result, "fuzz", &bytes, &size, &err) == DR_OK);
    dr_assert(dr_result_decode(&again, bytes, size, &err) == DR_OK);
    dr_assert(again->error.status == why->status);
    line = dr_result_json(result, NULL);
    dr_assert(line && !strchr(line, '\n'));
    free(line);
    free(bytes);
    dr_result_free(again);
    dr_result_free(result);
}

static void judge(dr_job *job, dr_status rc, const dr_error *err, const dr_refusal *refusal)
{
    dr_assert((job != NULL) == (rc == DR_OK || rc == DR_EINVAL || rc == DR_EUNSUPPORTED));
    if (rc == DR_OK) {
        send_on(job);
        dr_job_free(job);
    } else if (job) {
        answer(job, err, refusal);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    dr_refusal refusal = { "", "" };
    dr_result *result;
    dr_error err;
    dr_job *job;
    dr_status rc;

    rc = dr_job_decode(&job, data, size, &refusal, &err);
    judge(job, rc, &err, &refusal);
    rc = dr_job_parse(&job,
                      &(dr_job_line){ .text = (const char *)data, .size = size, .fallback_id = "line-1" },
                      &refusal, &err);
    judge(job, rc, &err, &refusal);
    if (dr_result_decode(&result, data, size, &err) == DR_OK)
        dr_result_free(result);
    return 0;
}

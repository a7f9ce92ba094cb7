/* torture.h - a job for the torture tests of the worker's rooms, and what their programs have in common.  In
 * these tests each allocation of our own code fails in turn, and each that jansson makes for us.
 *
 * A failed allocation is reported as a shortage of memory, which may be tried again.  Nothing is lost, freed
 * twice or half done: a job is never answered for good because memory lacked, and what is written is whole
 * or not at all.
 *
 * To be included by one file of a program (tests/support/allocations.h). */
#ifndef DR_TESTS_WORKER_TORTURE_H
#define DR_TESTS_WORKER_TORTURE_H

#include "tests/support/allocations.h"
#include "worker/jobs/job.h"
#include "worker/jobs/result.h"
#include "worker/support/log.h"

#include <jansson.h>

enum { FOX_SIDE = 64 };

static const char fox_line[] =
    "{\"id\":\"fox\",\"model\":\"m\",\"prompt\":\"a red fox, "
    "\\u00e9\",\"negative_prompt\":\"blurry\",\"width\":64,"
    "\"height\":64,\"steps\":4,\"guidance_scale\":7.25,\"sampler\":\"euler\",\"seed\":18446744073709551615,"
    "\"images\":2,\"correlation_id\":\"c-1\",\"reply_topic\":\"replies\",\"priority\":3}";

static inline dr_job *job_of(const char *text)
{
    dr_job *job;
    dr_error err;

    if (dr_job_parse(&job, &(dr_job_line){ .text = text, .size = strlen(text) }, NULL, &err))
        fail_msg("%s", err.text);
    return job;
}

/* The job has all that fox_line says. */
static inline void assert_fox(const dr_job *job)
{
    assert_true(job->complete);
    assert_string_equal(job->id, "fox");
    assert_string_equal(job->model, "m");
    assert_string_equal(job->prompt, "a red fox, \u00e9");
    assert_string_equal(job->negative_prompt, "blurry");
    assert_string_equal(job->correlation_id, "c-1");
    assert_string_equal(job->reply_topic, "replies");
    assert_int_equal(job->images, 2);
    assert_int_equal(job->sampler, DR_SAMPLER_EULER);
    assert_true(job->seed == UINT64_MAX && job->guidance_scale == 7.25f);
}

static inline dr_result *fox_result(void)
{
    dr_result *result = dr_result_create(job_of(fox_line));

    result->pictures = 2;
    for (int i = 0; i < 2; i++) {
        result->picture[i] =
            (dr_rendition){ .bytes = strdup("bytes"), .size = 5, .width = FOX_SIDE, .height = FOX_SIDE };
        memset(result->picture[i].sha256, 'a' + i, 64);
    }
    result->batch_samples = 4;
    strcpy(result->model_fingerprint, "f00d");
    strcpy(result->arithmetic, "cpu generic");
    return result;
}

typedef struct message {
    void *bytes;
    size_t size;
} message;

/* Every torture program begins so.  argv[1]: a pattern of the tests to run. */
static inline void torture_begin(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    dr_log_set(DR_LOG_ERROR, DR_LOG_TEXT);
    json_set_alloc_funcs(malloc, free); /* ours, by --wrap */
}

#endif

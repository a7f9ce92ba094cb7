/* Jobs and results: each allocation of their encoders and decoders fails in turn (tests/worker/torture.h). */
#include "tests/worker/torture.h"

static dr_status decode_job(void *context, dr_error *err)
{
    const message *m = context;
    dr_refusal refusal;
    dr_job *job;
    const dr_status rc = dr_job_decode(&job, m->bytes, m->size, &refusal, err);

    assert_int_equal(job == NULL, rc != DR_OK);
    if (job)
        assert_fox(job);
    dr_job_free(job);
    return rc;
}

static dr_status parse_job(void *context, dr_error *err)
{
    dr_refusal refusal;
    dr_job *job;
    const dr_status rc =
        dr_job_parse(&job, &(dr_job_line){ .text = fox_line, .size = strlen(fox_line) }, &refusal, err);
    (void)context;

    assert_int_equal(job == NULL, rc != DR_OK);
    if (job)
        assert_fox(job);
    dr_job_free(job);
    return rc;
}

static dr_status encode_job(void *context, dr_error *err)
{
    message m;
    const dr_status rc = dr_job_encode(context, &m.bytes, &m.size, err);

    if (!rc)
        free(m.bytes);
    return rc;
}

static void jobs_survive_any_allocation(void **state)
{
    dr_job *job = job_of(fox_line);
    message m;
    (void)state;

    assert_true(torture(encode_job, job) >= 1);
    assert_int_equal(dr_job_encode(job, &m.bytes, &m.size, NULL), DR_OK);
    assert_true(torture(decode_job, &m) >= 8); /* the job, its texts, the message */
    assert_true(torture(parse_job, NULL) > 30);
    free(m.bytes);
    dr_job_free(job);
}

/* --- results ----------------------------------------------------------------------------------- */

static dr_status encode_result(void *context, dr_error *err)
{
    message m;
    const dr_status rc = dr_result_encode(context, "worker-0", &m.bytes, &m.size, err);

    if (!rc)
        free(m.bytes);
    return rc;
}

static dr_status decode_result(void *context, dr_error *err)
{
    const message *m = context;
    dr_result *result;
    const dr_status rc = dr_result_decode(&result, m->bytes, m->size, err);

    assert_int_equal(result == NULL, rc != DR_OK);
    if (rc)
        return rc;
    assert_int_equal(result->pictures, 2);
    assert_fox(result->job);
    dr_result_free(result);
    return DR_OK;
}

static dr_status decode_failed(void *context, dr_error *err)
{
    const message *m = context;
    dr_result *result;
    const dr_status rc = dr_result_decode(&result, m->bytes, m->size, err);

    assert_int_equal(result == NULL, rc != DR_OK);
    if (rc)
        return rc;
    assert_int_equal(result->error.status, DR_EINVAL);
    assert_string_equal(result->job->prompt, "a red fox, \u00e9"); /* all that was said of it */
    assert_string_equal(result->job->reply_topic, "replies");
    dr_result_free(result);
    return DR_OK;
}

static const char *const names[] = { "fox@0.png", "fox@1.png" };

typedef struct json_attempt {
    const dr_result *result;
    const char *expected;
} json_attempt;

static dr_status result_as_json(void *context, dr_error *err)
{
    const json_attempt *a = context;
    char *text = dr_result_json(a->result, names);

    if (!text)
        return dr_fail(err, DR_ENOMEM, "no memory for a line");
    assert_string_equal(text, a->expected);
    free(text);
    return DR_OK;
}

static void results_survive_any_allocation(void **state)
{
    dr_result *result = fox_result(), *failed = dr_result_create(job_of(fox_line));
    json_attempt whole = { result, dr_result_json(result, names) };
    json_attempt short_one = { failed, NULL };
    message m;
    (void)state;

    dr_fail(&failed->error, DR_EINVAL, "steps: 0");
    strcpy(failed->refusal.field, "steps");
    strcpy(failed->refusal.allowed, "1..150");
    short_one.expected = dr_result_json(failed, names);
    assert_true(torture(encode_result, result) >= 1);
    assert_int_equal(dr_result_encode(result, "worker-0", &m.bytes, &m.size, NULL), DR_OK);
    assert_true(torture(decode_result, &m) >= 10);
    assert_true(torture(result_as_json, &whole) > 60);
    assert_true(torture(result_as_json, &short_one) > 40);
    free(m.bytes);
    assert_int_equal(dr_result_encode(failed, "worker-0", &m.bytes, &m.size, NULL), DR_OK);
    assert_true(torture(decode_failed, &m) >= 8);
    free((char *)whole.expected);
    free((char *)short_one.expected);
    free(m.bytes);
    dr_result_free(failed);
    dr_result_free(result);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jobs_survive_any_allocation),
        cmocka_unit_test(results_survive_any_allocation),
    };

    torture_begin(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The pipeline: each allocation of a job that is drawn fails in turn (tests/worker/torture.h). */
#include "tests/worker/torture.h"
#include "worker/pictures/picture.h"
#include "worker/pipeline/pipeline.h"

typedef struct outcome {
    pthread_mutex_t lock;
    int results, lacked;
    dr_error err;
    char sha256[65]; /* of an honest one; "": none yet */
} outcome;

static void on_result(void *arg, dr_result *result)
{
    outcome *o = arg;

    pthread_mutex_lock(&o->lock);
    o->results++;
    if (result->error.status != DR_OK) {
        assert_int_equal(result->pictures, 0);
        o->err = result->error;
        o->lacked++;
    } else {
        assert_int_equal(result->pictures, 2);
        if (!o->sha256[0])
            strcpy(o->sha256, result->picture[1].sha256);
        assert_string_equal(o->sha256, result->picture[1].sha256);
    }
    pthread_mutex_unlock(&o->lock);
    dr_result_free(result);
}

static dr_status draw(void *context, dr_error *err)
{
    outcome *o = context;
    const dr_pipeline_options options = {
        .engine = { .device = { .name = "null" }, .batch_max = 4, .models_max = 1 },
        .finish_threads = 1,
        .shortage_ms = 1,
        .jobs_max = 4,
        .on_result = on_result,
        .arg = o,
    };
    dr_refusal refusal;
    dr_pipeline *p;
    dr_job *job;
    dr_status rc;

    o->results = o->lacked = 0;
    rc = dr_job_parse(&job, &(dr_job_line){ .text = fox_line, .size = strlen(fox_line) }, &refusal, err);
    if (rc)
        return rc;
    rc = dr_pipeline_start(&p, &options, err);
    if (rc) {
        dr_job_free(job);
        return rc;
    }
    if (dr_pipeline_submit(p, job)) {
        assert_true(dr_pipeline_drain(p, 30000));
        assert_int_equal(o->results, 1);
        if (o->lacked > 0) {
            *err = o->err;
            rc = err->status;
        }
    } else {
        dr_job_free(job);
        rc = dr_fail(err, DR_ENOMEM, "no memory for a job that waits");
    }
    dr_pipeline_stop(p);
    return rc;
}

static void drawing_survives_any_allocation(void **state)
{
    static outcome o = { .lock = PTHREAD_MUTEX_INITIALIZER };
    dr_error err;
    (void)state;

    assert_int_equal(draw(&o, &err), DR_OK);
    assert_true(torture(draw, &o) > 60);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(drawing_survives_any_allocation),
    };
    dr_error err;
    int failed;

    torture_begin(argc, argv);
    if (dr_pictures_start(&err))
        return 1;
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    dr_pictures_stop();
    return failed;
}

/* Jobs that end before their time: canceled, or past their deadline. */
#include "tests/worker/pipeline/pipeline_fixture.h"

static void cancel_ends_waiting_and_running_jobs(void **state)
{
    int64_t before_ms;
    outcome o;
    dr_pipeline *p = start(&o, 8, 2, 20000);
    (void)state;

    submit(p, job("running", "a", "\"steps\":150"));
    wait_until_one_has_started(&o);
    submit(p, job("waiting", "b", ""));
    submit(p, job("stays", "c", ""));
    before_ms = dr_clock_ms();
    dr_pipeline_cancel(p, "no such job", INT64_MAX);
    dr_pipeline_cancel(p, "waiting", INT64_MAX);
    dr_pipeline_cancel(p, "running", INT64_MAX);
    assert_true(dr_pipeline_drain(p, 10000));
    assert_int_equal(find(&o, "running")->error.status, DR_ECANCELED);
    assert_int_equal(find(&o, "waiting")->error.status, DR_ECANCELED);
    assert_int_equal(find(&o, "stays")->error.status, DR_OK);
    assert_string_equal(o.result[0]->job->id, "waiting"); /* at once, before the step was over */
    assert_true(dr_clock_ms() - before_ms < 2000);        /* all 150 steps take 3 s */
    stop(p, &o);
}

/* The result of a canceled job is there while its neighbours still run.  The neighbours' pictures are the
 * same as without it. */
static void a_canceled_job_does_not_wait_for_its_neighbours(void **state)
{
    char alone[65];
    int victim = 0;
    outcome o;
    dr_pipeline *p = start(&o, 8, 4, 0);
    (void)state;

    submit(p, job("alone", "mate", "\"seed\":7,\"steps\":150"));
    assert_true(dr_pipeline_drain(p, 10000));
    memcpy(alone, find(&o, "alone")->picture[0].sha256, sizeof(alone));
    stop(p, &o);

    p = start(&o, 8, 4, 5000);
    submit(p, job("head", "a", "\"steps\":150"));
    wait_until_one_has_started(&o);
    submit(p, job("victim", "b", "\"steps\":150,\"images\":2"));
    submit(p, job("mate", "mate", "\"seed\":7,\"steps\":150"));
    wait_until_some_have_started(&o, 3);
    pthread_mutex_lock(&o.lock);
    o.last_step = 0; /* that of the head */
    pthread_mutex_unlock(&o.lock);
    dr_pipeline_cancel(p, "victim", INT64_MAX);
    assert_true(dr_pipeline_drain(p, 30000));
    assert_int_equal(o.results, 3);
    while (strcmp(o.result[victim]->job->id, "victim") != 0)
        assert_true(++victim < 3);
    assert_int_equal(o.result[victim]->error.status, DR_ECANCELED);
    assert_true(o.step_then[victim] < 150); /* the mate was not done */
    assert_int_equal(o.last_step, 150);
    assert_string_equal(find(&o, "mate")->picture[0].sha256, alone);
    assert_int_equal(find(&o, "mate")->batch_samples, 3);
    stop(p, &o);
}

/* A batch may take several runs.  A job that is canceled during one of them is not in the later ones. */
static void a_canceled_job_leaves_all_runs(void **state)
{
    outcome o;
    dr_pipeline *p = start(&o, 8, 2, 5000);
    (void)state;

    submit(p, job("victim", "b", "\"steps\":20,\"images\":16"));
    wait_until_one_has_started(&o);
    dr_pipeline_cancel(p, "victim", INT64_MAX);
    submit(p, job("next", "a", ""));
    assert_true(dr_pipeline_drain(p, 30000));
    assert_string_equal(o.result[0]->job->id, "victim");
    assert_int_equal(o.result[0]->error.status, DR_ECANCELED);
    assert_int_equal(o.result[0]->pictures, 0);
    assert_int_equal(find(&o, "next")->error.status, DR_OK);
    stop(p, &o);
}

static void a_cancellation_means_what_was_sent_before_it(void **state)
{
    static const struct {
        const char *id;
        int64_t sent_ms;
        dr_status status;
    } jobs[] = { { "runs-before", 1000, DR_ECANCELED },
                 { "before", 999, DR_ECANCELED },
                 { "same", 1000, DR_ECANCELED },
                 { "after", 1001, DR_OK },
                 { "unknown", 0, DR_ECANCELED } };
    outcome o;
    dr_pipeline *p = start(&o, 8, 1, 5000);
    (void)state;

    for (size_t i = 0; i < sizeof(jobs) / sizeof(jobs[0]); i++) {
        dr_job *j = job(jobs[i].id, "a", "\"steps\":100");
        j->sent_ms = jobs[i].sent_ms;
        submit(p, j);
        if (i == 0)
            wait_until_one_has_started(&o);
    }
    for (size_t i = 0; i < sizeof(jobs) / sizeof(jobs[0]); i++)
        dr_pipeline_cancel(p, jobs[i].id, 1000);
    assert_true(dr_pipeline_drain(p, 30000));
    for (size_t i = 0; i < sizeof(jobs) / sizeof(jobs[0]); i++)
        assert_int_equal(find(&o, jobs[i].id)->error.status, jobs[i].status);
    stop(p, &o);
}

static void late_jobs_expire(void **state)
{
    char deadline[64];
    outcome o;
    dr_pipeline *p = start(&o, 8, 1, 10000);
    (void)state;

    snprintf(deadline, sizeof(deadline), "\"steps\":150,\"deadline_ms\":%lld", (long long)dr_unix_ms() + 200);
    submit(p, job("late", "a", deadline)); /* takes 1.5 s */
    submit(p, job("passed", "a", "\"deadline_ms\":1000"));
    submit(p, job("far", "a", "\"deadline_ms\":253402300799999"));
    assert_true(dr_pipeline_drain(p, 10000));
    assert_int_equal(find(&o, "late")->error.status, DR_EEXPIRED);
    assert_int_equal(find(&o, "passed")->error.status, DR_EEXPIRED);
    assert_int_equal(find(&o, "far")->error.status, DR_OK);
    stop(p, &o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cancel_ends_waiting_and_running_jobs),
        cmocka_unit_test(a_canceled_job_does_not_wait_for_its_neighbours),
        cmocka_unit_test(a_canceled_job_leaves_all_runs),
        cmocka_unit_test(a_cancellation_means_what_was_sent_before_it),
        cmocka_unit_test(late_jobs_expire),
    };

    return cmocka_run_group_tests_name("cancel", tests, begin_tests, end_tests);
}

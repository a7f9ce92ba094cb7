/* Jobs that are put aside: for a model that is not there, or for a shortage of memory. */
#include "tests/worker/pipeline/pipeline_fixture.h"

#include <time.h>

static dr_pipeline *start_waiting(outcome *o, int jobs_max, int model_wait_s, const char *models)
{
    const dr_pipeline_options options = {
        .engine = { .device = { .name = models ? "cpu" : "null" },
                    .models_dir = models,
                    .batch_max = 4,
                    .models_max = 1,
                    .null_step_us = 1000 },
        .finish_threads = 1,
        .jobs_max = jobs_max,
        .model_wait_s = model_wait_s,
        .on_result = keep_result,
        .arg = o,
    };
    dr_pipeline *p;

    memset(o, 0, sizeof(*o));
    pthread_mutex_init(&o->lock, NULL);
    assert_int_equal(dr_pipeline_start(&p, &options, NULL), DR_OK);
    return p;
}

static void wait_until_aside(dr_pipeline *p, int count)
{
    for (int ms = 0; ms < 30000 && dr_pipeline_aside(p) != count; ms++)
        usleep(1000);
    assert_int_equal(dr_pipeline_aside(p), count);
}

/* More jobs wait for a model than the pipeline has places.  They end by a cancellation, by a deadline, or
 * without a result. */
static void who_waits_for_a_model_is_in_nobodys_way(void **state)
{
    char id[16], deadline[64];
    outcome o;
    dr_pipeline *p = start_waiting(&o, 4, 3600, NULL);
    (void)state;

    for (int i = 0; i < 20; i++) {
        snprintf(id, sizeof(id), "wait-%d", i);
        while (!dr_pipeline_wait_room(p, 10000))
            ;
        submit(p, job(id, "!missing", ""));
    }
    wait_until_aside(p, 20);
    submit(p, job("good", "a", ""));
    assert_true(dr_pipeline_drain(p, 30000));
    wait_for_results(&o, 1);
    assert_int_equal(find(&o, "good")->error.status, DR_OK);
    dr_pipeline_cancel(p, "wait-7", INT64_MAX);
    wait_for_results(&o, 2);
    assert_int_equal(find(&o, "wait-7")->error.status, DR_ECANCELED);
    snprintf(deadline, sizeof(deadline), "\"deadline_ms\":%lld", (long long)dr_unix_ms() + 1000);
    submit(p, job("late", "!missing", deadline));
    wait_for_results(&o, 3);
    assert_int_equal(find(&o, "late")->error.status, DR_EEXPIRED);
    stop(p, &o);
}

/* While a job waits, the denoise thread sleeps and looks for the model once a second. */
static void waiting_for_a_model_takes_no_processor_time(void **state)
{
    struct timespec before, after;
    outcome o;
    dr_pipeline *p = start_waiting(&o, 4, 3600, NULL);
    (void)state;

    submit(p, job("wait", "!missing", ""));
    wait_until_aside(p, 1);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
    usleep(500000);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
    const int64_t cpu_ns = (after.tv_sec - before.tv_sec) * 1000000000ll + after.tv_nsec - before.tv_nsec;
    assert_in_range(cpu_ns, 0, 50000000);
    stop(p, &o);
}

static void who_has_waited_long_enough_fails(void **state)
{
    outcome o;
    dr_pipeline *p = start_waiting(&o, 4, 2, NULL);
    (void)state;

    submit(p, job("wait", "!missing", ""));
    wait_for_results(&o, 1);
    assert_int_equal(o.result[0]->error.status, DR_ENOTFOUND);
    assert_string_equal(o.result[0]->refusal.field, "model");
    assert_non_null(strstr(o.result[0]->error.text, "waited 2 s for its model: "));
    stop(p, &o);
    p = start_waiting(&o, 4, 0, NULL);
    submit(p, job("at-once", "!missing", ""));
    assert_true(dr_pipeline_drain(p, 30000));
    assert_int_equal(o.results, 1);
    assert_null(strstr(o.result[0]->error.text, "waited"));
    stop(p, &o);
}

/* The model's folder appears while jobs wait for it: more jobs than the pipeline has places. */
static void a_model_that_comes_later_is_found(void **state)
{
    char folder[] = "/tmp/darkroom-pipeline-XXXXXX", command[256], id[16];
    outcome o;
    dr_pipeline *p;
    (void)state;

    assert_non_null(mkdtemp(folder));
    p = start_waiting(&o, 2, 3600, folder);
    for (int i = 0; i < 5; i++) {
        snprintf(id, sizeof(id), "wait-%d", i);
        while (!dr_pipeline_wait_room(p, 10000))
            ;
        submit(p, job(id, "a", ""));
    }
    wait_until_aside(p, 5);
    snprintf(command, sizeof(command), "ln -s $PWD/tests/goldens/models/sd1 %s/m", folder);
    assert_int_equal(system(command), 0);
    wait_for_results(&o, 5);
    assert_true(dr_pipeline_drain(p, 30000));
    for (int i = 0; i < 5; i++) {
        snprintf(id, sizeof(id), "wait-%d", i);
        if (find(&o, id)->error.status)
            fail_msg("%s", find(&o, id)->error.text);
        assert_int_equal(find(&o, id)->pictures, 1);
    }
    assert_int_equal(dr_pipeline_aside(p), 0);
    stop(p, &o);
    snprintf(command, sizeof(command), "rm -r %s", folder);
    assert_int_equal(system(command), 0);
}

/* A shortage that passes fails no job.  If a shortage lasts, the job fails, and the failure says that the
 * sender may try again. */
static void a_shortage_is_waited_out(void **state)
{
    outcome o;
    dr_pipeline *p = start_waiting(&o, 4, 0, NULL);
    (void)state;

    submit(p, job("once", "!short once", "\"images\":2"));
    submit(p, job("for-good", "!short", ""));
    submit(p, job("good", "a", ""));
    assert_true(dr_pipeline_drain(p, 60000)); /* jobs that wait for memory are in flight */
    assert_int_equal(o.results, 3);
    assert_int_equal(find(&o, "once")->error.status, DR_OK);
    assert_int_equal(find(&o, "once")->pictures, 2);
    assert_int_equal(find(&o, "good")->error.status, DR_OK);
    assert_int_equal(find(&o, "for-good")->error.status, DR_ENOMEM);
    assert_true(find(&o, "for-good")->error.retriable);
    stop(p, &o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_waits_for_a_model_is_in_nobodys_way),
        cmocka_unit_test(waiting_for_a_model_takes_no_processor_time),
        cmocka_unit_test(who_has_waited_long_enough_fails),
        cmocka_unit_test(a_model_that_comes_later_is_found),
        cmocka_unit_test(a_shortage_is_waited_out),
    };

    return cmocka_run_group_tests_name("aside", tests, begin_tests, end_tests);
}

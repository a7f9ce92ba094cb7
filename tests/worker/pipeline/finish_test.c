/* The finish threads, and the bounds that hold while nobody takes results. */
#include "tests/worker/pipeline/pipeline_fixture.h"
#include "worker/pipeline/finish.h"

#include <stdatomic.h>
#include <time.h>

static void it_is_bounded(void **state)
{
    outcome o;
    dr_pipeline *p = start(&o, 3, 1, 0);
    dr_job *extra = job("extra", "a", "");
    (void)state;

    o.hold = true; /* nobody takes results */
    for (int i = 0; i < 3; i++) {
        char id[16];
        snprintf(id, sizeof(id), "j%d", i);
        submit(p, job(id, "a", ""));
    }
    assert_false(dr_pipeline_submit(p, extra));
    assert_false(dr_pipeline_wait_room(p, 30));
    assert_false(dr_pipeline_drain(p, 30));
    assert_int_equal(dr_pipeline_in_flight(p), 3);
    pthread_mutex_lock(&o.lock);
    o.hold = false;
    pthread_mutex_unlock(&o.lock);
    assert_true(dr_pipeline_wait_room(p, 10000));
    submit(p, extra);
    assert_true(dr_pipeline_drain(p, 10000));
    assert_int_equal(o.results, 4);
    stop(p, &o);
}

/* While nobody takes results, the device stops: two works wait for each finish thread, and no more are
 * drawn. */
static void pictures_that_wait_stop_the_device(void **state)
{
    enum { JOBS = 24, ENCODERS = 2, HELD = ENCODERS + 2 * ENCODERS + 2 /* one is handed over, one runs */ };
    int started = 0;
    outcome o;
    dr_pipeline *p = start(&o, JOBS, 1, 0);
    char id[16];
    (void)state;

    o.hold = true;
    for (int i = 0; i < JOBS; i++) {
        snprintf(id, sizeof(id), "j%d", i);
        submit(p, job(id, "a", ""));
    }
    for (int ms = 0; ms < 10000 && started < 2 * ENCODERS; ms++) {
        usleep(1000);
        pthread_mutex_lock(&o.lock);
        started = o.started;
        pthread_mutex_unlock(&o.lock);
    }
    usleep(100000); /* time for a device that does not stop to draw them all */
    pthread_mutex_lock(&o.lock);
    started = o.started;
    o.hold = false;
    pthread_mutex_unlock(&o.lock);
    assert_in_range(started, 2 * ENCODERS, HELD);
    assert_true(dr_pipeline_drain(p, 10000));
    assert_int_equal(o.results, JOBS);
    stop(p, &o);
}

/* This program is linked so that dr_cores() says this (mk/tests.mk). */
static int told_cores = 4;
int __wrap_dr_cores(void);
int __wrap_dr_cores(void)
{
    return told_cores;
}

static void half_of_the_cores_encode_unless_told_otherwise(void **state)
{
    static const int cores[] = { 1, 3, 8 }, encoders[] = { 1, 1, 4 };
    (void)state;

    for (size_t i = 0; i < sizeof(cores) / sizeof(cores[0]); i++) {
        told_cores = cores[i];
        assert_int_equal(dr_finish_counts_of(0).encoders, encoders[i]);
        assert_int_equal(dr_finish_counts_of(0).threads, cores[i]);
        assert_int_equal(dr_finish_counts_of(2).encoders, 2);
        assert_int_equal(dr_finish_counts_of(2).threads, 2);
    }
}

typedef struct rendezvous {
    pthread_mutex_t lock;
    int results, most; /* how many were in on_result at once */
    atomic_int done;
} rendezvous;

static void meet(void *arg, dr_result *result)
{
    const struct timespec moment = { .tv_nsec = 1000000 };
    rendezvous *r = arg;
    int wait_ms = 20000;

    pthread_mutex_lock(&r->lock);
    if (++r->results > r->most)
        r->most = r->results;
    while (r->most < 2 && wait_ms-- > 0) {
        pthread_mutex_unlock(&r->lock);
        nanosleep(&moment, NULL);
        pthread_mutex_lock(&r->lock);
    }
    r->results--;
    pthread_mutex_unlock(&r->lock);
    dr_result_free(result);
    r->done++;
}

/* One of two finish threads is an encoder.  The other one helps when works wait. */
static void who_has_nothing_else_to_do_encodes(void **state)
{
    enum { JOBS = 4 };
    rendezvous r = { .lock = PTHREAD_MUTEX_INITIALIZER };
    dr_pipeline_options options = {
        .engine = { .device = { .name = "null" }, .batch_max = 1, .models_max = 1 },
        .jobs_max = JOBS,
        .on_result = meet,
        .arg = &r,
    };
    dr_pipeline *p;
    (void)state;

    told_cores = 2;
    assert_int_equal(dr_pipeline_start(&p, &options, NULL), DR_OK);
    for (int i = 0; i < JOBS; i++) {
        char id[16];
        snprintf(id, sizeof(id), "j%d", i);
        assert_true(dr_pipeline_submit(p, job(id, "p", "")));
    }
    assert_true(dr_pipeline_drain(p, 60000));
    assert_int_equal(r.done, JOBS);
    assert_int_equal(r.most, 2);
    dr_pipeline_stop(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_bounded),
        cmocka_unit_test(pictures_that_wait_stop_the_device),
        cmocka_unit_test(half_of_the_cores_encode_unless_told_otherwise),
        cmocka_unit_test(who_has_nothing_else_to_do_encodes),
    };

    return cmocka_run_group_tests_name("finish", tests, begin_tests, end_tests);
}

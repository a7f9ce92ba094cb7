/* The pipeline on the null device: batches, bounds, failures that stay where they are, cancel, drain, stop. */
#include "worker/pictures/picture.h"
#include "worker/pipeline/finish.h"
#include "worker/pipeline/pipeline.h"
#include "worker/support/clock.h"
#include "worker/support/log.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { RESULTS_MAX = 256 };

/* What came out. */
typedef struct outcome {
    pthread_mutex_t lock;
    dr_result *result[RESULTS_MAX];
    int step_then[RESULTS_MAX]; /* last_step when it came */
    int results;
    int queued, started, steps, finished; /* events */
    int last_step;
    bool hold;        /* on_result waits while it is set */
    bool hold_device; /* a batch that has started waits while it is set */
    struct {
        char id[32];
        int batch_samples;
    } batch[RESULTS_MAX]; /* of each job that has started: with how many it shares the device */
} outcome;

static void keep_result(void *arg, dr_result *result)
{
    outcome *o = arg;
    bool hold;

    do {
        pthread_mutex_lock(&o->lock);
        hold = o->hold;
        if (!hold) {
            o->step_then[o->results] = o->last_step;
            o->result[o->results++] = result;
        }
        pthread_mutex_unlock(&o->lock);
        if (hold)
            usleep(1000);
    } while (hold);
}

static void note_start(outcome *o, const dr_job_event *event)
{
    bool hold;

    pthread_mutex_lock(&o->lock);
    snprintf(o->batch[o->started].id, sizeof(o->batch[0].id), "%s", event->job->id);
    o->batch[o->started++].batch_samples = event->batch_samples;
    do {
        hold = o->hold_device;
        pthread_mutex_unlock(&o->lock);
        if (hold)
            usleep(1000);
        pthread_mutex_lock(&o->lock);
    } while (hold);
    pthread_mutex_unlock(&o->lock);
}

static void count_event(void *arg, const dr_job_event *event)
{
    outcome *o = arg;

    if (event->kind == DR_EVENT_STARTED)
        note_start(o, event);
    pthread_mutex_lock(&o->lock);
    o->queued += event->kind == DR_EVENT_QUEUED;
    o->finished += event->kind == DR_EVENT_FINISHED;
    if (event->kind == DR_EVENT_STEP) {
        o->steps++;
        o->last_step = event->step;
        assert_true(event->step >= 1 && event->step <= event->steps);
    }
    pthread_mutex_unlock(&o->lock);
}

static dr_pipeline *start(outcome *o, int jobs_max, int batch_max, int step_us)
{
    const dr_pipeline_options options = {
        .engine = { .device = { .name = "null" },
                    .batch_max = batch_max,
                    .models_max = 1,
                    .null_step_us = step_us },
        .finish_threads = 2,
        .jobs_max = jobs_max,
        .on_result = keep_result,
        .on_event = count_event,
        .arg = o,
    };
    dr_pipeline *p;

    memset(o, 0, sizeof(*o));
    pthread_mutex_init(&o->lock, NULL);
    assert_int_equal(dr_pipeline_start(&p, &options, NULL), DR_OK);
    return p;
}

static void stop(dr_pipeline *p, outcome *o)
{
    dr_pipeline_stop(p);
    for (int i = 0; i < o->results; i++)
        dr_result_free(o->result[i]);
    pthread_mutex_destroy(&o->lock);
}

static dr_job *job(const char *id, const char *prompt, const char *more)
{
    char line[512];
    dr_job *out;

    snprintf(line, sizeof(line),
             "{\"id\":\"%s\",\"model\":\"m\",\"prompt\":\"%s\",\"width\":64,\"height\":64%s%s%s}", id, prompt,
             strstr(more, "steps") ? "" : ",\"steps\":4", *more ? "," : "", more);
    assert_int_equal(dr_job_parse(&out, line, strlen(line), NULL, NULL, NULL), DR_OK);
    return out;
}

static const dr_result *find(const outcome *o, const char *id)
{
    const dr_result *found = NULL;

    for (int i = 0; i < o->results; i++)
        if (strcmp(o->result[i]->job->id, id) == 0) {
            assert_null(found); /* one result a job */
            found = o->result[i];
        }
    assert_non_null(found);
    return found;
}

static void submit(dr_pipeline *p, dr_job *j)
{
    assert_true(dr_pipeline_submit(p, j));
}

static void wait_until_some_have_started(outcome *o, int count)
{
    int started = 0;

    for (int ms = 0; ms < 30000 && started < count; ms++) {
        usleep(1000);
        pthread_mutex_lock(&o->lock);
        started = o->started;
        pthread_mutex_unlock(&o->lock);
    }
    assert_int_equal(started, count);
}

/* The device is busy from here on, however slow this machine is to begin. */
static void wait_until_one_has_started(outcome *o)
{
    wait_until_some_have_started(o, 1);
}

/* A job that the device is busy with, until go_on(): what is submitted meanwhile waits together, however slow this machine
 * is. */
static void submit_head(dr_pipeline *p, outcome *o, dr_job *j)
{
    pthread_mutex_lock(&o->lock);
    o->hold_device = true;
    pthread_mutex_unlock(&o->lock);
    submit(p, j);
    wait_until_one_has_started(o);
}

static void go_on(outcome *o)
{
    pthread_mutex_lock(&o->lock);
    o->hold_device = false;
    pthread_mutex_unlock(&o->lock);
}

/* With how many pictures its batch started, whatever became of it; 0: it never started. */
static int started_with(const outcome *o, const char *id)
{
    for (int i = 0; i < o->started; i++)
        if (strcmp(o->batch[i].id, id) == 0)
            return o->batch[i].batch_samples;
    return 0;
}

/* --- --------------------------------------------------------------------------------------- */

static void jobs_that_wait_run_together(void **state)
{
    outcome o;
    dr_pipeline *p = start(&o, 32, 8, 20000);
    (void)state;

    submit_head(p, &o, job("first", "a", "")); /* an idle device takes it at once */
    for (int i = 0; i < 8; i++) {
        char id[16];
        snprintf(id, sizeof(id), "j%d", i);
        submit(p, job(id, id, ""));
    }
    go_on(&o);
    assert_true(dr_pipeline_drain(p, 10000));
    assert_int_equal(o.results, 9);
    assert_int_equal(find(&o, "first")->batch_samples, 1);
    assert_int_equal(find(&o, "j0")->batch_samples, 8);
    assert_int_equal(find(&o, "j7")->batch_samples, 8);
    assert_int_equal(o.queued, 9);
    assert_int_equal(o.started, 9);
    assert_int_equal(o.finished, 9);
    assert_true(o.steps >= 9); /* the last one is always told */
    assert_int_equal(o.last_step, 4);
    stop(p, &o);
}

static void neighbours_change_nothing(void **state)
{
    char alone[65];
    outcome o;
    dr_pipeline *p = start(&o, 32, 8, 0);
    (void)state;

    submit(p, job("a", "a red fox", "\"seed\":7"));
    assert_true(dr_pipeline_drain(p, 10000));
    memcpy(alone, find(&o, "a")->picture[0].sha256, sizeof(alone));
    stop(p, &o);
    p = start(&o, 32, 8, 1000);
    submit_head(p, &o, job("head", "first", ""));
    submit(p, job("x", "other", ""));
    submit(p, job("y", "!fail add", ""));
    submit(p, job("b", "a red fox", "\"seed\":7")); /* another id: the file does not know it */
    submit(p, job("z", "third", ""));
    go_on(&o);
    assert_true(dr_pipeline_drain(p, 10000));
    assert_int_equal(find(&o, "b")->batch_samples, 4); /* it has had neighbours */
    assert_int_equal(started_with(&o, "y"), 4);
    assert_string_equal(find(&o, "b")->picture[0].sha256, alone);
    assert_string_not_equal(find(&o, "z")->picture[0].sha256, alone);
    stop(p, &o);
}

static void a_bad_job_fails_alone(void **state)
{
    static const struct {
        const char *prompt;
        dr_status status;
        bool starts; /* with the others: 2 pictures beside their 4 */
    } bad[] = {
        { "!fail prepare", DR_EIO, false }, { "!missing", DR_ENOTFOUND, false },
        { "!fail add", DR_EINVAL, true },   { "!fail step", DR_EIO, true },
        { "!fail decode", DR_EIO, true },   { "!fail take", DR_EIO, true },
    };
    (void)state;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        outcome o;
        dr_pipeline *p = start(&o, 32, 8, 1000);
        submit_head(p, &o, job("head", "a", "")); /* the others wait behind it, and become one batch */
        submit(p, job("good-1", "b", ""));
        submit(p, job("bad", bad[i].prompt, "\"images\":2"));
        submit(p, job("good-2", "c", "\"images\":3"));
        go_on(&o);
        assert_true(dr_pipeline_drain(p, 10000));
        assert_int_equal(started_with(&o, "bad"), bad[i].starts ? 6 : 0);
        assert_int_equal(started_with(&o, "good-1"), bad[i].starts ? 6 : 4);
        assert_int_equal(started_with(&o, "good-2"), bad[i].starts ? 6 : 4);
        assert_int_equal(o.results, 4);
        assert_int_equal(find(&o, "bad")->error.status, bad[i].status);
        assert_int_equal(find(&o, "bad")->pictures, 0);
        assert_non_null(strstr(find(&o, "bad")->error.text, "job bad: "));
        assert_int_equal(find(&o, "good-1")->error.status, DR_OK);
        assert_int_equal(find(&o, "good-2")->error.status, DR_OK);
        assert_int_equal(find(&o, "good-2")->pictures, 3);
        stop(p, &o);
    }
}

static void a_lost_device_ends_every_job_with_that_status(void **state)
{
    static const char *const lost[] = { "head", "mate-1", "loses", "mate-2", "other", "late" };
    dr_error err = { .status = DR_OK };
    outcome o;
    dr_pipeline *p = start(&o, 32, 8, 5000);
    (void)state;

    assert_int_equal(dr_pipeline_lost(p, &err), DR_OK);
    submit_head(p, &o, job("head", "a", "\"steps\":150"));
    submit(p, job("mate-1", "b", ""));
    submit(p, job("loses", "!lose device", ""));
    submit(p, job("mate-2", "c", "\"images\":3"));
    submit(p, job("other", "d", "\"steps\":6")); /* of another batch, which waits */
    go_on(&o);
    assert_true(dr_pipeline_drain(p, 10000));
    assert_int_equal(dr_pipeline_lost(p, &err), DR_EDEVICE);
    assert_non_null(strstr(err.text, "the null device is lost"));
    assert_int_equal(started_with(&o, "loses"), 5); /* with its mates */
    assert_int_equal(started_with(&o, "other"), 0);
    submit(p, job("late", "e", ""));
    assert_true(dr_pipeline_drain(p, 10000));
    assert_int_equal(o.results, 6);
    for (size_t i = 0; i < sizeof(lost) / sizeof(lost[0]); i++) {
        assert_int_equal(find(&o, lost[i])->error.status, DR_EDEVICE);
        assert_int_equal(find(&o, lost[i])->pictures, 0);
        assert_int_equal(find(&o, lost[i])->device_lost, i < 4); /* ran then, or were on their way */
    }
    stop(p, &o);
}

/* Pictures of a batch are taken while the next one runs, each once, and whoever can't be had harms nobody else. */
static void pictures_that_can_not_be_taken_fail_their_jobs(void **state)
{
    outcome o;
    dr_pipeline *p = start(&o, 32, 4, 1000);
    char id[16];
    (void)state;

    submit_head(p, &o, job("head", "a", "\"steps\":50"));
    for (int i = 0; i < 12; i++) {
        snprintf(id, sizeof(id), "job-%d", i);
        submit(p,
               job(id, i % 5 == 2 ? "!fail take" : "b", i % 3 ? "\"steps\":2" : "\"images\":6,\"steps\":2"));
    }
    go_on(&o);
    assert_true(dr_pipeline_drain(p, 10000));
    assert_int_equal(o.results, 13);
    for (int i = 0; i < 12; i++) {
        snprintf(id, sizeof(id), "job-%d", i);
        const dr_result *r = find(&o, id);

        assert_int_equal(r->error.status, i % 5 == 2 ? DR_EIO : DR_OK);
        assert_int_equal(r->pictures, i % 5 == 2 ? 0 : i % 3 ? 1 : 6);
        assert_true(r->error.status || r->decode_ns > 0);
    }
    stop(p, &o);
}

static void a_device_lost_at_a_picture_is_told(void **state)
{
    outcome o;
    dr_pipeline *p = start(&o, 32, 4, 1000);
    dr_error err;
    (void)state;

    submit(p, job("loses", "!lose picture", ""));
    assert_true(dr_pipeline_drain(p, 10000)); /* it is taken though nothing follows */
    assert_int_equal(dr_pipeline_lost(p, &err), DR_EDEVICE);
    assert_int_equal(find(&o, "loses")->error.status, DR_EDEVICE);
    assert_true(find(&o, "loses")->device_lost);
    submit(p, job("late", "a", ""));
    assert_true(dr_pipeline_drain(p, 10000));
    assert_int_equal(find(&o, "late")->error.status, DR_EDEVICE);
    assert_false(find(&o, "late")->device_lost);
    stop(p, &o);
}

static void who_may_have_lost_a_device_runs_alone(void **state)
{
    static const char *const suspects[] = { "suspect-1", "suspect-2" };
    outcome o;
    dr_pipeline *p = start(&o, 32, 8, 5000);
    dr_job *suspect;
    (void)state;

    submit_head(p, &o, job("head", "a", "\"steps\":150"));
    for (int i = 0; i < 2; i++) {
        suspect = job(suspects[i], "b", "\"images\":2");
        suspect->device_losses = 1;
        submit(p, suspect);
        submit(p, job(i ? "mate-2" : "mate-1", "c", ""));
    }
    go_on(&o);
    assert_true(dr_pipeline_drain(p, 10000));
    for (int i = 0; i < 2; i++) {
        assert_int_equal(find(&o, suspects[i])->error.status, DR_OK);
        assert_int_equal(find(&o, suspects[i])->batch_samples, 2); /* its own */
        assert_int_equal(find(&o, i ? "mate-2" : "mate-1")->batch_samples, 2);
    }
    stop(p, &o);
}

static void images_count_up_from_the_seed(void **state)
{
    outcome o;
    dr_pipeline *p = start(&o, 4, 2, 0); /* 5 pictures in passes of 2 */
    (void)state;

    submit(p, job("many", "a", "\"seed\":18446744073709551614,\"images\":5"));
    submit(p, job("one", "a", "\"seed\":1"));
    assert_true(dr_pipeline_drain(p, 10000));
    const dr_result *many = find(&o, "many");
    assert_int_equal(many->pictures, 5);
    assert_true(many->picture[1].seed == UINT64_MAX);
    assert_true(many->picture[3].seed == 1);
    assert_int_equal(many->batch_samples, 2);
    assert_string_equal(many->picture[3].sha256, find(&o, "one")->picture[0].sha256);
    assert_string_not_equal(many->picture[3].sha256, many->picture[4].sha256);
    assert_true(many->denoise_ns > 0 && many->decode_ns > 0 && many->encode_ns > 0);
    stop(p, &o);
}

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

/* Where nobody takes results the device stops: two pictures an encoder wait, and no more are drawn. */
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

/* Its result is there while they still run, and their pictures are those that they would have had alone. */
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

/* Also where its batch has more passes than one, and it is not in this one. */
static void a_canceled_job_leaves_all_passes(void **state)
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

/* --- put aside -------------------------------------------------------------------------------- */

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

static void wait_for_results(outcome *o, int count)
{
    int results = 0;

    for (int ms = 0; ms < 60000 && results < count; ms++) {
        usleep(1000);
        pthread_mutex_lock(&o->lock);
        results = o->results;
        pthread_mutex_unlock(&o->lock);
    }
    assert_int_equal(results, count);
}

/* More of them than there is room for jobs; they end by a cancel, a deadline, or without a result. */
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

/* One second of waiting is one look at the models' folder, not a loop. */
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

/* The folder is made while jobs for it wait; they are more than the pipeline has room for. */
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

/* A shortage that passes is nobody's failure; one that lasts can be tried again by who sent the job. */
static void a_shortage_is_waited_out(void **state)
{
    outcome o;
    dr_pipeline *p = start_waiting(&o, 4, 0, NULL);
    (void)state;

    submit(p, job("once", "!short once", "\"images\":2"));
    submit(p, job("for-good", "!short", ""));
    submit(p, job("good", "a", ""));
    assert_true(dr_pipeline_drain(p, 60000)); /* waits for those too */
    assert_int_equal(o.results, 3);
    assert_int_equal(find(&o, "once")->error.status, DR_OK);
    assert_int_equal(find(&o, "once")->pictures, 2);
    assert_int_equal(find(&o, "good")->error.status, DR_OK);
    assert_int_equal(find(&o, "for-good")->error.status, DR_ENOMEM);
    assert_true(find(&o, "for-good")->error.retriable);
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

static void stop_leaves_no_result_and_no_thread(void **state)
{
    outcome o;
    dr_pipeline *p = start(&o, 64, 4, 20000);
    (void)state;

    for (int i = 0; i < 20; i++) {
        char id[16];
        snprintf(id, sizeof(id), "j%d", i);
        submit(p, job(id, "a", "\"steps\":100"));
    }
    usleep(30000);
    stop(p, &o); /* would take 40 s; the test would be killed */
    assert_int_equal(o.results, 0);
}

static void models_do_not_mix(void **state)
{
    outcome o;
    dr_pipeline *p = start(&o, 16, 8, 20000);
    dr_job *other;
    (void)state;

    submit_head(p, &o, job("head", "a", ""));
    submit(p, job("m-1", "a", ""));
    other = job("n-1", "a", "");
    other->model[0] = 'n';
    submit(p, other);
    submit(p, job("m-2", "a", ""));
    submit(p, job("wide", "a", "\"quality\":50"));
    go_on(&o);
    assert_true(dr_pipeline_drain(p, 10000));
    assert_int_equal(find(&o, "m-1")->batch_samples, 3);
    assert_int_equal(find(&o, "n-1")->batch_samples, 1);
    stop(p, &o);
}

static void an_unknown_device_is_refused(void **state)
{
    outcome o = { 0 };
    const dr_pipeline_options options = {
        .engine = { .device = { .name = "abacus" }, .models_dir = "build", .batch_max = 1, .models_max = 1 },
        .jobs_max = 1,
        .on_result = keep_result,
        .arg = &o,
    };
    dr_error err;
    dr_pipeline *p;
    (void)state;

    assert_int_not_equal(dr_pipeline_start(&p, &options, &err), DR_OK);
    assert_null(p);
    assert_non_null(strstr(err.text, "abacus"));
}

/* Each of what is not supported, in the job's result; the null device counts words. */
static void what_is_not_done_as_meant_is_in_the_result(void **state)
{
    static const struct {
        const char *prompt, *more, *first;
        int count;
    } cases[] = {
        { "a red fox (in the snow), 12:30", "", NULL, 0 },
        { "a (red:1.3) fox", "", "prompt: weights like (word:1.3)", 1 },
        { "a ((red: 2 )) fox", "", "prompt: weights like (word:1.3)", 1 },
        { "a (red:blue) fox :1.3)", "", "prompt: weights like (word:1.3)", 1 },
        { "red:1.3) fox (", "", NULL, 0 },
        { "a [red:blue:.5] fox", "", "prompt: changes like", 1 },
        { "a fox <lora:fur:0.8>", "", "prompt: other networks", 1 },
        { "a fox", "\"negative_prompt\":\"(bad:1.2)\"", "negative_prompt: weights", 1 },
        { "a fox", "\"negative_prompt\":\"(bad:1.2)\",\"guidance_scale\":1", NULL, 0 },
        { "a (red:1.3) fox <lora:fur:1> [a:b:3]", "\"negative_prompt\":\"(red:1.3) <lora:fur:1> [a:b:3]\"",
          "prompt: weights", 6 },
    };
    outcome o;
    dr_pipeline *p = start(&o, 64, 4, 100);
    char seventy_five[256] = "", seventy_six[256] = "a";
    (void)state;

    for (int i = 0; i < 75; i++) {
        strcat(seventy_five, " a");
        strcat(seventy_six, " a");
    }
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char id[16];
        snprintf(id, sizeof(id), "%zu", i);
        assert_true(dr_pipeline_submit(p, job(id, cases[i].prompt, cases[i].more)));
    }
    assert_true(dr_pipeline_submit(p, job("75", seventy_five, "")));
    assert_true(dr_pipeline_submit(p, job("76", seventy_six, "")));
    assert_true(dr_pipeline_drain(p, 60000));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char id[16];
        snprintf(id, sizeof(id), "%zu", i);
        const dr_warnings *w = &find(&o, id)->warnings;
        if (w->count != cases[i].count ||
            (w->count && strncmp(w->text[0], cases[i].first, strlen(cases[i].first)) != 0))
            fail_msg("%s: %d, %s", cases[i].prompt, w->count, w->text[0]);
        assert_int_equal(find(&o, id)->error.status, DR_OK);
    }
    assert_int_equal(find(&o, "75")->warnings.count, 0);
    assert_string_equal(find(&o, "76")->warnings.text[0],
                        "prompt: 76 tokens, of which the model reads the first 75");
    stop(p, &o);
}

/* This program is linked so that whoever asks for the cores is told this (Makefile). */
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

/* Of two cores one encodes; the other one does, too, when results wait. */
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
        cmocka_unit_test(jobs_that_wait_run_together),
        cmocka_unit_test(neighbours_change_nothing),
        cmocka_unit_test(a_bad_job_fails_alone),
        cmocka_unit_test(a_lost_device_ends_every_job_with_that_status),
        cmocka_unit_test(pictures_that_can_not_be_taken_fail_their_jobs),
        cmocka_unit_test(a_device_lost_at_a_picture_is_told),
        cmocka_unit_test(who_may_have_lost_a_device_runs_alone),
        cmocka_unit_test(images_count_up_from_the_seed),
        cmocka_unit_test(it_is_bounded),
        cmocka_unit_test(pictures_that_wait_stop_the_device),
        cmocka_unit_test(cancel_ends_waiting_and_running_jobs),
        cmocka_unit_test(a_canceled_job_does_not_wait_for_its_neighbours),
        cmocka_unit_test(a_canceled_job_leaves_all_passes),
        cmocka_unit_test(a_cancellation_means_what_was_sent_before_it),
        cmocka_unit_test(who_waits_for_a_model_is_in_nobodys_way),
        cmocka_unit_test(waiting_for_a_model_takes_no_processor_time),
        cmocka_unit_test(who_has_waited_long_enough_fails),
        cmocka_unit_test(a_model_that_comes_later_is_found),
        cmocka_unit_test(a_shortage_is_waited_out),
        cmocka_unit_test(late_jobs_expire),
        cmocka_unit_test(stop_leaves_no_result_and_no_thread),
        cmocka_unit_test(models_do_not_mix),
        cmocka_unit_test(what_is_not_done_as_meant_is_in_the_result),
        cmocka_unit_test(half_of_the_cores_encode_unless_told_otherwise),
        cmocka_unit_test(who_has_nothing_else_to_do_encodes),
        cmocka_unit_test(an_unknown_device_is_refused),
    };
    dr_error err;
    int failed;

    dr_log_set(DR_LOG_ERROR, DR_LOG_TEXT);
    if (dr_pictures_start(&err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    failed = cmocka_run_group_tests_name("pipeline", tests, NULL, NULL);
    dr_pictures_stop();
    return failed;
}

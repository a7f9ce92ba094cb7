/* pipeline_fixture.h - a pipeline on the null device, and what comes out of it, for the tests.
 *
 * To be included by one file of a program.  The test's thread calls everything but keep_result() and
 * count_event(), which the pipeline's threads call. */
#ifndef DR_TESTS_WORKER_PIPELINE_PIPELINE_FIXTURE_H
#define DR_TESTS_WORKER_PIPELINE_PIPELINE_FIXTURE_H

#include "worker/pictures/picture.h"
#include "worker/pipeline/pipeline.h"
#include "worker/support/clock.h"
#include "worker/support/log.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { RESULTS_MAX = 256 };

/* What came out of a pipeline.  Its threads write under the lock; after dr_pipeline_drain() the test
 * reads. */
typedef struct outcome {
    pthread_mutex_t lock;
    dr_result *result[RESULTS_MAX];
    int step_then[RESULTS_MAX]; /* last_step when the result came */
    int results;
    int queued, started, steps, finished; /* how many events of each kind */
    int last_step;
    bool hold;        /* on_result waits while it is set */
    bool hold_device; /* a batch that has started waits while it is set */
    struct {
        char id[32];
        int batch_samples;
    } batch[RESULTS_MAX]; /* of each job that has started: how many samples its batch has */
} outcome;

static inline void keep_result(void *arg, dr_result *result)
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

static inline void note_start(outcome *o, const dr_job_event *event)
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

static inline void count_event(void *arg, const dr_job_event *event)
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

static inline dr_pipeline *start(outcome *o, int jobs_max, int batch_max, int step_us)
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

static inline void stop(dr_pipeline *p, outcome *o)
{
    dr_pipeline_stop(p);
    for (int i = 0; i < o->results; i++)
        dr_result_free(o->result[i]);
    pthread_mutex_destroy(&o->lock);
}

static inline dr_job *job(const char *id, const char *prompt, const char *more)
{
    char line[512];
    dr_job *out;

    snprintf(line, sizeof(line),
             "{\"id\":\"%s\",\"model\":\"m\",\"prompt\":\"%s\",\"width\":64,\"height\":64%s%s%s}", id, prompt,
             strstr(more, "steps") ? "" : ",\"steps\":4", *more ? "," : "", more);
    assert_int_equal(dr_job_parse(&out, &(dr_job_line){ .text = line, .size = strlen(line) }, NULL, NULL),
                     DR_OK);
    return out;
}

static inline const dr_result *find(const outcome *o, const char *id)
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

static inline void submit(dr_pipeline *p, dr_job *j)
{
    assert_true(dr_pipeline_submit(p, j));
}

static inline void wait_until_some_have_started(outcome *o, int count)
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

/* Waits until the device is busy, however slowly this machine begins. */
static inline void wait_until_one_has_started(outcome *o)
{
    wait_until_some_have_started(o, 1);
}

/* Submits a job that keeps the device busy until go_on().  Jobs that are submitted meanwhile wait together,
 * however slow this machine is. */
static inline void submit_head(dr_pipeline *p, outcome *o, dr_job *j)
{
    pthread_mutex_lock(&o->lock);
    o->hold_device = true;
    pthread_mutex_unlock(&o->lock);
    submit(p, j);
    wait_until_one_has_started(o);
}

static inline void go_on(outcome *o)
{
    pthread_mutex_lock(&o->lock);
    o->hold_device = false;
    pthread_mutex_unlock(&o->lock);
}

/* The number of pictures with which the job's batch started, whatever became of it; 0: it never started. */
static inline int started_with(const outcome *o, const char *id)
{
    for (int i = 0; i < o->started; i++)
        if (strcmp(o->batch[i].id, id) == 0)
            return o->batch[i].batch_samples;
    return 0;
}

static inline void wait_for_results(outcome *o, int count)
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

/* Before the first and after the last test of a program: what encodes pictures, and a quiet log. */
static inline int begin_tests(void **state)
{
    dr_error err;
    (void)state;

    dr_log_set(DR_LOG_ERROR, DR_LOG_TEXT);
    if (!dr_pictures_start(&err))
        return 0;
    fprintf(stderr, "%s\n", err.text);
    return 1;
}

static inline int end_tests(void **state)
{
    (void)state;
    dr_pictures_stop();
    return 0;
}

#endif

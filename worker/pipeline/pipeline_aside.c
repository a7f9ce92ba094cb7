/* pipeline_aside.c - jobs that can't be run now, and may be later.
 *
 *     finishing, failed -> aside -> waiting, to be run again
 *                                -> finishing, with what was wrong: it has waited long enough
 *
 * Whatever fails comes by the finish threads, so here is the one place where it is decided.  What the failure was stays in
 * the result until the job is run again. */
#include "worker/pipeline/pipeline_work.h"
#include "worker/support/clock.h"
#include "worker/support/log.h"

#include <stdio.h>
#include <string.h>

#define SECOND_NS 1000000000ll

enum { LOOKS_LOG2_MAX = 5 }; /* 32 s: to find that a model can't be loaded may cost as much as loading it */

static bool wants_model(const dr_result *result)
{
    return result->error.status == DR_ENOTFOUND && strcmp(result->refusal.field, "model") == 0;
}

static bool is_short(const dr_result *result)
{
    return result->error.status == DR_ENOMEM && result->error.retriable;
}

static bool has_waited_enough(const dr_pipeline *p, const dr_work *work, int64_t now_ns)
{
    if (!wants_model(work->result))
        return work->shortages >= DR_SHORTAGE_TRIES_MAX;
    return p->options.model_wait_s == 0 ||
           (work->asides > 0 && now_ns - work->aside_since_ns >= p->options.model_wait_s * SECOND_NS);
}

static int64_t first_wait_ns(const dr_pipeline *p, const dr_result *result)
{
    return wants_model(result) || p->options.shortage_ms == 0 ? SECOND_NS
                                                              : p->options.shortage_ms * 1000000ll;
}

/* Only the first of those that want a model is worth a warning.  Under the lock. */
static dr_log_level level_for(const dr_pipeline *p, const dr_result *result)
{
    const dr_work *other;

    TAILQ_FOREACH(other, &p->aside, link)
    if (wants_model(result) && wants_model(other->result) &&
        strcmp(other->result->job->model, result->job->model) == 0)
        return DR_LOG_DEBUG;
    return DR_LOG_WARN;
}

bool dr_pipeline_put_aside(dr_pipeline *p, dr_work *work)
{
    const int64_t now_ns = dr_clock_ns();
    dr_result *result = work->result;
    bool done = false;

    if (!wants_model(result) && !is_short(result))
        return false;
    work->shortages += is_short(result);
    pthread_mutex_lock(&p->lock);
    if (p->aside_count < DR_ASIDE_JOBS_MAX && !p->stopping && !work->canceled &&
        !has_waited_enough(p, work, now_ns)) {
        dr_log(level_for(p, result), "worker", "put aside, to be tried again: %s", result->error.text);
        if (work->asides == 0)
            work->aside_since_ns = now_ns;
        work->look_ns = now_ns + (first_wait_ns(p, result)
                                  << (work->asides < LOOKS_LOG2_MAX ? work->asides : LOOKS_LOG2_MAX));
        work->asides++;
        TAILQ_INSERT_TAIL(&p->aside, work, link);
        p->aside_count++;
        p->in_flight -= wants_model(result); /* its place is free; where memory is short it is not */
        pthread_cond_broadcast(&p->room);
        pthread_cond_signal(&p->work);
        done = true;
    }
    pthread_mutex_unlock(&p->lock);
    return done;
}

/* As it was before it was run, and on no list.  Under the lock. */
static void take(dr_pipeline *p, dr_work *work)
{
    dr_result *result = work->result;

    TAILQ_REMOVE(&p->aside, work, link);
    p->aside_count--;
    p->returning -= work->returning && wants_model(result);
    p->in_flight += wants_model(result);
    work->returning = work->failed = work->ended = work->had_device = false;
    result->error = (dr_error){ .status = DR_OK };
    result->refusal = (dr_refusal){ .field = "" };
    result->device_lost = false;
    result->batch_samples = 0;
    result->queued_ns = result->denoise_ns = result->decode_ns = result->encode_ns = 0;
}

static void finish(dr_pipeline *p, dr_work *work, const dr_error *err, const dr_refusal *refusal)
{
    take(p, work);
    work->result->queued_ns = dr_clock_ns() - work->accepted_ns;
    dr_work_fail(work, err, refusal);
    dr_pipeline_add_finishing(p, work);
}

void dr_pipeline_end_aside(dr_pipeline *p, dr_work *work, dr_status status, const char *why)
{
    dr_error err;

    dr_fail(&err, status, "%s", why);
    finish(p, work, &err, NULL);
}

/* Its model has not come. */
static void give_up(dr_pipeline *p, dr_work *work)
{
    const dr_refusal refusal = work->result->refusal;
    dr_error err;

    dr_fail(&err, DR_ENOTFOUND, "waited %d s for its model: %s", p->options.model_wait_s,
            work->result->error.text);
    finish(p, work, &err, &refusal);
}

static void end_those_whose_time_is_up(dr_pipeline *p, int64_t now_ns)
{
    dr_work *work, *next;

    for (work = TAILQ_FIRST(&p->aside); work; work = next) {
        next = TAILQ_NEXT(work, link);
        if (work->deadline_ns <= now_ns)
            dr_pipeline_end_aside(p, work, DR_EEXPIRED, "its deadline passed while it was put aside");
        else if (!work->returning && has_waited_enough(p, work, now_ns))
            give_up(p, work);
    }
}

static dr_work *due(const dr_pipeline *p, int64_t now_ns)
{
    dr_work *work;

    TAILQ_FOREACH(work, &p->aside, link)
    if (!work->returning && work->look_ns <= now_ns)
        return work;
    return NULL;
}

int64_t dr_pipeline_next_look_ns(const dr_pipeline *p)
{
    int64_t next_ns = dr_clock_ns() + SECOND_NS;
    const dr_work *work;

    TAILQ_FOREACH(work, &p->aside, link)
    if (!work->returning && work->look_ns < next_ns)
        next_ns = work->look_ns;
    return next_ns;
}

static void return_it(dr_pipeline *p, dr_work *work)
{
    work->returning = true;
    p->returning += wants_model(work->result);
}

/* All that are due and want that model. */
static void look_for_model(dr_pipeline *p, const char *name, int64_t now_ns)
{
    int found = 0;
    dr_work *work;

    pthread_mutex_unlock(&p->lock); /* a file system may take its time */
    const bool there = dr_engine_has_model(p->engine, name);
    pthread_mutex_lock(&p->lock);
    TAILQ_FOREACH(work, &p->aside, link)
    {
        if (work->returning || work->look_ns > now_ns || !wants_model(work->result) ||
            strcmp(work->result->job->model, name) != 0)
            continue;
        work->look_ns = now_ns + SECOND_NS;
        if (there)
            return_it(p, work);
        found += there;
    }
    if (found > 0)
        dr_log_info("worker", "model %s is there now: %d job%s that waited for it", name, found,
                    found == 1 ? "" : "s");
}

static void return_those_with_room(dr_pipeline *p)
{
    dr_work *work, *next;

    for (work = TAILQ_FIRST(&p->aside); work; work = next) {
        next = TAILQ_NEXT(work, link);
        if (!work->returning || (wants_model(work->result) && p->in_flight >= p->options.jobs_max))
            continue;
        take(p, work);
        dr_pipeline_enqueue(p, work);
    }
    pthread_cond_broadcast(&p->room);
}

void dr_pipeline_look_aside(dr_pipeline *p)
{
    const int64_t now_ns = dr_clock_ns();
    char name[DR_NAME_BYTES_MAX + 1];
    dr_work *work;

    if (p->aside_count == 0)
        return;
    end_those_whose_time_is_up(p, now_ns);
    while ((work = due(p, now_ns))) {
        if (!wants_model(work->result)) {
            return_it(p, work);
            continue;
        }
        snprintf(name, sizeof(name), "%s", work->result->job->model);
        look_for_model(p, name, now_ns);
    }
    return_those_with_room(p);
}

#include "worker/pipeline/aside.h"

#include "worker/support/clock.h"
#include "worker/support/log.h"

#include <stdio.h>
#include <string.h>

#define SECOND_NS 1000000000ll

/* The wait doubles that often, up to 32 s.  It grows because a look can be expensive: finding that a model
 * cannot be loaded may cost as much as loading it. */
enum { DOUBLINGS_MAX = 5 };

static bool wants_model(const dr_result *result)
{
    return result->error.status == DR_ENOTFOUND && strcmp(result->refusal.field, "model") == 0;
}

static bool is_short(const dr_result *result)
{
    return result->error.status == DR_ENOMEM && result->error.retriable;
}

static bool has_waited_enough(const dr_works *w, const dr_work *work, int64_t now_ns)
{
    if (!wants_model(work->result))
        return work->shortages >= DR_SHORTAGE_TRIES_MAX;
    return w->options.model_wait_s == 0 ||
           (work->asides > 0 && now_ns - work->aside_since_ns >= w->options.model_wait_s * SECOND_NS);
}

static int64_t first_wait_ns(const dr_works *w, const dr_result *result)
{
    return wants_model(result) || w->options.shortage_ms == 0 ? SECOND_NS
                                                              : w->options.shortage_ms * 1000000ll;
}

/* Of the jobs that want the same model, only the first one is worth a warning.  Under the lock. */
static dr_log_level level_for(const dr_works *w, const dr_result *result)
{
    const dr_work *other;

    TAILQ_FOREACH(other, &w->list[DR_ASIDE], link)
    if (wants_model(result) && wants_model(other->result) &&
        strcmp(other->result->job->model, result->job->model) == 0)
        return DR_LOG_DEBUG;
    return DR_LOG_WARN;
}

static int64_t wait_ns(const dr_works *w, const dr_work *work)
{
    const int doublings = work->asides < DOUBLINGS_MAX ? work->asides : DOUBLINGS_MAX;

    return first_wait_ns(w, work->result) << doublings;
}

/* Under the lock. */
static bool may_be_put(const dr_works *w, const dr_work *work, int64_t now_ns)
{
    return w->count[DR_ASIDE] < DR_ASIDE_JOBS_MAX && !w->stopping && !work->canceled &&
           !has_waited_enough(w, work, now_ns);
}

bool dr_aside_put(dr_works *w, dr_work *work)
{
    const int64_t now_ns = dr_clock_ns();
    dr_result *result = work->result;
    bool put = false;

    dr_assert(work->failed);
    if (!wants_model(result) && !is_short(result))
        return false;
    work->shortages += is_short(result);
    pthread_mutex_lock(&w->lock);
    if (may_be_put(w, work, now_ns)) {
        dr_log(level_for(w, result), "worker", "this job waits and is tried again later: %s",
               result->error.text);
        if (work->asides == 0)
            work->aside_since_ns = now_ns;
        work->look_ns = now_ns + wait_ns(w, work);
        work->asides++;
        dr_works_move(w, work, DR_ENCODING, DR_ASIDE);
        w->aside_for_model += wants_model(result);
        w->in_flight -= wants_model(result); /* a work that waits for memory keeps its place */
        dr_works_check(w);
        pthread_cond_broadcast(&w->room);
        pthread_cond_signal(&w->to_denoise);
        put = true;
    }
    pthread_mutex_unlock(&w->lock);
    return put;
}

/* Puts a work that leaves ASIDE next back into its state before it ran, with a place in in_flight.
 * Under the lock. */
static void reset(dr_works *w, dr_work *work)
{
    dr_result *result = work->result;
    const bool for_model = wants_model(result);

    dr_assert(work->stage == DR_ASIDE && work->failed && work->pictures_under_way == 0);
    w->returning -= work->can_return && for_model;
    w->aside_for_model -= for_model;
    w->in_flight += for_model;
    work->can_return = work->failed = work->batch_ended = work->had_device = false;
    result->error = (dr_error){ .status = DR_OK };
    result->refusal = (dr_refusal){ .field = "" };
    result->device_lost = false;
    result->batch_samples = 0;
    result->queued_ns = result->denoise_ns = result->decode_ns = result->encode_ns = 0;
}

/* The work leaves ASIDE with this answer.  Under the lock. */
static void end_with(dr_works *w, dr_work *work, const dr_error *err, const dr_refusal *refusal)
{
    reset(w, work);
    work->result->queued_ns = dr_clock_ns() - work->accepted_ns;
    dr_work_fail(work, err, refusal);
    dr_works_finish(w, work, DR_ASIDE);
    dr_works_check(w);
}

static void end(dr_works *w, dr_work *work, dr_status status, const char *why)
{
    dr_error err;

    dr_fail(&err, status, "%s", why);
    end_with(w, work, &err, NULL);
}

/* The work has waited long enough, and its model has not come. */
static void give_up(dr_works *w, dr_work *work)
{
    const dr_refusal refusal = work->result->refusal;
    dr_error err;

    dr_fail(&err, DR_ENOTFOUND, "waited %d s for its model: %s", w->options.model_wait_s,
            work->result->error.text);
    end_with(w, work, &err, &refusal);
}

void dr_aside_cancel(dr_works *w, const char *job_id, int64_t sent_until_ms)
{
    dr_work *work, *next;

    for (work = TAILQ_FIRST(&w->list[DR_ASIDE]); work; work = next) {
        next = TAILQ_NEXT(work, link);
        if (dr_work_is_meant(work, job_id, sent_until_ms))
            end(w, work, DR_ECANCELED, "canceled while it was put aside");
    }
}

static void end_those_whose_time_is_up(dr_works *w, int64_t now_ns)
{
    dr_work *work, *next;

    for (work = TAILQ_FIRST(&w->list[DR_ASIDE]); work; work = next) {
        next = TAILQ_NEXT(work, link);
        if (work->deadline_ns <= now_ns)
            end(w, work, DR_EEXPIRED, "its deadline passed while it was put aside");
        else if (!work->can_return && has_waited_enough(w, work, now_ns))
            give_up(w, work);
    }
}

/* A work ASIDE at which it is time to look; NULL: there is none. */
static dr_work *find_due(const dr_works *w, int64_t now_ns)
{
    dr_work *work;

    TAILQ_FOREACH(work, &w->list[DR_ASIDE], link)
    if (!work->can_return && work->look_ns <= now_ns)
        return work;
    return NULL;
}

int64_t dr_aside_next_look_ns(const dr_works *w)
{
    int64_t next_ns = dr_clock_ns() + SECOND_NS;
    const dr_work *work;

    TAILQ_FOREACH(work, &w->list[DR_ASIDE], link)
    if (!work->can_return && work->look_ns < next_ns)
        next_ns = work->look_ns;
    return next_ns;
}

/* The work can run: it leaves ASIDE as soon as there is room.  Under the lock. */
static void let_return(dr_works *w, dr_work *work)
{
    dr_assert(!work->can_return);
    work->can_return = true;
    w->returning += wants_model(work->result);
}

/* Looks for the model of that name.  The answer counts for all works that want this model and are due. */
static void look_for_model(dr_works *w, dr_engine *engine, const char *name, int64_t now_ns)
{
    int found = 0;
    dr_work *work;

    pthread_mutex_unlock(&w->lock); /* a file system may take its time */
    const bool there = dr_engine_has_model(engine, name);
    pthread_mutex_lock(&w->lock);
    TAILQ_FOREACH(work, &w->list[DR_ASIDE], link)
    {
        if (work->can_return || work->look_ns > now_ns || !wants_model(work->result) ||
            strcmp(work->result->job->model, name) != 0)
            continue;
        dr_assert(work->stage == DR_ASIDE && work->failed);
        work->look_ns = now_ns + SECOND_NS;
        if (there)
            let_return(w, work);
        found += there;
    }
    if (found > 0)
        dr_log_info("worker", "model %s is there now: %d job%s that waited for it", name, found,
                    found == 1 ? "" : "s");
}

/* Works ASIDE that can run become WAITING, as many as there is room for. */
static void enqueue_those_with_room(dr_works *w)
{
    dr_work *work, *next;

    for (work = TAILQ_FIRST(&w->list[DR_ASIDE]); work; work = next) {
        next = TAILQ_NEXT(work, link);
        if (!work->can_return || (wants_model(work->result) && w->in_flight >= w->options.jobs_max))
            continue;
        reset(w, work);
        dr_works_enqueue(w, work, DR_ASIDE);
    }
    pthread_cond_broadcast(&w->room);
}

void dr_aside_look(dr_works *w, dr_engine *engine)
{
    const int64_t now_ns = dr_clock_ns();
    char name[DR_NAME_BYTES_MAX + 1];
    dr_work *work;

    if (w->count[DR_ASIDE] == 0)
        return;
    end_those_whose_time_is_up(w, now_ns);
    while ((work = find_due(w, now_ns))) {
        if (!wants_model(work->result)) {
            let_return(w, work);
            continue;
        }
        snprintf(name, sizeof(name), "%s", work->result->job->model);
        look_for_model(w, engine, name, now_ns);
    }
    enqueue_those_with_room(w);
}

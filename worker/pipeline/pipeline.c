#include "worker/pipeline/pipeline.h"

#include "worker/pipeline/aside.h"
#include "worker/pipeline/denoise.h"
#include "worker/pipeline/finish.h"
#include "worker/support/clock.h"

#include <stdlib.h>

struct dr_pipeline {
    dr_works works;
    dr_denoiser *denoiser;
    dr_finishers *finishers;
};

/* --- in, and waiting ------------------------------------------------------------------- */

bool dr_pipeline_submit(dr_pipeline *p, dr_job *job)
{
    return dr_works_accept(&p->works, job);
}

enum { FOREVER = -1 };

/* When a wait of timeout_ms ends, by dr_clock_ms(). */
static int64_t end_of_wait_ms(int timeout_ms)
{
    return timeout_ms < 0 ? FOREVER : dr_clock_ms() + timeout_ms;
}

/* Waits for a signal that a work has left the pipeline; false: until_ms has passed.  Under the lock. */
static bool wait_room(dr_works *w, int64_t until_ms)
{
    if (until_ms == FOREVER)
        return pthread_cond_wait(&w->room, &w->lock) == 0;
    return dr_cond_wait_until(&w->room, &w->lock, until_ms);
}

bool dr_pipeline_wait_room(dr_pipeline *p, int timeout_ms)
{
    const int64_t until_ms = end_of_wait_ms(timeout_ms);
    dr_works *w = &p->works;
    bool in_time = true;

    pthread_mutex_lock(&w->lock);
    while (in_time && !dr_works_have_room(w))
        in_time = wait_room(w, until_ms);
    const bool room = dr_works_have_room(w);
    pthread_mutex_unlock(&w->lock);
    return room;
}

bool dr_pipeline_drain(dr_pipeline *p, int timeout_ms)
{
    const int64_t until_ms = end_of_wait_ms(timeout_ms);
    dr_works *w = &p->works;
    bool in_time = true;

    pthread_mutex_lock(&w->lock);
    while (in_time && w->in_flight > 0)
        in_time = wait_room(w, until_ms);
    const bool drained = w->in_flight == 0;
    pthread_mutex_unlock(&w->lock);
    return drained;
}

/* --- cancel ------------------------------------------------------------------------------ */

/* Under the lock. */
static void cancel_running(dr_works *w, const char *job_id, int64_t sent_until_ms)
{
    dr_work *work;

    TAILQ_FOREACH(work, &w->list[DR_RUNNING], link)
    if (dr_work_is_meant(work, job_id, sent_until_ms))
        work->canceled = true;
}

/* Under the lock. */
static void cancel_waiting(dr_works *w, const char *job_id, int64_t sent_until_ms)
{
    dr_work *work, *next;

    for (work = TAILQ_FIRST(&w->list[DR_WAITING]); work; work = next) {
        next = TAILQ_NEXT(work, link);
        if (!dr_work_is_meant(work, job_id, sent_until_ms))
            continue;
        const bool was_waiting = dr_scheduler_remove(w->scheduler, work);
        dr_assert(was_waiting);
        dr_works_end_waiting(w, work, DR_ECANCELED, "canceled while it waited");
    }
}

void dr_pipeline_cancel(dr_pipeline *p, const char *job_id, int64_t sent_until_ms)
{
    dr_works *w = &p->works;

    pthread_mutex_lock(&w->lock);
    cancel_running(w, job_id, sent_until_ms);
    cancel_waiting(w, job_id, sent_until_ms);
    dr_aside_cancel(w, job_id, sent_until_ms);
    dr_works_check(w);
    pthread_mutex_unlock(&w->lock);
}

/* --- how it stands ------------------------------------------------------------------------- */

dr_status dr_pipeline_lost(dr_pipeline *p, dr_error *err)
{
    return dr_works_lost(&p->works, err);
}

dr_device_load dr_pipeline_load(dr_pipeline *p)
{
    return dr_denoiser_load(p->denoiser);
}

int dr_pipeline_aside(dr_pipeline *p)
{
    pthread_mutex_lock(&p->works.lock);
    const int count = p->works.count[DR_ASIDE];
    pthread_mutex_unlock(&p->works.lock);
    return count;
}

int dr_pipeline_in_flight(dr_pipeline *p)
{
    pthread_mutex_lock(&p->works.lock);
    const int in_flight = p->works.in_flight;
    pthread_mutex_unlock(&p->works.lock);
    return in_flight;
}

/* --- start and stop -------------------------------------------------------------------------- */

dr_status dr_pipeline_start(dr_pipeline **out, const dr_pipeline_options *options, dr_error *err)
{
    const dr_finish_counts counts = dr_finish_counts_of(options->finish_threads);
    dr_pipeline *p = calloc(1, sizeof(*p));
    dr_status rc;

    *out = NULL;
    if (!p)
        return dr_fail(err, DR_ENOMEM, "no memory for the pipeline");
    rc = dr_works_init(&p->works, options, counts.encoders, counts.threads, err);
    if (!rc)
        rc = dr_denoiser_start(&p->denoiser, &p->works, err);
    if (!rc)
        rc = dr_finishers_start(&p->finishers, &p->works, err);
    if (rc) {
        dr_pipeline_stop(p);
        return rc;
    }
    *out = p;
    return DR_OK;
}

void dr_pipeline_stop(dr_pipeline *p)
{
    if (!p)
        return;
    dr_works_stop(&p->works);
    dr_denoiser_join(p->denoiser);
    dr_finishers_join(p->finishers);
    dr_works_free(&p->works);
    free(p);
}

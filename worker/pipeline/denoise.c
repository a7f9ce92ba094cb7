#include "worker/pipeline/denoise.h"

#include "worker/pipeline/aside.h"
#include "worker/pipeline/batch.h"
#include "worker/pipeline/decode.h"
#include "worker/support/clock.h"
#include "worker/support/thread.h"

#include <stdlib.h>

struct dr_denoiser {
    dr_works *works;
    bool started; /* the thread is to be joined */
    pthread_t thread;

    /* Under the works' lock: */
    bool opened; /* the thread has tried to open the engine; the answer: */
    dr_error open_error;
    dr_device_load load; /* after the last batch */

    /* Used by the denoise thread only: */
    dr_decoder decoder; /* it has the engine */
    uint64_t batches;
};

/* For the scheduler.  Under the lock. */
static int samples_max(void *arg, const dr_batch_key *key)
{
    const dr_denoiser *d = arg;
    const dr_work *work;

    TAILQ_FOREACH(work, &d->works->list[DR_WAITING], link)
    if (dr_batch_key_equal(&work->key, key))
        return dr_engine_batch_max(d->decoder.engine, work->result->job);
    dr_assert(!"a key that no waiting job has");
    return 1;
}

/* The works that the scheduler has given out leave WAITING.  Under the lock. */
static void move(dr_works *w, const dr_batch *batch)
{
    for (int i = 0; i < batch->jobs; i++) {
        dr_work *work = batch->job[i];

        if (batch->decision == DR_EXPIRE) {
            dr_works_end_waiting(w, work, DR_EEXPIRED, "its deadline passed while it waited");
        } else {
            dr_assert(dr_batch_key_equal(&work->key, &batch->key));
            dr_works_move(w, work, DR_WAITING, DR_RUNNING);
        }
    }
    dr_works_check(w);
}

/* Waits until a work is WAITING, or until it is time to look after the works ASIDE.  Under the lock. */
static void wait_for_work(dr_works *w)
{
    if (w->count[DR_ASIDE] > 0)
        dr_cond_wait_until(&w->to_denoise, &w->lock, dr_aside_next_look_ns(w) / 1000000 + 1);
    else
        pthread_cond_wait(&w->to_denoise, &w->lock);
}

/* Waits for something to do.  Mostly this is a batch, and its works are RUNNING now.  If batch->jobs is 0,
 * the pictures that are under way are to be taken.  False: the pipeline is stopping. */
static bool wait_for_batch(dr_denoiser *d, dr_batch *batch)
{
    dr_engine *engine = d->decoder.engine;
    const dr_device_load load = dr_engine_load(engine);
    dr_works *w = d->works;
    bool found = false;

    pthread_mutex_lock(&w->lock);
    d->load = load;
    while (!w->stopping && !found) {
        dr_aside_look(w, engine);
        *batch = dr_scheduler_next(w->scheduler, dr_clock_ns(), samples_max, d);
        move(w, batch);
        found = batch->decision == DR_RUN_BATCH || (batch->decision == DR_IDLE && d->decoder.count > 0);
        if (batch->decision == DR_IDLE && !found) {
            dr_engine_pause(engine);
            wait_for_work(w);
        }
    }
    pthread_mutex_unlock(&w->lock);
    return found;
}

static dr_status open_engine(dr_denoiser *d)
{
    dr_error err = { .status = DR_OK };
    const dr_status rc = dr_engine_open(&d->decoder.engine, &d->works->options.engine, &err);

    pthread_mutex_lock(&d->works->lock);
    d->open_error = err;
    d->open_error.status = rc;
    d->opened = true;
    pthread_cond_broadcast(&d->works->room);
    pthread_mutex_unlock(&d->works->lock);
    return rc;
}

static void *denoise(void *arg)
{
    dr_denoiser *d = arg;
    dr_batch batch;

    const dr_status rc = open_engine(d);
    while (rc == DR_OK && wait_for_batch(d, &batch)) {
        if (batch.jobs > 0)
            dr_batch_run(&d->decoder, ++d->batches, (dr_work *const *)batch.job, batch.jobs);
        else
            dr_decoder_take_all(&d->decoder);
    }
    dr_engine_close(d->decoder.engine);
    return NULL;
}

dr_status dr_denoiser_start(dr_denoiser **out, dr_works *w, dr_error *err)
{
    dr_denoiser *d = calloc(1, sizeof(*d));

    *out = d;
    if (!d)
        return dr_fail(err, DR_ENOMEM, "no memory for the denoise thread");
    d->works = d->decoder.works = w;
    d->started = dr_thread_start(&d->thread, denoise, d);
    if (!d->started)
        return dr_fail(err, DR_ENOMEM, "no memory for the denoise thread");
    pthread_mutex_lock(&w->lock);
    while (!d->opened)
        pthread_cond_wait(&w->room, &w->lock);
    const dr_error opened = d->open_error;
    pthread_mutex_unlock(&w->lock);
    if (opened.status && err)
        *err = opened;
    return opened.status;
}

void dr_denoiser_join(dr_denoiser *d)
{
    if (!d)
        return;
    if (d->started)
        pthread_join(d->thread, NULL);
    free(d);
}

dr_device_load dr_denoiser_load(dr_denoiser *d)
{
    pthread_mutex_lock(&d->works->lock);
    const dr_device_load load = d->load;
    pthread_mutex_unlock(&d->works->lock);
    return load;
}

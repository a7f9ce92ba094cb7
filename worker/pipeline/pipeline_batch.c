/* pipeline_batch.c - one batch on the engine.
 *
 *     1 prepare each job; those the model refuses leave
 *     2 their samples, at most what one pass holds at a time:
 *         begin, add, step until done, begin the pictures
 *       before every step, jobs that were canceled or are too late leave, and pictures of the batch before are taken
 *     3 where a pass fails as a whole, each of its jobs is run again, alone; but where the device is
 *       lost, they and all that come after them end at once, and their results say who was there
 */
#include "worker/pipeline/pipeline_work.h"
#include "worker/support/clock.h"
#include "worker/support/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STEP_EVENT_INTERVAL_MS = 500 };

/* One picture of one job in the pass that runs. */
typedef struct slot {
    dr_work *work;
    int image;
    int sample; /* the engine's name for it; -1: not, or no longer, in the engine */
} slot;

typedef struct pass {
    dr_pipeline *p;
    dr_work *const *work; /* all whose pictures are in this pass, or were, or will be in another */
    int count;
    slot slot[DR_SAMPLES_MAX];
    int slots;
    int64_t started_ns, told_ns;
    dr_error failure; /* of the pass as a whole */
} pass;

static void leave(pass *run, dr_work *work)
{
    for (int i = 0; i < run->slots; i++)
        if (run->slot[i].work == work && run->slot[i].sample >= 0) {
            dr_engine_drop(run->p->engine, run->slot[i].sample);
            run->slot[i].sample = -1;
        }
}

void dr_pipeline_note_loss(dr_pipeline *p, const dr_error *err)
{
    if (err->status != DR_EDEVICE)
        return;
    pthread_mutex_lock(&p->lock);
    if (p->lost.status == DR_OK)
        p->lost = *err;
    pthread_mutex_unlock(&p->lock);
}

/* The engine's answer for one job: it fails, the pass goes on. */
static void fail_one(pass *run, dr_work *work, const dr_error *err)
{
    dr_pipeline_note_loss(run->p, err);
    leave(run, work);
    dr_work_fail(work, err, NULL);
}

/* Canceled, or past its deadline: says which in *err. */
static bool is_over(dr_pipeline *p, const dr_work *work, dr_error *err)
{
    bool canceled;

    pthread_mutex_lock(&p->lock);
    canceled = work->canceled;
    pthread_mutex_unlock(&p->lock);
    if (canceled)
        dr_fail(err, DR_ECANCELED, "canceled while it ran");
    else if (work->deadline_ns <= dr_clock_ns())
        dr_fail(err, DR_EEXPIRED, "its deadline passed while it ran");
    else
        return false;
    return true;
}

static void let_go(pass *run)
{
    dr_error err;

    for (int i = 0; i < run->count; i++) {
        dr_work *work = run->work[i];

        if (!work->result)
            continue;
        if (work->failed) /* an earlier picture of it could not be had */
            leave(run, work);
        else if (is_over(run->p, work, &err))
            fail_one(run, work, &err);
        if (work->failed && work->under_way == 0)
            dr_pipeline_answer(run->p, work);
    }
}

static bool is_stopping(dr_pipeline *p)
{
    bool stopping;

    pthread_mutex_lock(&p->lock);
    stopping = p->stopping;
    pthread_mutex_unlock(&p->lock);
    return stopping;
}

static void tell_step(pass *run, bool last)
{
    const int64_t now = dr_clock_ns();

    if (!last && now - run->told_ns < STEP_EVENT_INTERVAL_MS * 1000000ll)
        return;
    run->told_ns = now;
    for (int i = 0; i < run->slots; i++) {
        const slot *s = &run->slot[i];
        if (s->sample < 0 || s->image > 0) /* a job is told once, by its first picture */
            continue;
        const dr_progress progress = dr_engine_progress(run->p->engine, s->sample);
        dr_pipeline_tell(run->p, &(dr_job_event){ .kind = DR_EVENT_STEP,
                                                  .job = s->work->result->job,
                                                  .step = progress.step,
                                                  .steps = progress.steps,
                                                  .batch_samples = run->slots });
    }
}

/* False: the pass failed as a whole (run->failure), or the pipeline is stopping. */
static bool develop(pass *run)
{
    dr_pipeline *p = run->p;
    bool more = true;

    for (int i = 0; i < run->slots; i++) {
        slot *s = &run->slot[i];
        dr_error err;
        if (!s->work->failed && dr_engine_add(p->engine, s->work->result->job, s->image, &s->sample, &err)) {
            s->sample = -1;
            fail_one(run, s->work, &err);
        }
    }
    while (more) {
        if (is_stopping(p))
            return false;
        let_go(run);
        if (dr_engine_step(p->engine, &more, &run->failure))
            return false;
        tell_step(run, !more);
        dr_pipeline_take_pictures(p, false);
    }
    return true;
}

/* One that is there at once, as on the CPU, is taken at once. */
static void begin_pictures(pass *run)
{
    const int64_t denoise_ns = dr_clock_ns() - run->started_ns;
    dr_error err;

    dr_pipeline_take_pictures(run->p, true); /* of the batch before: there is room for one more only */
    for (int i = 0; i < run->slots; i++) {
        slot *s = &run->slot[i];

        if (s->work->result && (i == 0 || s->work != run->slot[i - 1].work))
            s->work->result->denoise_ns += denoise_ns; /* the pass, once for each job in it */
        if (s->sample >= 0 && s->work->failed)
            leave(run, s->work);
        if (s->sample < 0)
            continue;
        if (dr_pipeline_begin_picture(run->p, s->work, s->image, s->sample, &err)) {
            fail_one(run, s->work, &err);
            continue;
        }
        s->sample = -1;
        dr_pipeline_take_pictures(run->p, false);
    }
}

/* One pass for at most DR_SAMPLES_MAX pictures; then there are none in it.  False: as develop(). */
static bool run_pass(pass *run)
{
    dr_pipeline *p = run->p;
    bool developed;

    run->started_ns = run->told_ns = dr_clock_ns();
    run->failure = (dr_error){ .status = DR_OK };
    if (dr_engine_begin(p->engine, run->slot[0].work->result->job, run->slots, &run->failure))
        return false;
    developed = develop(run);
    if (developed)
        begin_pictures(run);
    run->slots = 0;
    dr_engine_end(p->engine);
    return developed;
}

/* All pictures of these prepared jobs, in passes of what the engine holds. */
static bool run_passes(dr_pipeline *p, dr_work *const *work, int count, int samples, dr_error *failure)
{
    const int room = dr_engine_batch_max(p->engine, work[0]->result->job);
    pass run = { .p = p, .work = work, .count = count };
    bool fine = true;

    for (int i = 0; i < count; i++)
        for (int image = 0; fine && !work[i]->failed && image < work[i]->result->job->images; image++) {
            run.slot[run.slots++] = (slot){ work[i], image, -1 };
            if (run.slots == room)
                fine = run_pass(&run);
        }
    if (fine && run.slots > 0)
        fine = run_pass(&run);
    if (!fine)
        *failure = run.failure;
    for (int i = 0; fine && i < count; i++)
        if (work[i]->result)
            work[i]->result->batch_samples = samples < room ? samples : room;
    return fine;
}

/* In its result. */
static void warn(dr_pipeline *p, dr_result *result)
{
    const dr_job *job = result->job;
    dr_warnings *w = &result->warnings;

    *w = (dr_warnings){ .count = 0 };
    dr_warnings_of_prompt(w, "prompt", job->prompt, job->prompt_bytes,
                          dr_engine_count_tokens(p->engine, job, job->prompt, job->prompt_bytes));
    if (job->guidance_scale > 1) /* else nobody reads it */
        dr_warnings_of_prompt(w, "negative_prompt", job->negative_prompt, job->negative_prompt_bytes,
                              dr_engine_count_tokens(p->engine, job, job->negative_prompt,
                                                     job->negative_prompt_bytes));
}

/* The jobs of work[] that can run, with what their results say of the batch; returns how many. */
static int prepare(dr_pipeline *p, dr_work *const *work, int count, dr_work **ready)
{
    const int64_t now = dr_clock_ns();
    int n = 0;

    for (int i = 0; i < count; i++) {
        dr_result *result = work[i]->result;
        dr_refusal refusal = { "", "" };
        dr_error err;
        result->queued_ns = now - work[i]->accepted_ns;
        if (dr_pipeline_lost(p, &err) || is_over(p, work[i], &err)) {
            dr_work_fail(work[i], &err, NULL);
        } else if (dr_engine_prepare(p->engine, result->job, &refusal, &err)) {
            dr_pipeline_note_loss(p, &err);
            dr_work_fail(work[i], &err, &refusal);
        } else {
            snprintf(result->model_fingerprint, sizeof(result->model_fingerprint), "%s",
                     dr_engine_model_fingerprint(p->engine, result->job));
            snprintf(result->arithmetic, sizeof(result->arithmetic), "%s", dr_engine_arithmetic(p->engine));
            warn(p, result);
            ready[n++] = work[i];
        }
    }
    return n;
}

static void announce(dr_pipeline *p, dr_work *const *ready, int count, int samples)
{
    const dr_job *first = ready[0]->result->job;
    char ids[320];
    size_t used = 0;

    for (int i = 0; i < count; i++) {
        const dr_job *job = ready[i]->result->job;
        if (used < sizeof(ids))
            used += (size_t)snprintf(ids + used, sizeof(ids) - used, "%s%s", i ? " " : "", job->id);
        dr_pipeline_tell(p, &(dr_job_event){ .kind = DR_EVENT_STARTED,
                                             .job = job,
                                             .steps = job->steps,
                                             .batch_samples = samples });
    }
    dr_log_debug("batch", "%" PRIu64 ": %d picture%s of %d job%s, %s, %dx%d, %d steps: %s%s", p->batches,
                 samples, samples == 1 ? "" : "s", count, count == 1 ? "" : "s", first->model, first->width,
                 first->height, first->steps, ids, used < sizeof(ids) ? "" : "...");
}

void dr_pipeline_run_batch(dr_pipeline *p, dr_work *const *work, int count)
{
    const bool had_device = dr_pipeline_lost(p, NULL) == DR_OK;
    const bool alone_here = work[0]->result->job->device_losses > 0; /* with nobody's pictures either */
    dr_work *ready[DR_BATCH_JOBS_MAX];
    dr_error failure = { .status = DR_OK };
    int samples = 0, n;

    for (int i = 0; i < count; i++)
        work[i]->had_device = had_device;
    if (alone_here)
        dr_pipeline_take_pictures(p, true);
    n = prepare(p, work, count, ready);
    for (int i = 0; i < n; i++)
        samples += ready[i]->result->job->images;
    p->batches++;
    if (n > 0) {
        announce(p, ready, n, samples);
        run_passes(p, ready, n, samples, &failure);
    }
    dr_pipeline_note_loss(p, &failure);
    if (failure.status != DR_OK)
        dr_pipeline_take_pictures(p, true); /* what there is of these jobs is not their last word */
    for (int i = 0; i < n && failure.status != DR_OK; i++) {
        if (ready[i]->failed)
            continue;
        if (n == 1 || dr_pipeline_lost(p, &failure)) {
            dr_work_fail(ready[i], &failure, NULL);
            continue;
        }
        /* One of them, nobody knows which, broke the pass: on its own it can only fail itself. */
        dr_error alone = { .status = DR_OK };
        dr_work_free_pixels(ready[i]);
        ready[i]->result->denoise_ns = ready[i]->result->decode_ns = 0;
        dr_log_warn("batch", "%" PRIu64 ": %s; trying job %s alone", p->batches, failure.text,
                    ready[i]->result->job->id);
        run_passes(p, &ready[i], 1, ready[i]->result->job->images, &alone);
        dr_pipeline_note_loss(p, &alone);
        if (alone.status != DR_OK && !ready[i]->failed)
            dr_work_fail(ready[i], &alone, NULL);
    }
    for (int i = 0; i < count; i++)
        dr_pipeline_end_work(p, work[i]);
    dr_pipeline_take_pictures(p, alone_here || dr_pipeline_lost(p, NULL) != DR_OK);
}

#include "worker/pipeline/batch.h"

#include "worker/support/clock.h"
#include "worker/support/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STEP_EVENT_INTERVAL_MS = 500 };

/* One picture of one job, in the run that goes on. */
typedef struct place {
    dr_work *work;
    int image;
    int sample; /* the engine's name for it; -1: it is not in the engine, or not any more */
} place;

/* Denoising as many samples as the engine holds at once.  A batch with more samples takes several runs. */
typedef struct run {
    dr_decoder *decoder;
    dr_engine *engine; /* the decoder's */
    dr_works *works;   /* the decoder's */
    dr_work *const
        *work; /* works of the batch with pictures in an earlier run, in this one, or in the next */
    int count;
    place place[DR_SAMPLES_MAX];
    int places;
    int64_t started_ns, told_ns; /* by dr_clock_ns(): its begin, and when its steps were last told */
    dr_error failure;            /* of the run as a whole */
} run;

static void drop_samples(run *r, const dr_work *work)
{
    for (int i = 0; i < r->places; i++)
        if (r->place[i].work == work && r->place[i].sample >= 0) {
            dr_engine_drop(r->engine, r->place[i].sample);
            r->place[i].sample = -1;
        }
}

/* The engine's answer for one job: the job fails, and the run goes on. */
static void fail_one(run *r, dr_work *work, const dr_error *err)
{
    dr_works_note_loss(r->works, err);
    drop_samples(r, work);
    dr_work_fail(work, err, NULL);
}

/* The job is canceled, or past its deadline: says which in *err. */
static bool is_over(dr_works *w, const dr_work *work, dr_error *err)
{
    bool canceled;

    pthread_mutex_lock(&w->lock);
    canceled = work->canceled;
    pthread_mutex_unlock(&w->lock);
    if (canceled)
        dr_fail(err, DR_ECANCELED, "canceled while it ran");
    else if (work->deadline_ns <= dr_clock_ns())
        dr_fail(err, DR_EEXPIRED, "its deadline passed while it ran");
    else
        return false;
    return true;
}

/* Jobs that are canceled, late or failed leave the run and are answered. */
static void let_leave(run *r)
{
    dr_error err;

    for (int i = 0; i < r->count; i++) {
        dr_work *work = r->work[i];

        if (!work->result)
            continue;
        if (work->failed) /* one of its earlier pictures failed */
            drop_samples(r, work);
        else if (is_over(r->works, work, &err))
            fail_one(r, work, &err);
        if (work->failed && work->pictures_under_way == 0)
            dr_works_answer(r->works, work);
    }
}

static void tell_step(run *r, bool last)
{
    const int64_t now_ns = dr_clock_ns();

    if (!last && now_ns - r->told_ns < STEP_EVENT_INTERVAL_MS * 1000000ll)
        return;
    r->told_ns = now_ns;
    for (int i = 0; i < r->places; i++) {
        const place *at = &r->place[i];
        if (at->sample < 0 || at->image > 0) /* a job is told once, by its first picture */
            continue;
        const dr_progress progress = dr_engine_progress(r->engine, at->sample);
        dr_works_tell(r->works, &(dr_job_event){ .kind = DR_EVENT_STEP,
                                                 .job = at->work->result->job,
                                                 .step = progress.step,
                                                 .steps = progress.steps,
                                                 .batch_samples = r->places });
    }
}

/* Adds a sample for each place.  If the engine refuses a sample, its job fails. */
static void add_samples(run *r)
{
    dr_error err;

    for (int i = 0; i < r->places; i++) {
        place *at = &r->place[i];

        if (!at->work->failed &&
            dr_engine_add(r->engine, at->work->result->job, at->image, &at->sample, &err)) {
            at->sample = -1;
            fail_one(r, at->work, &err);
        }
    }
}

/* Makes all steps of all samples.  False: the run failed as a whole (r->failure), or the pipeline is
 * stopping. */
static bool develop(run *r)
{
    bool more = true;

    add_samples(r);
    while (more) {
        if (dr_works_are_stopping(r->works))
            return false;
        let_leave(r);
        if (dr_engine_step(r->engine, &more, &r->failure))
            return false;
        tell_step(r, !more);
        dr_decoder_take_ready(r->decoder);
    }
    return true;
}

/* Every developed sample becomes a picture under way.  On the CPU a picture is ready at once, and is taken
 * at once. */
static void begin_pictures(run *r)
{
    const int64_t denoise_ns = dr_clock_ns() - r->started_ns;
    dr_error err;

    dr_decoder_take_all(r->decoder); /* these are of the batch before; then there is room for this one */
    for (int i = 0; i < r->places; i++) {
        place *at = &r->place[i];

        if (at->work->result && (i == 0 || at->work != r->place[i - 1].work))
            at->work->result->denoise_ns += denoise_ns; /* the time of the run, once for each of its jobs */
        if (at->sample >= 0 && at->work->failed)
            drop_samples(r, at->work);
        if (at->sample < 0)
            continue;
        if (dr_decoder_begin(r->decoder, at->work, at->image, at->sample, &err)) {
            fail_one(r, at->work, &err);
            continue;
        }
        at->sample = -1;
        dr_decoder_take_ready(r->decoder);
    }
    for (int i = 0; i < r->places; i++)
        dr_assert(r->place[i].sample == -1); /* each is under way, or dropped */
}

/* Makes one run of the places that are filled, and empties them.  Returns false as develop() does. */
static bool run_once(run *r)
{
    bool developed;

    dr_assert(r->places >= 1 && r->places <= DR_SAMPLES_MAX);
    r->started_ns = r->told_ns = dr_clock_ns();
    r->failure = (dr_error){ .status = DR_OK };
    if (dr_engine_begin(r->engine, r->place[0].work->result->job, r->places, &r->failure))
        return false;
    developed = develop(r);
    if (developed)
        begin_pictures(r);
    r->places = 0;
    dr_engine_end(r->engine);
    return developed;
}

/* Draws all pictures of these prepared jobs, in runs as large as the engine holds.  samples: the number of
 * pictures.  Returns false as develop() does, with *failure. */
static bool run_all(dr_decoder *d, dr_work *const *work, int count, int samples, dr_error *failure)
{
    const int room = dr_engine_batch_max(d->engine, work[0]->result->job);
    run r = { .decoder = d, .engine = d->engine, .works = d->works, .work = work, .count = count };
    bool fine = true;

    dr_assert(room >= 1 && room <= DR_SAMPLES_MAX);
    for (int i = 0; i < count; i++)
        for (int image = 0; fine && !work[i]->failed && image < work[i]->result->job->images; image++) {
            r.place[r.places++] = (place){ work[i], image, -1 };
            if (r.places == room)
                fine = run_once(&r);
        }
    if (fine && r.places > 0)
        fine = run_once(&r);
    if (!fine)
        *failure = r.failure;
    for (int i = 0; fine && i < count; i++)
        if (work[i]->result)
            work[i]->result->batch_samples = samples < room ? samples : room;
    return fine;
}

/* Writes into the job's result which parts of the prompts the model does not understand as they are meant. */
static void warn(dr_engine *engine, dr_result *result)
{
    const dr_job *job = result->job;
    dr_warnings *w = &result->warnings;

    *w = (dr_warnings){ .count = 0 };
    dr_warnings_of_prompt(w, "prompt", job->prompt, job->prompt_bytes,
                          dr_engine_count_tokens(engine, job, job->prompt, job->prompt_bytes));
    if (job->guidance_scale > 1) /* else the model does not read it */
        dr_warnings_of_prompt(w, "negative_prompt", job->negative_prompt, job->negative_prompt_bytes,
                              dr_engine_count_tokens(engine, job, job->negative_prompt,
                                                     job->negative_prompt_bytes));
}

/* The work can run: writes into its result what is to be told about the engine. */
static void describe(dr_engine *engine, dr_result *result)
{
    snprintf(result->model_fingerprint, sizeof(result->model_fingerprint), "%s",
             dr_engine_model_fingerprint(engine, result->job));
    snprintf(result->arithmetic, sizeof(result->arithmetic), "%s", dr_engine_arithmetic(engine));
    warn(engine, result);
}

/* Prepares the works.  The works that can run go into ready[count]; the others have failed.  Returns how
 * many can run. */
static int prepare(dr_decoder *d, dr_work *const *work, int count, dr_work **ready)
{
    const int64_t now_ns = dr_clock_ns();
    int n = 0;

    for (int i = 0; i < count; i++) {
        dr_result *result = work[i]->result;
        dr_refusal refusal = { "", "" };
        dr_error err;

        dr_assert(work[i]->stage == DR_RUNNING && !work[i]->failed && !work[i]->batch_ended);
        result->queued_ns = now_ns - work[i]->accepted_ns;
        if (dr_works_lost(d->works, &err) || is_over(d->works, work[i], &err)) {
            dr_work_fail(work[i], &err, NULL);
        } else if (dr_engine_prepare(d->engine, result->job, &refusal, &err)) {
            dr_works_note_loss(d->works, &err);
            dr_work_fail(work[i], &err, &refusal);
        } else {
            describe(d->engine, result);
            ready[n++] = work[i];
        }
    }
    return n;
}

/* Works that share a run have the same model and size.  The engine may have filled these in. */
static void check_compatible(dr_work *const *ready, int count)
{
    const dr_job *first = ready[0]->result->job;

    for (int i = 1; i < count; i++) {
        const dr_job *job = ready[i]->result->job;

        dr_assert(strcmp(job->model, first->model) == 0 && job->task == first->task);
        dr_assert(job->width == first->width && job->height == first->height && job->steps == first->steps);
    }
}

static void announce(dr_works *w, uint64_t number, dr_work *const *ready, int count, int samples)
{
    const dr_job *first = ready[0]->result->job;
    char ids[320];
    size_t used = 0;

    for (int i = 0; i < count; i++) {
        const dr_job *job = ready[i]->result->job;
        if (used < sizeof(ids))
            used += (size_t)snprintf(ids + used, sizeof(ids) - used, "%s%s", i ? " " : "", job->id);
        dr_works_tell(w, &(dr_job_event){ .kind = DR_EVENT_STARTED,
                                          .job = job,
                                          .steps = job->steps,
                                          .batch_samples = samples });
    }
    dr_log_debug("batch", "%" PRIu64 ": %d picture%s of %d job%s, %s, %dx%d, %d steps: %s%s", number, samples,
                 samples == 1 ? "" : "s", count, count == 1 ? "" : "s", first->model, first->width,
                 first->height, first->steps, ids, used < sizeof(ids) ? "" : "...");
}

/* A run of several works failed, and nobody knows which of them is the reason.  Alone, a work can only make
 * itself fail. */
static void run_alone(dr_decoder *d, uint64_t number, dr_work *work, const dr_error *failure)
{
    dr_error alone = { .status = DR_OK };

    dr_work_free_pixels(work);
    work->result->denoise_ns = work->result->decode_ns = 0;
    dr_log_warn("batch", "%" PRIu64 ": the batch failed: %s; running job %s again, alone", number,
                failure->text, work->result->job->id);
    run_all(d, &work, 1, work->result->job->images, &alone);
    dr_works_note_loss(d->works, &alone);
    if (alone.status != DR_OK && !work->failed)
        dr_work_fail(work, &alone, NULL);
}

static void run_ready(dr_decoder *d, uint64_t number, dr_work *const *ready, int count)
{
    dr_error failure = { .status = DR_OK };
    int samples = 0;

    for (int i = 0; i < count; i++)
        samples += ready[i]->result->job->images;
    check_compatible(ready, count);
    announce(d->works, number, ready, count, samples);
    run_all(d, ready, count, samples, &failure);
    if (failure.status == DR_OK)
        return;
    dr_works_note_loss(d->works, &failure);
    dr_decoder_take_all(d); /* these pictures are thrown away when the works run again */
    for (int i = 0; i < count; i++) {
        if (ready[i]->failed)
            continue;
        if (count == 1 || dr_works_lost(d->works, &failure))
            dr_work_fail(ready[i], &failure, NULL);
        else
            run_alone(d, number, ready[i], &failure);
    }
}

void dr_batch_run(dr_decoder *d, uint64_t number, dr_work *const *work, int count)
{
    const bool had_device = dr_works_lost(d->works, NULL) == DR_OK;
    const bool is_suspect = work[0]->result->job->device_losses > 0;
    dr_work *ready[DR_BATCH_JOBS_MAX];
    int ready_count;

    dr_assert(count >= 1 && count <= DR_BATCH_JOBS_MAX && (count == 1 || !is_suspect));
    for (int i = 0; i < count; i++)
        work[i]->had_device = had_device;
    if (is_suspect)
        dr_decoder_take_all(d); /* it shares the device with no other work's pictures either */
    ready_count = prepare(d, work, count, ready);
    if (ready_count > 0)
        run_ready(d, number, ready, ready_count);
    for (int i = 0; i < count; i++)
        dr_decoder_end_batch(d, work[i]);
    if (is_suspect || dr_works_lost(d->works, NULL))
        dr_decoder_take_all(d);
    else
        dr_decoder_take_ready(d);
}

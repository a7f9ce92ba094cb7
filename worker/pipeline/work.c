#include "worker/pipeline/work.h"

#include "worker/jobs/job_digest.h"
#include "worker/support/clock.h"

#include <stdlib.h>
#include <string.h>

/* --- one work ------------------------------------------------------------------------ */

void dr_work_free_pixels(dr_work *work)
{
    for (int i = 0; i < DR_IMAGES_MAX; i++) {
        free(work->rgb[i]);
        work->rgb[i] = NULL;
    }
}

void dr_work_fail(dr_work *work, const dr_error *err, const dr_refusal *refusal)
{
    dr_assert(err->status != DR_OK && !work->failed);
    work->failed = true;
    work->result->error = *err;
    dr_fail_within(&work->result->error, "job %s", work->result->job->id);
    if (refusal)
        work->result->refusal = *refusal;
    dr_work_free_pixels(work);
}

bool dr_work_is_meant(const dr_work *work, const char *job_id, int64_t sent_until_ms)
{
    return work->result && work->result->job->sent_ms <= sent_until_ms &&
           strcmp(work->result->job->id, job_id) == 0;
}

static void free_work(dr_work *work)
{
    dr_work_free_pixels(work);
    dr_result_free(work->result);
    free(work);
}

/* --- stages -------------------------------------------------------------------------- */

void dr_works_move(dr_works *w, dr_work *work, dr_stage from, dr_stage to)
{
    dr_assert(work->stage == from && from != to);
    if (from != DR_NO_STAGE) {
        TAILQ_REMOVE(&w->list[from], work, link);
        w->count[from]--;
        dr_assert(w->count[from] >= 0 && (w->count[from] == 0) == (TAILQ_FIRST(&w->list[from]) == NULL));
    }
    if (to != DR_NO_STAGE) {
        TAILQ_INSERT_TAIL(&w->list[to], work, link);
        w->count[to]++;
    }
    work->stage = to;
}

void dr_works_check(const dr_works *w)
{
    const int *in = w->count;
    const int with_a_result =
        in[DR_WAITING] + in[DR_RUNNING] - w->answered + in[DR_FINISHING] + in[DR_ENCODING];

    dr_assert(w->in_flight == with_a_result + in[DR_ASIDE] - w->aside_for_model);
    dr_assert((size_t)in[DR_WAITING] == dr_scheduler_waiting(w->scheduler));
    dr_assert(w->answered >= 0 && w->answered <= in[DR_RUNNING]);
    dr_assert(w->pixels >= 0 && w->pixels <= in[DR_FINISHING] + in[DR_ENCODING]);
    dr_assert(w->pixels <= w->pixels_max || w->stopping);
    dr_assert(in[DR_ENCODING] <= w->finish_threads);
    dr_assert(in[DR_ASIDE] <= DR_ASIDE_JOBS_MAX);
    dr_assert(w->returning >= 0 && w->returning <= w->aside_for_model && w->aside_for_model <= in[DR_ASIDE]);
}

/* Asserts that the lists are as long as the counts say.  Takes time for each work, so it is for a pipeline
 * that has stopped. */
static void recount(const dr_works *w)
{
    for (int stage = DR_NO_STAGE + 1; stage < DR_STAGES; stage++) {
        const dr_work *work;
        int count = 0;

        TAILQ_FOREACH(work, &w->list[stage], link)
        {
            dr_assert((int)work->stage == stage && (work->result || stage == DR_RUNNING));
            count++;
        }
        dr_assert(count == w->count[stage]);
    }
    dr_assert(w->count[DR_ENCODING] == 0); /* a finish thread ends what it has begun */
    dr_works_check(w);
}

/* --- into WAITING -------------------------------------------------------------------- */

/* The key of a job.  A job that is to run alone has a number of its own in its key.  Under the lock. */
static dr_batch_key key_of(dr_works *w, const dr_job *job)
{
    const dr_job_digest digest = dr_job_batch_digest(job);
    dr_batch_key key = { .alone = job->device_losses > 0 ? ++w->jobs_alone : 0 };

    _Static_assert(sizeof(key.digest) == sizeof(digest.bytes), "the scheduler compares a whole digest");
    memcpy(key.digest, digest.bytes, sizeof(key.digest));
    return key;
}

void dr_works_enqueue(dr_works *w, dr_work *work, dr_stage from)
{
    const dr_job *job = work->result->job;

    dr_assert(!work->failed && !work->batch_ended && work->pictures_under_way == 0);
    work->key = key_of(w, job);
    const dr_waiting_job waiting = { .job = work,
                                     .key = work->key,
                                     .samples = job->images,
                                     .priority = job->priority,
                                     .deadline_ns = work->deadline_ns };
    const dr_status rc = dr_scheduler_add(w->scheduler, &waiting, NULL);
    dr_assert(rc == DR_OK); /* it has room for jobs_max */
    dr_works_move(w, work, from, DR_WAITING);
    dr_works_check(w);
    pthread_cond_signal(&w->to_denoise);
}

bool dr_works_have_room(const dr_works *w)
{
    return w->in_flight + w->returning < w->options.jobs_max;
}

/* A job's deadline in the time of dr_clock_ns().  The job has it in Unix time, but the pipeline waits by a
 * clock that nobody can set. */
static int64_t deadline_ns(const dr_job *job, int64_t now_ns)
{
    if (job->deadline_ms == 0)
        return INT64_MAX;
    const int64_t left_ms = job->deadline_ms - dr_unix_ms();
    return left_ms > INT64_MAX / 4000000 ? INT64_MAX : now_ns + left_ms * 1000000;
}

bool dr_works_accept(dr_works *w, dr_job *job)
{
    dr_work *work = calloc(1, sizeof(*work));
    dr_result *result = dr_result_create(job);
    bool accepted = false;

    dr_assert(job->complete);
    if (!work || !result)
        goto out;
    pthread_mutex_lock(&w->lock);
    if (dr_works_have_room(w) && !w->stopping) {
        work->result = result;
        work->accepted_ns = dr_clock_ns();
        work->deadline_ns = deadline_ns(job, work->accepted_ns);
        /* Told before the denoise thread can see the job: started never comes before queued. */
        dr_works_tell(w, &(dr_job_event){ .kind = DR_EVENT_QUEUED, .job = job, .steps = job->steps });
        w->in_flight++;
        dr_works_enqueue(w, work, DR_NO_STAGE);
        accepted = true;
    }
    pthread_mutex_unlock(&w->lock);
out:
    if (!accepted) {
        if (result)
            result->job = NULL; /* still the caller's */
        dr_result_free(result);
        free(work);
    }
    return accepted;
}

/* --- into FINISHING ------------------------------------------------------------------ */

void dr_works_finish(dr_works *w, dr_work *work, dr_stage from)
{
    dr_assert(work->result && work->pictures_under_way == 0);
    dr_works_move(w, work, from, DR_FINISHING);
    pthread_cond_signal(&w->to_finish);
    if (w->count[DR_FINISHING] > w->encoders)
        pthread_cond_signal(&w->to_help);
}

void dr_works_end_waiting(dr_works *w, dr_work *work, dr_status status, const char *why)
{
    dr_error err;

    dr_fail(&err, status, "%s", why);
    work->result->queued_ns = dr_clock_ns() - work->accepted_ns;
    dr_work_fail(work, &err, NULL);
    dr_works_finish(w, work, DR_WAITING);
}

/* Whether this work was on the device when that was lost: it may be the reason. */
static bool lost_the_device(const dr_work *work)
{
    return work->had_device && work->result->error.status == DR_EDEVICE;
}

void dr_works_answer(dr_works *w, dr_work *work)
{
    dr_work *answer = calloc(1, sizeof(*answer));

    dr_assert(work->failed && work->result && work->pictures_under_way == 0);
    if (!answer)
        return;
    *answer = *work; /* with its result, and no pixels */
    answer->stage = DR_NO_STAGE;
    answer->result->device_lost = lost_the_device(work);
    pthread_mutex_lock(&w->lock);
    work->result = NULL;
    w->answered++;
    dr_works_finish(w, answer, DR_NO_STAGE);
    dr_works_check(w);
    pthread_mutex_unlock(&w->lock);
}

/* Whether there is room for one more work with pixels.  Under the lock. */
static bool has_room_for_pixels(const dr_works *w)
{
    return w->pixels < w->pixels_max || w->stopping;
}

bool dr_works_have_room_for_pixels(dr_works *w)
{
    pthread_mutex_lock(&w->lock);
    const bool room = has_room_for_pixels(w);
    pthread_mutex_unlock(&w->lock);
    return room;
}

/* Frees the rest of a work that was answered while its batch went on. */
static void free_answered(dr_works *w, dr_work *work)
{
    pthread_mutex_lock(&w->lock);
    dr_works_move(w, work, DR_RUNNING, DR_NO_STAGE);
    w->answered--;
    dr_works_check(w);
    pthread_mutex_unlock(&w->lock);
    free_work(work);
}

void dr_works_end_run(dr_works *w, dr_work *work)
{
    const bool has_pixels = !work->failed;

    dr_assert(work->batch_ended && work->pictures_under_way == 0);
    if (!work->result) {
        free_answered(w, work);
        return;
    }
    work->result->device_lost = lost_the_device(work);
    pthread_mutex_lock(&w->lock);
    while (has_pixels && !has_room_for_pixels(w))
        pthread_cond_wait(&w->room, &w->lock);
    dr_works_finish(w, work, DR_RUNNING);
    w->pixels += has_pixels;
    dr_works_check(w);
    pthread_mutex_unlock(&w->lock);
}

/* --- out ------------------------------------------------------------------------------ */

void dr_works_drop_pixels(dr_works *w, dr_work *work, bool had_pixels)
{
    dr_work_free_pixels(work);
    pthread_mutex_lock(&w->lock);
    dr_assert(work->stage == DR_ENCODING);
    w->pixels -= had_pixels;
    dr_works_check(w);
    pthread_cond_broadcast(&w->room);
    pthread_mutex_unlock(&w->lock);
}

void dr_works_end(dr_works *w, dr_work *work)
{
    pthread_mutex_lock(&w->lock);
    dr_works_move(w, work, DR_ENCODING, DR_NO_STAGE);
    w->in_flight--;
    dr_works_check(w);
    if (w->returning > 0)
        pthread_cond_signal(&w->to_denoise);
    pthread_cond_broadcast(&w->room);
    pthread_mutex_unlock(&w->lock);
    free(work);
}

/* --- the device, and the end ------------------------------------------------------------ */

void dr_works_tell(const dr_works *w, const dr_job_event *event)
{
    if (w->options.on_event)
        w->options.on_event(w->options.arg, event);
}

dr_status dr_works_lost(dr_works *w, dr_error *err)
{
    pthread_mutex_lock(&w->lock);
    const dr_error lost = w->lost;
    pthread_mutex_unlock(&w->lock);
    if (lost.status && err)
        *err = lost;
    return lost.status;
}

void dr_works_note_loss(dr_works *w, const dr_error *err)
{
    if (err->status != DR_EDEVICE)
        return;
    pthread_mutex_lock(&w->lock);
    if (w->lost.status == DR_OK)
        w->lost = *err;
    pthread_mutex_unlock(&w->lock);
}

bool dr_works_are_stopping(dr_works *w)
{
    pthread_mutex_lock(&w->lock);
    const bool stopping = w->stopping;
    pthread_mutex_unlock(&w->lock);
    return stopping;
}

dr_status dr_works_init(dr_works *w, const dr_pipeline_options *options, int encoders, int finish_threads,
                        dr_error *err)
{
    dr_assert(options->jobs_max >= 1 && options->on_result);
    dr_assert(encoders >= 1 && encoders <= finish_threads);
    w->options = *options;
    w->encoders = encoders;
    w->finish_threads = finish_threads;
    w->pixels_max = 2 * finish_threads;
    for (int stage = 0; stage < DR_STAGES; stage++)
        TAILQ_INIT(&w->list[stage]);
    pthread_mutex_init(&w->lock, NULL);
    dr_cond_init(&w->to_denoise);
    pthread_cond_init(&w->to_finish, NULL);
    pthread_cond_init(&w->to_help, NULL);
    dr_cond_init(&w->room);
    return dr_scheduler_create(&w->scheduler, &(dr_scheduler_options){ (size_t)options->jobs_max }, err);
}

void dr_works_stop(dr_works *w)
{
    pthread_mutex_lock(&w->lock);
    w->stopping = true;
    pthread_cond_broadcast(&w->to_denoise);
    pthread_cond_broadcast(&w->to_finish);
    pthread_cond_broadcast(&w->to_help);
    pthread_cond_broadcast(&w->room);
    pthread_mutex_unlock(&w->lock);
}

void dr_works_free(dr_works *w)
{
    dr_work *work;

    if (w->scheduler)
        recount(w);
    for (int stage = 0; stage < DR_STAGES; stage++)
        while ((work = TAILQ_FIRST(&w->list[stage]))) {
            TAILQ_REMOVE(&w->list[stage], work, link);
            free_work(work);
        }
    dr_scheduler_free(w->scheduler);
    pthread_cond_destroy(&w->to_denoise);
    pthread_cond_destroy(&w->to_finish);
    pthread_cond_destroy(&w->to_help);
    pthread_cond_destroy(&w->room);
    pthread_mutex_destroy(&w->lock);
}

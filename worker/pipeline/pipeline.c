#include "worker/pipeline/pipeline.h"

#include "base/cores.h"
#include "worker/jobs/job_digest.h"
#include "worker/pictures/picture.h"
#include "worker/pipeline/pipeline_work.h"
#include "worker/support/clock.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A job's deadline is told by the calendar's clock, everything here by the one that is never set. */
static int64_t monotonic_deadline_ns(const dr_job *job, int64_t now_ns)
{
    if (job->deadline_ms == 0)
        return INT64_MAX;
    const int64_t left_ms = job->deadline_ms - dr_unix_ms();
    return left_ms > INT64_MAX / 4000000 ? INT64_MAX : now_ns + left_ms * 1000000;
}

void dr_pipeline_tell(dr_pipeline *p, const dr_job_event *event)
{
    if (p->options.on_event)
        p->options.on_event(p->options.arg, event);
}

/* --- works --------------------------------------------------------------------------- */

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

static void free_work(dr_work *work)
{
    dr_work_free_pixels(work);
    dr_result_free(work->result);
    free(work);
}

static void free_list(dr_work_list *list)
{
    dr_work *work;

    while ((work = TAILQ_FIRST(list))) {
        TAILQ_REMOVE(list, work, link);
        free_work(work);
    }
}

/* A job that is to run alone has a number of its own in its key.  Under the lock. */
static dr_batch_key key_of(dr_pipeline *p, const dr_job *job)
{
    const dr_job_digest digest = dr_job_batch_digest(job);
    dr_batch_key key = { .alone = job->device_losses > 0 ? ++p->jobs_alone : 0 };

    _Static_assert(sizeof(key.digest) == sizeof(digest.bytes), "the scheduler compares a whole digest");
    memcpy(key.digest, digest.bytes, sizeof(key.digest));
    return key;
}

/* --- in --------------------------------------------------------------------------------- */

void dr_pipeline_enqueue(dr_pipeline *p, dr_work *work)
{
    const dr_job *job = work->result->job;

    work->key = key_of(p, job);
    const dr_waiting_job waiting = { .job = work,
                                     .key = work->key,
                                     .samples = job->images,
                                     .priority = job->priority,
                                     .deadline_ns = work->deadline_ns };
    const dr_status rc = dr_scheduler_add(p->scheduler, &waiting, NULL);
    dr_assert(rc == DR_OK); /* it has room for jobs_max */
    TAILQ_INSERT_TAIL(&p->waiting, work, link);
    pthread_cond_signal(&p->work);
}

/* For a new job.  Under the lock. */
static bool has_room_for_one(const dr_pipeline *p)
{
    return p->in_flight + p->returning < p->options.jobs_max;
}

bool dr_pipeline_submit(dr_pipeline *p, dr_job *job)
{
    dr_work *work = calloc(1, sizeof(*work));
    dr_result *result = dr_result_create(job);
    bool accepted = false;

    dr_assert(job->complete);
    if (!work || !result)
        goto out;
    pthread_mutex_lock(&p->lock);
    if (has_room_for_one(p) && !p->stopping) {
        work->result = result;
        work->accepted_ns = dr_clock_ns();
        work->deadline_ns = monotonic_deadline_ns(job, work->accepted_ns);
        /* Told before the denoise thread can see the job: started never comes before queued. */
        dr_pipeline_tell(p, &(dr_job_event){ .kind = DR_EVENT_QUEUED, .job = job, .steps = job->steps });
        p->in_flight++;
        dr_pipeline_enqueue(p, work);
        accepted = true;
    }
    pthread_mutex_unlock(&p->lock);
out:
    if (!accepted) {
        if (result)
            result->job = NULL; /* still the caller's */
        dr_result_free(result);
        free(work);
    }
    return accepted;
}

enum { FOREVER = -1 };

/* When a wait of timeout_ms ends, by dr_clock_ms(). */
static int64_t end_of_wait_ms(int timeout_ms)
{
    return timeout_ms < 0 ? FOREVER : dr_clock_ms() + timeout_ms;
}

/* Wait for a signal on p->room; false: until_ms has passed.  Under the lock. */
static bool wait_room(dr_pipeline *p, int64_t until_ms)
{
    if (until_ms == FOREVER)
        return pthread_cond_wait(&p->room, &p->lock) == 0;
    return dr_cond_wait_until(&p->room, &p->lock, until_ms);
}

bool dr_pipeline_wait_room(dr_pipeline *p, int timeout_ms)
{
    const int64_t until_ms = end_of_wait_ms(timeout_ms);
    bool in_time = true;

    pthread_mutex_lock(&p->lock);
    while (in_time && !has_room_for_one(p))
        in_time = wait_room(p, until_ms);
    const bool room = has_room_for_one(p);
    pthread_mutex_unlock(&p->lock);
    return room;
}

void dr_pipeline_add_finishing(dr_pipeline *p, dr_work *work)
{
    TAILQ_INSERT_TAIL(&p->finishing, work, link);
    p->finishing_count++;
    pthread_cond_signal(&p->finish_work);
    if (p->finishing_count > p->encoders)
        pthread_cond_signal(&p->help_work);
}

/* From `waiting` to `finishing` without having run.  Under the lock. */
static void end_waiting(dr_pipeline *p, dr_work *work, dr_status status, const char *why)
{
    dr_error err;

    dr_fail(&err, status, "%s", why);
    work->result->queued_ns = dr_clock_ns() - work->accepted_ns;
    dr_work_fail(work, &err, NULL);
    TAILQ_REMOVE(&p->waiting, work, link);
    dr_pipeline_add_finishing(p, work);
}

static bool is_meant(const dr_work *work, const char *job_id, int64_t sent_until_ms)
{
    return work->result && work->result->job->sent_ms <= sent_until_ms &&
           strcmp(work->result->job->id, job_id) == 0;
}

void dr_pipeline_cancel(dr_pipeline *p, const char *job_id, int64_t sent_until_ms)
{
    dr_work *work, *next;

    pthread_mutex_lock(&p->lock);
    TAILQ_FOREACH(work, &p->running, link)
    if (is_meant(work, job_id, sent_until_ms))
        work->canceled = true;
    for (work = TAILQ_FIRST(&p->waiting); work; work = next) {
        next = TAILQ_NEXT(work, link);
        if (is_meant(work, job_id, sent_until_ms)) {
            const int was_waiting = dr_scheduler_remove(p->scheduler, work);
            dr_assert(was_waiting);
            end_waiting(p, work, DR_ECANCELED, "canceled while it waited");
        }
    }
    for (work = TAILQ_FIRST(&p->aside); work; work = next) {
        next = TAILQ_NEXT(work, link);
        if (is_meant(work, job_id, sent_until_ms))
            dr_pipeline_end_aside(p, work, DR_ECANCELED, "canceled while it was put aside");
    }
    pthread_mutex_unlock(&p->lock);
}

dr_status dr_pipeline_lost(dr_pipeline *p, dr_error *err)
{
    pthread_mutex_lock(&p->lock);
    const dr_error lost = p->lost;
    pthread_mutex_unlock(&p->lock);
    if (lost.status && err)
        *err = lost;
    return lost.status;
}

dr_device_load dr_pipeline_load(dr_pipeline *p)
{
    pthread_mutex_lock(&p->lock);
    const dr_device_load load = p->load;
    pthread_mutex_unlock(&p->lock);
    return load;
}

int dr_pipeline_aside(dr_pipeline *p)
{
    pthread_mutex_lock(&p->lock);
    const int count = p->aside_count;
    pthread_mutex_unlock(&p->lock);
    return count;
}

int dr_pipeline_in_flight(dr_pipeline *p)
{
    pthread_mutex_lock(&p->lock);
    const int in_flight = p->in_flight;
    pthread_mutex_unlock(&p->lock);
    return in_flight;
}

bool dr_pipeline_drain(dr_pipeline *p, int timeout_ms)
{
    const int64_t until_ms = end_of_wait_ms(timeout_ms);
    bool in_time = true;

    pthread_mutex_lock(&p->lock);
    while (in_time && p->in_flight > 0)
        in_time = wait_room(p, until_ms);
    const bool drained = p->in_flight == 0;
    pthread_mutex_unlock(&p->lock);
    return drained;
}

/* --- the denoise thread -------------------------------------------------------------------- */

static int samples_max(void *arg, const dr_batch_key *key)
{
    dr_pipeline *p = arg;
    const dr_work *work;

    TAILQ_FOREACH(work, &p->waiting, link)
    if (dr_batch_key_equal(&work->key, key))
        return dr_engine_batch_max(p->engine, work->result->job);
    dr_assert(!"a key that no waiting job has");
    return 1;
}

/* For one more work with pixels.  Under the lock. */
static bool has_room(const dr_pipeline *p)
{
    return p->pixels < 2 * p->finish_threads || p->stopping;
}

bool dr_pipeline_has_room(dr_pipeline *p)
{
    pthread_mutex_lock(&p->lock);
    const bool room = has_room(p);
    pthread_mutex_unlock(&p->lock);
    return room;
}

void dr_pipeline_answer(dr_pipeline *p, dr_work *work)
{
    dr_work *answer = calloc(1, sizeof(*answer));

    dr_assert(work->failed && work->result && work->under_way == 0);
    if (!answer)
        return;
    *answer = *work; /* with its result, and no pixels */
    answer->result->device_lost = work->had_device && answer->result->error.status == DR_EDEVICE;
    pthread_mutex_lock(&p->lock);
    work->result = NULL;
    dr_pipeline_add_finishing(p, answer);
    pthread_mutex_unlock(&p->lock);
}

/* It was answered already. */
static void bury(dr_pipeline *p, dr_work *work)
{
    pthread_mutex_lock(&p->lock);
    TAILQ_REMOVE(&p->running, work, link);
    pthread_mutex_unlock(&p->lock);
    free_work(work);
}

void dr_pipeline_end_work(dr_pipeline *p, dr_work *work)
{
    work->ended = true;
    if (!work->result)
        bury(p, work);
    else if (work->under_way == 0)
        dr_pipeline_hand_over(p, work);
}

void dr_pipeline_hand_over(dr_pipeline *p, dr_work *work)
{
    const bool has_pixels = !work->failed;

    work->result->device_lost = work->had_device && work->result->error.status == DR_EDEVICE;
    pthread_mutex_lock(&p->lock);
    while (has_pixels && !has_room(p))
        pthread_cond_wait(&p->room, &p->lock);
    TAILQ_REMOVE(&p->running, work, link);
    dr_pipeline_add_finishing(p, work);
    p->pixels += has_pixels;
    pthread_mutex_unlock(&p->lock);
}

/* Under the lock. */
static void wait_for_work(dr_pipeline *p)
{
    if (p->aside_count > 0)
        dr_cond_wait_until(&p->work, &p->lock, dr_pipeline_next_look_ns(p) / 1000000 + 1);
    else
        pthread_cond_wait(&p->work, &p->lock);
}

/* What the scheduler says is to be run next, moved to `running`: how many jobs.  Where there are none and no pictures
 * either, waits for them.  0: the pictures under way are all there is to do; -1: the pipeline is stopping. */
static int next_batch(dr_pipeline *p, dr_work *work[DR_BATCH_JOBS_MAX])
{
    bool idle = false;
    int jobs = 0;

    const dr_device_load load = dr_engine_load(p->engine);
    pthread_mutex_lock(&p->lock);
    p->load = load;
    while (!p->stopping && jobs == 0 && !idle) {
        dr_pipeline_look_aside(p);
        const dr_batch batch = dr_scheduler_next(p->scheduler, dr_clock_ns(), samples_max, p);
        for (int i = 0; i < batch.jobs; i++) {
            work[i] = batch.job[i];
            if (batch.decision == DR_EXPIRE) {
                end_waiting(p, work[i], DR_EEXPIRED, "its deadline passed while it waited");
            } else {
                TAILQ_REMOVE(&p->waiting, work[i], link);
                TAILQ_INSERT_TAIL(&p->running, work[i], link);
            }
        }
        if (batch.decision == DR_RUN_BATCH)
            jobs = batch.jobs;
        else if (batch.decision == DR_IDLE && p->pictures_under_way > 0)
            idle = true;
        else if (batch.decision == DR_IDLE) {
            dr_engine_pause(p->engine);
            wait_for_work(p);
        }
    }
    if (p->stopping && jobs == 0)
        jobs = -1;
    pthread_mutex_unlock(&p->lock);
    return jobs;
}

static void *denoise(void *arg)
{
    dr_work *work[DR_BATCH_JOBS_MAX];
    dr_pipeline *p = arg;
    int jobs;

    const dr_status rc = dr_engine_open(&p->engine, &p->options.engine, &p->open_error);
    pthread_mutex_lock(&p->lock);
    p->open_status = rc;
    p->opened = true;
    pthread_cond_broadcast(&p->room);
    pthread_mutex_unlock(&p->lock);

    while (rc == DR_OK && (jobs = next_batch(p, work)) >= 0)
        if (jobs > 0)
            dr_pipeline_run_batch(p, work, jobs);
        else
            dr_pipeline_take_pictures(p, true);
    dr_engine_close(p->engine);
    return NULL;
}

/* --- the finish threads ----------------------------------------------------------------------- */

static void encode(dr_work *work)
{
    dr_result *result = work->result;
    const int64_t before = dr_clock_ns();
    dr_error err;

    for (int i = 0; i < result->job->images; i++) {
        if (dr_picture_encode(&result->picture[i], result->job, i, result->model_fingerprint, work->rgb[i],
                              &err)) {
            dr_work_fail(work, &err, NULL);
            break;
        }
        result->pictures++;
    }
    while (work->failed && result->pictures > 0) /* all of a job's pictures or none */
        free(result->picture[--result->pictures].bytes);
    result->encode_ns = dr_clock_ns() - before;
}

static void finish_one(dr_pipeline *p, dr_work *work)
{
    const bool has_pixels = !work->failed;
    dr_result *result = work->result;

    if (has_pixels)
        encode(work);
    dr_work_free_pixels(work);
    pthread_mutex_lock(&p->lock);
    p->pixels -= has_pixels;
    pthread_cond_broadcast(&p->room);
    pthread_mutex_unlock(&p->lock);
    if (work->failed && dr_pipeline_put_aside(p, work))
        return;

    dr_pipeline_tell(p, &(dr_job_event){
                            .kind = DR_EVENT_FINISHED, .job = result->job, .steps = result->job->steps });
    p->options.on_result(p->options.arg, result);
    free(work);
    pthread_mutex_lock(&p->lock);
    p->in_flight--;
    if (p->returning > 0)
        pthread_cond_signal(&p->work);
    pthread_cond_broadcast(&p->room);
    pthread_mutex_unlock(&p->lock);
}

/* The next work for this thread; NULL: the pipeline is stopping.  A helper leaves the last few to the encoders, so that cores
 * that have nothing else to do help, and the device's own threads are not disturbed for nothing. */
static dr_work *next_finishing(dr_pipeline *p, bool helps)
{
    const int leave = helps ? p->encoders : 0;
    dr_work *work = NULL;

    while (!p->stopping && p->finishing_count <= leave)
        pthread_cond_wait(helps ? &p->help_work : &p->finish_work, &p->lock);
    if (!p->stopping) {
        work = TAILQ_FIRST(&p->finishing);
        TAILQ_REMOVE(&p->finishing, work, link);
        p->finishing_count--;
    }
    return work;
}

static void *finish(void *arg)
{
    dr_pipeline *p = arg;
    dr_work *work;
    bool helps;

    pthread_mutex_lock(&p->lock);
    helps = p->finishing_threads++ >= p->encoders;
    while ((work = next_finishing(p, helps))) {
        pthread_mutex_unlock(&p->lock);
        finish_one(p, work);
        pthread_mutex_lock(&p->lock);
    }
    pthread_mutex_unlock(&p->lock);
    dr_pictures_thread_done();
    return NULL;
}

/* --- start and stop ------------------------------------------------------------------------------ */

/* Signals are for the thread that asked for them. */
static int start_thread(pthread_t *thread, void *(*body)(void *), void *arg)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int rc = pthread_create(thread, NULL, body, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

static int default_encoders(void)
{
    const int cores = dr_cores();
    return cores >= 4 ? cores / 2 : 1;
}

static dr_status start_threads(dr_pipeline *p, int finish_threads, dr_error *err)
{
    if (start_thread(&p->denoise_thread, denoise, p))
        return dr_fail(err, DR_ENOMEM, "no memory for the denoise thread");
    p->denoising = true;
    for (; p->finish_threads < finish_threads; p->finish_threads++)
        if (start_thread(&p->finish_thread[p->finish_threads], finish, p))
            return dr_fail(err, DR_ENOMEM, "no memory for %d finish threads", finish_threads);
    return DR_OK;
}

dr_status dr_pipeline_start(dr_pipeline **out, const dr_pipeline_options *options, dr_error *err)
{
    const int encoders = options->finish_threads ? options->finish_threads : default_encoders();
    const int finish_threads = options->finish_threads ? encoders : dr_cores();
    dr_pipeline *p;
    dr_status rc;

    *out = NULL;
    dr_assert(options->jobs_max >= 1 && options->on_result);
    p = calloc(1, sizeof(*p));
    if (!p)
        return dr_fail(err, DR_ENOMEM, "no memory for the pipeline");
    p->options = *options;
    p->encoders = encoders;
    TAILQ_INIT(&p->waiting);
    TAILQ_INIT(&p->running);
    TAILQ_INIT(&p->finishing);
    TAILQ_INIT(&p->aside);
    pthread_mutex_init(&p->lock, NULL);
    dr_cond_init(&p->work);
    pthread_cond_init(&p->finish_work, NULL);
    pthread_cond_init(&p->help_work, NULL);
    dr_cond_init(&p->room);
    p->finish_thread = calloc((size_t)finish_threads, sizeof(p->finish_thread[0]));
    rc =
        p->finish_thread ? DR_OK : dr_fail(err, DR_ENOMEM, "no memory for %d finish threads", finish_threads);
    if (!rc)
        rc = dr_scheduler_create(&p->scheduler, &(dr_scheduler_options){ (size_t)options->jobs_max }, err);
    if (!rc)
        rc = start_threads(p, finish_threads, err);
    if (!rc) {
        pthread_mutex_lock(&p->lock);
        while (!p->opened)
            pthread_cond_wait(&p->room, &p->lock);
        rc = p->open_status;
        pthread_mutex_unlock(&p->lock);
        if (rc && err)
            *err = p->open_error;
    }
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
    pthread_mutex_lock(&p->lock);
    p->stopping = true;
    pthread_cond_broadcast(&p->work);
    pthread_cond_broadcast(&p->finish_work);
    pthread_cond_broadcast(&p->help_work);
    pthread_cond_broadcast(&p->room);
    pthread_mutex_unlock(&p->lock);
    if (p->denoising)
        pthread_join(p->denoise_thread, NULL);
    for (int i = 0; i < p->finish_threads; i++)
        pthread_join(p->finish_thread[i], NULL);
    free_list(&p->waiting);
    free_list(&p->running);
    free_list(&p->finishing);
    free_list(&p->aside);
    dr_scheduler_free(p->scheduler);
    pthread_cond_destroy(&p->work);
    pthread_cond_destroy(&p->finish_work);
    pthread_cond_destroy(&p->help_work);
    pthread_cond_destroy(&p->room);
    pthread_mutex_destroy(&p->lock);
    free(p->finish_thread);
    free(p);
}

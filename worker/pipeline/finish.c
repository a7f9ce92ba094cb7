#include "worker/pipeline/finish.h"

#include "base/cores.h"
#include "worker/pictures/picture.h"
#include "worker/pipeline/aside.h"
#include "worker/support/clock.h"
#include "worker/support/thread.h"

#include <stdlib.h>

struct dr_finishers {
    dr_works *works;
    int started; /* threads to be joined */
    int begun;   /* under the works' lock: threads that have begun; the first ones are encoders */
    pthread_t thread[];
};

/* Encodes all pictures of a job, or none. */
static void encode(dr_work *work)
{
    dr_result *result = work->result;
    const int64_t before_ns = dr_clock_ns();
    dr_error err;

    dr_assert(result->pictures == 0);
    for (int i = 0; i < result->job->images; i++) {
        dr_assert(work->rgb[i]);
        if (dr_rendition_encode(&result->picture[i], result->job, i, result->model_fingerprint, work->rgb[i],
                                &err)) {
            dr_work_fail(work, &err, NULL);
            break;
        }
        result->pictures++;
    }
    while (work->failed && result->pictures > 0)
        free(result->picture[--result->pictures].bytes);
    result->encode_ns = dr_clock_ns() - before_ns;
}

static void finish_one(dr_works *w, dr_work *work)
{
    const bool has_pixels = !work->failed;
    dr_result *result = work->result;

    if (has_pixels)
        encode(work);
    dr_works_drop_pixels(w, work, has_pixels);
    if (work->failed && dr_aside_put(w, work))
        return;
    dr_works_tell(w, &(dr_job_event){
                         .kind = DR_EVENT_FINISHED, .job = result->job, .steps = result->job->steps });
    w->options.on_result(w->options.arg, result);
    dr_works_end(w, work);
}

/* The next work for this thread, which is ENCODING now; NULL: the pipeline is stopping.  Under the lock. */
static dr_work *wait_for_work(dr_works *w, bool helps)
{
    const int leave = helps ? w->encoders : 0;
    dr_work *work = NULL;

    while (!w->stopping && w->count[DR_FINISHING] <= leave)
        pthread_cond_wait(helps ? &w->to_help : &w->to_finish, &w->lock);
    if (!w->stopping) {
        work = TAILQ_FIRST(&w->list[DR_FINISHING]);
        dr_works_move(w, work, DR_FINISHING, DR_ENCODING);
        dr_works_check(w);
    }
    return work;
}

static void *finish(void *arg)
{
    dr_finishers *f = arg;
    dr_works *w = f->works;
    dr_work *work;
    bool helps;

    pthread_mutex_lock(&w->lock);
    helps = f->begun++ >= w->encoders;
    while ((work = wait_for_work(w, helps))) {
        pthread_mutex_unlock(&w->lock);
        finish_one(w, work);
        pthread_mutex_lock(&w->lock);
    }
    pthread_mutex_unlock(&w->lock);
    dr_pictures_thread_done();
    return NULL;
}

dr_finish_counts dr_finish_counts_of(int finish_threads)
{
    const int cores = dr_cores();

    if (finish_threads > 0)
        return (dr_finish_counts){ .encoders = finish_threads, .threads = finish_threads };
    return (dr_finish_counts){ .encoders = cores >= 4 ? cores / 2 : 1, .threads = cores };
}

dr_status dr_finishers_start(dr_finishers **out, dr_works *w, dr_error *err)
{
    const int threads = w->finish_threads;
    dr_finishers *f = calloc(1, sizeof(*f) + (size_t)threads * sizeof(f->thread[0]));

    *out = f;
    if (!f)
        return dr_fail(err, DR_ENOMEM, "no memory for %d finish threads", threads);
    f->works = w;
    for (; f->started < threads; f->started++)
        if (!dr_thread_start(&f->thread[f->started], finish, f))
            return dr_fail(err, DR_ENOMEM, "no memory for %d finish threads", threads);
    return DR_OK;
}

void dr_finishers_join(dr_finishers *f)
{
    if (!f)
        return;
    for (int i = 0; i < f->started; i++)
        pthread_join(f->thread[i], NULL);
    free(f);
}

/* pipeline_work.h - what the files of the pipeline share; nobody else includes this.
 *
 *     pipeline.c            threads, lists, submit, cancel, drain, stop
 *     pipeline_batch.c      one batch on the engine
 *     pipeline_pictures.c   what the engine decodes beside the next one
 *     pipeline_aside.c      jobs that wait for a model, or for memory
 *
 * A dr_work is a job on its way.  It is on one of the lists below, or in the scheduler and on
 * `waiting`; who moves it holds the lock. */
#ifndef DR_WORKER_PIPELINE_PIPELINE_WORK_H
#define DR_WORKER_PIPELINE_PIPELINE_WORK_H

#include "scheduler/scheduler.h"
#include "worker/pipeline/pipeline.h"

#include <pthread.h>
#include <sys/queue.h>

typedef struct dr_work {
    TAILQ_ENTRY(dr_work) link;
    dr_result
        *result; /* made at submit, so that a failure needs no memory; owns the job.  NULL: answered while its
                          batch goes on, see dr_pipeline_answer() */
    dr_batch_key key;
    int64_t accepted_ns, deadline_ns; /* monotonic; INT64_MAX: none */
    bool canceled;                    /* under the lock */
    int shortages;                    /* tries that failed for one */
    int asides;                       /* how often it was put aside */
    int64_t aside_since_ns;           /* when first */
    int64_t look_ns;                  /* aside: when to see whether it can be run */
    bool returning;                   /* aside: it can */
    uint8_t *rgb[DR_IMAGES_MAX];      /* pixels on their way to the encoder; owned */

    /* The denoise thread's: */
    bool failed;             /* result->error says why */
    bool had_device;         /* when its batch began */
    bool ended;              /* its batch has: it is handed over when no picture of it is under way */
    int under_way;           /* pictures that the engine has */
    int64_t decode_since_ns; /* the first of them */
} dr_work;

/* A picture that the engine has. */
typedef struct dr_under_way {
    dr_work *work;
    int image;
    int picture; /* the engine's name for it */
} dr_under_way;

typedef TAILQ_HEAD(dr_work_list, dr_work) dr_work_list;

struct dr_pipeline {
    dr_pipeline_options options;
    pthread_mutex_t lock;
    pthread_cond_t work;        /* for the denoise thread: something waits */
    pthread_cond_t finish_work; /* for encoders: something is to be finished */
    pthread_cond_t help_work;   /* for the other finish threads: more than the encoders will do at once */
    pthread_cond_t room;        /* in_flight has fallen, or pixels have */
    dr_scheduler *scheduler;    /* every work on `waiting` */
    dr_work_list waiting, running, finishing, aside;
    int aside_count;
    int returning;       /* of those, without a place in in_flight: they can be run, and go before new jobs */
    uint64_t jobs_alone; /* how many jobs have been queued to run alone; the last one's number in its key */
    int in_flight;
    int finishing_count;
    int encoders,
        finishing_threads; /* finish threads that never rest; those that have begun: the first are these */
    int pixels;            /* works on `finishing`, or with an encoder, that hold pixels */
    bool stopping;
    dr_device_load load; /* after the last batch */
    dr_error lost;       /* how the device was lost; DR_OK while it is not */
    bool opened;         /* the engine has been opened, or not: */
    dr_status open_status;
    dr_error open_error;

    dr_engine *engine;                          /* the denoise thread's */
    uint64_t batches;                           /* the denoise thread's */
    dr_under_way under_way[2 * DR_SAMPLES_MAX]; /* the denoise thread's: the oldest first */
    int pictures_under_way;
    bool denoising; /* denoise_thread was started */
    pthread_t denoise_thread, *finish_thread;
    int finish_threads; /* started */
};

/* The work has left the list that it was on: for the finish threads now.  Under the lock. */
void dr_pipeline_add_finishing(dr_pipeline *p, dr_work *work);

/* Into the scheduler and onto `waiting`; it is in in_flight.  Under the lock. */
void dr_pipeline_enqueue(dr_pipeline *p, dr_work *work);

/* A finish thread has a work that failed: is it put aside, rather than answered?  Without the lock. */
bool dr_pipeline_put_aside(dr_pipeline *p, dr_work *work);

/* Aside -> finishing, with that answer.  Under the lock. */
void dr_pipeline_end_aside(dr_pipeline *p, dr_work *work, dr_status status, const char *why);

/* Aside -> waiting or finishing, those whose time has come.  The denoise thread, under the lock, which it lets go of
 * meanwhile. */
void dr_pipeline_look_aside(dr_pipeline *p);

/* When that is to be called again: in a second at most.  Under the lock. */
int64_t dr_pipeline_next_look_ns(const dr_pipeline *p);

/* All from the denoise thread, without the lock. */

/* Run these (compatible, on `running`) to their end; each moves to `finishing` when its last picture is taken: here, or
 * in dr_pipeline_take_pictures(). */
void dr_pipeline_run_batch(dr_pipeline *p, dr_work *const *work, int count);

/* A sample's picture is begun.  A failure is the caller's to tell. */
dr_status dr_pipeline_begin_picture(dr_pipeline *p, dr_work *work, int image, int sample, dr_error *err);

/* Take the pictures that are there, as far as there is room for the works that they complete; `all`: wait for every one,
 * and for room.  One that can't be had fails its work. */
void dr_pipeline_take_pictures(dr_pipeline *p, bool all);

/* Its batch has ended: running -> finishing, now or when its last picture is taken. */
void dr_pipeline_end_work(dr_pipeline *p, dr_work *work);

/* It has failed, and its batch goes on: its result goes to `finishing` now, and what is left of it stays on `running`,
 * without a result, until dr_pipeline_end_work().  Without memory it is answered then. */
void dr_pipeline_answer(dr_pipeline *p, dr_work *work);

/* running -> finishing; waits while too many pixels are waiting. */
void dr_pipeline_hand_over(dr_pipeline *p, dr_work *work);
bool dr_pipeline_has_room(dr_pipeline *p); /* it would not wait */

/* Once the engine has said that the device is lost, that is every job's answer. */
void dr_pipeline_note_loss(dr_pipeline *p, const dr_error *err);

void dr_work_fail(dr_work *work, const dr_error *err, const dr_refusal *refusal /* or NULL */);
void dr_work_free_pixels(dr_work *work);
void dr_pipeline_tell(dr_pipeline *p, const dr_job_event *event);

#endif

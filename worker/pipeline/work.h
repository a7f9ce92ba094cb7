/* work.h - a job on its way through the pipeline, and the stages it goes through.
 *
 *     accept -> WAITING -> RUNNING -> FINISHING -> ENCODING -> end, with a result
 *                  |                      ^            |
 *                  +-- canceled, late ----+            +-> ASIDE -> WAITING or FINISHING
 *
 *     WAITING      in the scheduler
 *     RUNNING      in the batch that runs, or in the one before it with pictures that are not taken yet
 *     FINISHING    waits for a finish thread
 *     ENCODING     a finish thread has it
 *     ASIDE        it cannot run now and may later (worker/pipeline/aside.h)
 *
 * A work is in exactly one stage.  A thread that moves it to another stage holds the lock.  While a work is
 * RUNNING or ENCODING, its other fields belong to the thread that has it.  In any other stage they belong to
 * the thread that holds the lock. */
#ifndef DR_WORKER_PIPELINE_WORK_H
#define DR_WORKER_PIPELINE_WORK_H

#include "scheduler/scheduler.h"
#include "worker/pipeline/options.h"

#include <pthread.h>
#include <sys/queue.h>

typedef enum dr_stage {
    DR_NO_STAGE, /* not accepted yet, or ended */
    DR_WAITING,
    DR_RUNNING,
    DR_FINISHING,
    DR_ENCODING,
    DR_ASIDE,
    DR_STAGES
} dr_stage;

typedef struct dr_work {
    TAILQ_ENTRY(dr_work) link;
    dr_stage stage; /* under the lock */
    /* The work owns the result, and the result owns the job.  It is made when the job is accepted, so that a
     * failure needs no memory.  NULL: the job was answered while its batch went on (dr_works_answer()). */
    dr_result *result;
    dr_batch_key key;            /* equal for all jobs of its batch */
    int64_t accepted_ns;         /* by dr_clock_ns() */
    int64_t deadline_ns;         /* by dr_clock_ns(); INT64_MAX: none */
    bool canceled;               /* under the lock */
    uint8_t *rgb[DR_IMAGES_MAX]; /* pixels on their way to the encoder; owned */
    bool failed;                 /* result->error says why; it has no pixels then */

    /* The denoise thread uses these while the work is RUNNING: */
    bool had_device;         /* the device was not lost when its batch began */
    bool batch_ended;        /* it moves on as soon as no picture of it is under way */
    int pictures_under_way;  /* its pictures that the engine has */
    int64_t decode_since_ns; /* when the first of them was begun */

    /* For aside.c: */
    int shortages;          /* how often it failed for a shortage of memory */
    int asides;             /* how often it was put aside */
    int64_t aside_since_ns; /* when it was put aside first */
    int64_t look_ns;        /* ASIDE: when to look whether it can run */
    bool can_return;        /* ASIDE: it can run, as soon as there is room */
} dr_work;

typedef TAILQ_HEAD(dr_work_list, dr_work) dr_work_list;

/* All works of one pipeline, shared by its threads.  Every field is under the lock, except the fields that
 * never change. */
typedef struct dr_works {
    dr_pipeline_options options; /* never changes */
    int encoders;                /* never changes: finish threads that encode as soon as one work waits */
    int finish_threads;          /* never changes: encoders, and the threads that help them */
    int pixels_max;              /* never changes: bound of `pixels` */

    pthread_mutex_t lock;
    pthread_cond_t to_denoise; /* for the denoise thread: a work waits, or is put aside */
    pthread_cond_t to_finish;  /* for the encoders: a work is to be finished */
    pthread_cond_t to_help;    /* for the other finish threads: there are more works than encoders */
    pthread_cond_t room;       /* for everybody: in_flight or pixels has become less */

    dr_scheduler *scheduler; /* has every work that is WAITING */
    dr_work_list list[DR_STAGES];
    int count[DR_STAGES];
    int in_flight;       /* works that have one of the jobs_max places */
    int answered;        /* works RUNNING without a result */
    int pixels;          /* works FINISHING or ENCODING with pixels */
    int aside_for_model; /* works ASIDE for a model: they have no place in in_flight */
    int returning;       /* how many of these can return: they go before new jobs */
    uint64_t jobs_alone; /* jobs queued to run alone; the newest has this number in its key */
    bool stopping;
    dr_error lost; /* how the device was lost; DR_OK while it is not */
} dr_works;

/* --- one work ------------------------------------------------------------------------ */

/* The work fails with this error and this refusal (NULL: there is none); both are copied.  "job ID: " is put
 * before the error's text.  The work's pixels are freed.  It must not have failed before. */
void dr_work_fail(dr_work *work, const dr_error *err, const dr_refusal *refusal);

/* Free the pixels of the work.  A work without pixels is allowed. */
void dr_work_free_pixels(dr_work *work);

/* Whether the work has this id, was sent until then (Unix time) and is not answered yet.  Under the lock. */
bool dr_work_is_meant(const dr_work *work, const char *job_id, int64_t sent_until_ms);

/* --- all works ----------------------------------------------------------------------- */

/* Initialise *w, which must be zeroed, for so many encoders and finish threads.  After a failure (DR_ENOMEM)
 * dr_works_free() is allowed too. */
dr_status dr_works_init(dr_works *w, const dr_pipeline_options *options, int encoders, int finish_threads,
                        dr_error *err);

/* Free everything that *w holds, with all its works, which get no result.  No other thread may use *w any
 * more. */
void dr_works_free(dr_works *w);

/* From now on nobody waits, and threads that look for a work find none.  Without the lock. */
void dr_works_stop(dr_works *w);

/* Hand the event to on_event, if somebody listens.  With or without the lock. */
void dr_works_tell(const dr_works *w, const dr_job_event *event);

/* A new job is WAITING.  False: there is no room or no memory, or the pipeline is stopping; the job stays
 * the caller's then.  Without the lock. */
bool dr_works_accept(dr_works *w, dr_job *job);

/* Whether a new job would be accepted now.  Under the lock. */
bool dr_works_have_room(const dr_works *w);

/* The work leaves one stage for another.  The caller counts its place in in_flight.  Under the lock. */
void dr_works_move(dr_works *w, dr_work *work, dr_stage from, dr_stage to);

/* What must hold between any two moves: the counts of the stages, of the scheduler and of in_flight agree,
 * and no bound is exceeded.  It takes constant time.  Under the lock. */
void dr_works_check(const dr_works *w);

/* The work leaves that stage (DR_NO_STAGE: the work is new) and is WAITING.  It already has its place in
 * in_flight.  Under the lock. */
void dr_works_enqueue(dr_works *w, dr_work *work, dr_stage from);

/* The work leaves that stage and is FINISHING.  Under the lock. */
void dr_works_finish(dr_works *w, dr_work *work, dr_stage from);

/* The work fails before it ran: it leaves WAITING and is FINISHING.  The scheduler must have given it back.
 * Under the lock. */
void dr_works_end_waiting(dr_works *w, dr_work *work, dr_status status, const char *why);

/* A RUNNING work has failed while its batch goes on.  Its result is FINISHING from now on, as a work of its
 * own.  The old work stays RUNNING, without a result, until dr_works_end_run().  If there is no memory for a
 * second work, the old one is answered only in dr_works_end_run().  On the denoise thread, without the
 * lock. */
void dr_works_answer(dr_works *w, dr_work *work);

/* A RUNNING work has all its pixels, or has failed: it is FINISHING.  A work that was answered already is
 * freed.  Waits while too many works with pixels wait to be encoded.  On the denoise thread, without the
 * lock. */
void dr_works_end_run(dr_works *w, dr_work *work);

/* Whether dr_works_end_run() would return without waiting.  Without the lock. */
bool dr_works_have_room_for_pixels(dr_works *w);

/* Free the pixels of an ENCODING work.  had_pixels: the work had pixels when it became ENCODING.  Without
 * the lock. */
void dr_works_drop_pixels(dr_works *w, dr_work *work, bool had_pixels);

/* Hand over the result of an ENCODING work, and free the work.  Without the lock. */
void dr_works_end(dr_works *w, dr_work *work);

/* DR_OK, or how the device was lost; err may be NULL.  Without the lock. */
dr_status dr_works_lost(dr_works *w, dr_error *err);

/* The engine failed with *err.  If *err says that the device is lost, every job fails with it from now on.
 * Without the lock. */
void dr_works_note_loss(dr_works *w, const dr_error *err);

/* Whether the pipeline is stopping.  Without the lock. */
bool dr_works_are_stopping(dr_works *w);

#endif

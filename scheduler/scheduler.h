/* scheduler.h - which jobs run together, and when (docs/batcher.md).
 *
 * The scheduler sees a job as a key, a number of samples, a priority and a deadline.  It knows no model,
 * no picture and no broker, does no I/O and has no clock and no threads.  Time is an argument, so that a
 * test can run through a day in a moment.
 *
 *     dr_scheduler_add()      a job waits
 *     dr_scheduler_next()     the device is idle: what should it do now?
 *     dr_scheduler_remove()   a job was canceled while it waited
 *
 * Jobs with equal keys may run as one batch.  The scheduler never lets the device wait for more jobs: an
 * idle device gets the waiting jobs at once, and while the device is busy, batches build up.
 *
 * May call: base/.  One thread at a time: the caller has a lock. */
#ifndef DR_SCHEDULER_SCHEDULER_H
#define DR_SCHEDULER_SCHEDULER_H

#include "base/error.h"
#include "base/limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct dr_scheduler dr_scheduler;

/* What must be equal for two jobs to share a batch.  The scheduler only compares it. */
typedef struct dr_batch_key {
    unsigned char digest[32]; /* made by the caller from all that the jobs of a batch must agree on */
    uint64_t alone; /* 0: may run with every job of that digest; else a number of its own: it runs alone */
} dr_batch_key;

/* Whether jobs with these keys may share a batch.  Any thread may call. */
bool dr_batch_key_equal(const dr_batch_key *a, const dr_batch_key *b);

typedef struct dr_waiting_job {
    void *job; /* the caller's; next and remove give it back */
    dr_batch_key key;
    int samples;         /* pictures that the job asks for; at least 1 */
    int priority;        /* a job with a higher priority goes first */
    int64_t deadline_ns; /* from then on the job may not begin to run; INT64_MAX: none */
} dr_waiting_job;

typedef struct dr_scheduler_options {
    size_t jobs_max; /* how many may wait; at least 1 */
} dr_scheduler_options;

typedef enum dr_decision {
    DR_IDLE,      /* no job waits */
    DR_RUN_BATCH, /* the jobs are to run together */
    DR_EXPIRE     /* the jobs' deadlines have passed: let each fail, then ask again */
} dr_decision;

typedef struct dr_batch {
    dr_decision decision;
    dr_batch_key key; /* RUN_BATCH: the key of each job */
    int jobs;
    void *job[DR_BATCH_JOBS_MAX]; /* as they were added; they are not in the scheduler any more */
    int samples;                  /* of all its jobs */
} dr_batch;

/* An empty scheduler with room for jobs_max jobs; nothing is allocated later.  DR_ENOMEM: *out is NULL. */
dr_status dr_scheduler_create(dr_scheduler **out, const dr_scheduler_options *options, dr_error *err);

/* Free the scheduler.  Jobs that still wait belong to the caller.  NULL is allowed. */
void dr_scheduler_free(dr_scheduler *s);

/* The job waits from now on; *job is copied.  A job waits once at most.  DR_ENOMEM (retriable): jobs_max are
 * waiting. */
dr_status dr_scheduler_add(dr_scheduler *s, const dr_waiting_job *job, dr_error *err);

/* How many samples of that key the device can hold at once; at least 1.  It must not call the scheduler. */
typedef int (*dr_samples_max_fn)(void *arg, const dr_batch_key *key);

/* What an idle device is to do at the time now_ns.  now_ns and the deadlines are times of the same clock.  A
 * batch has at most samples_max samples, and at most DR_BATCH_JOBS_MAX jobs.  A job that has more samples
 * than that is a batch of its own. */
dr_batch dr_scheduler_next(dr_scheduler *s, int64_t now_ns, dr_samples_max_fn samples_max, void *arg);

/* The job stops waiting.  False: it was not waiting. */
bool dr_scheduler_remove(dr_scheduler *s, const void *job);

/* How many jobs wait. */
size_t dr_scheduler_waiting(const dr_scheduler *s);

#endif

/* scheduler.h - which jobs run together, and when.
 *
 * The scheduler sees jobs as a key, a number of samples and times; it knows no model, no
 * picture, no broker.  It does no I/O, has no clock and no threads: time is an argument
 * (nanoseconds, any origin), so the simulator runs this very code.
 *
 *     dr_scheduler_add()      a job is waiting
 *     dr_scheduler_next()     the device is idle: what should it do now?
 *     dr_scheduler_remove()   canceled while waiting
 *
 * Compatible jobs (equal keys) run as one batch.  It is work-conserving: an idle device gets
 * what is there at once; while the device is busy, batches build up.
 * May call: base/.  One thread, or the caller's lock. */
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
    unsigned char digest[32]; /* the caller's, of all that the jobs of a batch must agree on */
    uint64_t alone; /* 0: with every job of that digest; else the number of a job that runs alone, its own */
} dr_batch_key;

/* Jobs with these keys may share a batch.  Any thread may call. */
bool dr_batch_key_equal(const dr_batch_key *a, const dr_batch_key *b);

typedef struct dr_waiting_job {
    void *job; /* the caller's; given back by next and remove */
    dr_batch_key key;
    int samples;         /* pictures it asks for; at least 1 */
    int priority;        /* higher goes first */
    int64_t deadline_ns; /* INT64_MAX: none */
} dr_waiting_job;

typedef struct dr_scheduler_options {
    size_t jobs_max; /* waiting at once */
} dr_scheduler_options;

typedef enum dr_decision { DR_IDLE, DR_RUN_BATCH, DR_EXPIRE } dr_decision;

typedef struct dr_batch {
    dr_decision decision;
    dr_batch_key key;
    int jobs; /* RUN_BATCH: to be run together.  EXPIRE: too late, each is to fail */
    void *job[DR_BATCH_JOBS_MAX];
    int samples;
} dr_batch;

dr_status dr_scheduler_create(dr_scheduler **out, const dr_scheduler_options *options, dr_error *err);
void dr_scheduler_free(dr_scheduler *s); /* NULL is allowed; waiting jobs are the caller's */

/* DR_ENOMEM (retriable) where jobs_max are waiting. */
dr_status dr_scheduler_add(dr_scheduler *s, const dr_waiting_job *job, dr_error *err);

/* The next batch for an idle device: at most samples_max samples (a job that alone asks for more is
 * given alone).  samples_max depends on the key, so it is asked for by a call back. */
typedef int (*dr_samples_max_fn)(void *arg, const dr_batch_key *key);
dr_batch dr_scheduler_next(dr_scheduler *s, int64_t now_ns, dr_samples_max_fn samples_max, void *arg);

/* The job leaves the queue; false where it was not waiting (any more). */
bool dr_scheduler_remove(dr_scheduler *s, const void *job);

size_t dr_scheduler_waiting(const dr_scheduler *s);

#endif

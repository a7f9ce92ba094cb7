/* publisher.h - results out: each with the offset of its job, in one transaction.
 *
 *     put() --> [ waiting ] --> publisher thread: plan, send, commit (worker/delivery/outbox.h)
 *               DR_PUBLISH_WAITING_MAX, then put() blocks
 *
 * What is ready goes together: while one transaction is on its way the next one's results gather.
 * A result is dropped without a word to the broker where its partition has gone to another worker, which does the
 * job again and gets the same picture.
 *
 * Where the broker is away it is tried for ever; jobs then stop moving at the full queue.  A message that is not a
 * job goes to the dead-letter topic as it came, with headers that say why and whence.  What the broker will not take for its
 * size becomes smaller, and in the end nothing (worker/delivery/parcel.h).  What is for a topic that can't be written to is set aside
 * and tried again every few seconds, in transactions of its own; the others go on.
 *
 * Threads: start and stop from one; the rest from any. */
#ifndef DR_WORKER_DELIVERY_PUBLISHER_H
#define DR_WORKER_DELIVERY_PUBLISHER_H

#include "worker/delivery/outbox.h"
#include "worker/jobs/result.h"
#include "worker/support/metrics.h"

typedef struct dr_publisher dr_publisher;

typedef struct dr_publisher_options {
    dr_outbox_options outbox;
    dr_books *books; /* borrowed; they outlive the publisher */
    const char *results_topic, *dead_letters_topic;
    const char *worker;  /* named in the results */
    dr_metrics *metrics; /* borrowed; or NULL */
} dr_publisher_options;

dr_status dr_publisher_start(dr_publisher **out, const dr_publisher_options *options, dr_error *err);

/* Takes the result.  Blocks while the queue is full. */
void dr_publisher_put(dr_publisher *p, dr_result *result);

/* Takes the message, which is not a job for the reason in `why`. */
void dr_publisher_put_dead(dr_publisher *p, rd_kafka_message_t *message, const dr_error *why);

/* The job has no result: the device was lost while it ran.  Counts that, with its offset. */
void dr_publisher_put_lost(dr_publisher *p, const dr_job_origin *origin);

/* Wait until everything that was put is committed or dropped; false: not within timeout_ms. */
bool dr_publisher_drain(dr_publisher *p, int timeout_ms);

/* Commit no more, and let nobody wait in put(): what is put from now on is freed.  NULL is allowed. */
void dr_publisher_cancel(dr_publisher *p);

/* Whatever is not committed is given up; nothing is lost, its offsets are not committed either.  NULL is allowed. */
void dr_publisher_stop(dr_publisher *p);

typedef struct dr_publisher_state {
    bool up;         /* ready to commit, and not waiting for a broker */
    int waiting;     /* put and not committed */
    int64_t busy_ms; /* how long the transaction of now has taken; 0: none */
    int aside;       /* of those waiting: for a topic that can't be written to */
    dr_error
        trouble; /* DR_OK, or what keeps results or dead letters from being committed, now or for those set aside */
} dr_publisher_state;

void dr_publisher_state_get(dr_publisher *p, dr_publisher_state *state);

/* DR_OK, or why it can never publish again. */
dr_status dr_publisher_fatal(dr_publisher *p, dr_error *err);

#endif

/* publisher.h - sends answers: each with the offset of its message, in one transaction.
 *
 *     put() --> [ waiting ] --> publisher thread: plan, send, commit (worker/delivery/outbox.h)
 *               DR_PUBLISH_WAITING_MAX, then put() blocks
 *
 * While one transaction is on its way, the next answers gather; they go out together.  An answer is dropped
 * without a word to the broker if its partition has gone to another worker.  That worker does the job again
 * and gets the same picture.
 *
 * If the broker is away, the publisher tries for ever; the queue fills, and then no job moves.  A message
 * that is no job goes to the dead-letter topic as it came, with headers that say why and where it came from.
 * An answer that is too large for the broker becomes smaller, and in the end nothing
 * (worker/delivery/parcel.h). An answer for a topic that can't be written to is set aside and tried again
 * every few seconds, in transactions of its own; the others go on.
 *
 * Threads: dr_publisher_start() and dr_publisher_stop() from one; the rest from any. */
#ifndef DR_WORKER_DELIVERY_PUBLISHER_H
#define DR_WORKER_DELIVERY_PUBLISHER_H

#include "worker/delivery/outbox.h"
#include "worker/jobs/result.h"
#include "worker/support/metrics.h"

typedef struct dr_publisher dr_publisher;

typedef struct dr_publisher_options {
    dr_outbox_options outbox;
    dr_books *books;                                /* borrowed; they outlive the publisher */
    const char *results_topic, *dead_letters_topic; /* copied */
    const char *worker;                             /* named in the results; copied */
    dr_metrics *metrics;                            /* borrowed; or NULL */
} dr_publisher_options;

/* Starts the thread.  Does not wait for the broker.  On success *out is the caller's, to be ended with
 * dr_publisher_stop(); on failure it is NULL. */
dr_status dr_publisher_start(dr_publisher **out, const dr_publisher_options *options, dr_error *err);

/* Takes the result.  Blocks while the queue is full. */
void dr_publisher_put(dr_publisher *p, dr_result *result);

/* Takes the message.  It is no job, for the reason in `why`.  Blocks while the queue is full. */
void dr_publisher_put_dead(dr_publisher *p, rd_kafka_message_t *message, const dr_error *why);

/* The job has no result: the device was lost while it ran.  Counts that, with its offset.  Blocks while the
 * queue is full. */
void dr_publisher_put_lost(dr_publisher *p, const dr_job_origin *origin);

/* Waits until everything that was put is committed or dropped.  False: not within timeout_ms. */
bool dr_publisher_drain(dr_publisher *p, int timeout_ms);

/* From now on nothing more is committed, no call waits in put(), and everything that is put is freed.  NULL
 * is allowed. */
void dr_publisher_cancel(dr_publisher *p);

/* Cancels, ends the thread, and frees what is not committed.  Nothing is lost by that: its offsets are not
 * committed either. NULL is allowed. */
void dr_publisher_stop(dr_publisher *p);

typedef struct dr_publisher_state {
    bool up;          /* ready to commit, and not waiting for a broker */
    int waiting;      /* put, and not committed or dropped yet */
    int64_t busy_ms;  /* how long the current transaction has taken; 0: there is none */
    int aside;        /* of those: set aside for a topic that can't be written to */
    dr_error trouble; /* what keeps answers from being committed, now or for those set aside; or DR_OK */
} dr_publisher_state;

/* Fills *state with what holds at this moment. */
void dr_publisher_state_get(dr_publisher *p, dr_publisher_state *state);

/* DR_OK, or why the publisher can never publish again, in *err. */
dr_status dr_publisher_fatal(dr_publisher *p, dr_error *err);

#endif

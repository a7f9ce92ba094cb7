/* outbox.h - records and offsets to the broker, all of them or none.
 *
 *     exactly once    begin - produce ... - send offsets - commit
 *     at least once           produce ... - wait for all - commit the offsets
 *
 * What can go wrong, and what the caller does:
 *
 *     DR_SENT           committed
 *     DR_SENT_AGAIN     not committed, nothing visible: plan anew and send again, after a pause
 *     DR_SENT_REFUSED   not committed; the broker will never take those records whose error is set, or nothing at all for
 *                       their topic now
 *     DR_SENT_APART     not committed; one of the topics can't be written to, and nobody says which: send each topic's
 *                       records by themselves
 *     DR_SENT_UNKNOWN   the producer was beyond help (fenced, or its transaction ran out of time) and
 *                       has been replaced.  Only the group's offsets tell whether the commit
 *                       arrived: dr_books_reread(), then plan anew
 *     DR_SENT_NEVER     replaced several times in a row without a success: another worker runs under
 *                       this slot, or this one may not write
 *
 * A transaction is aborted as soon as one of its records is refused.  What a topic takes is asked for (worker/kafka/topics.h), so that
 * most of what would be refused is known before anything is sent, and no batch of several is larger than it.
 *
 * Threads: one, the publisher's, but for dr_outbox_cancel() and dr_outbox_is_up(). */
#ifndef DR_WORKER_DELIVERY_OUTBOX_H
#define DR_WORKER_DELIVERY_OUTBOX_H

#include "worker/delivery/books.h"
#include "worker/delivery/record.h"
#include "worker/kafka/kafka.h"

typedef struct dr_outbox dr_outbox;

typedef enum dr_delivery { DR_EXACTLY_ONCE, DR_AT_LEAST_ONCE, DR_DELIVERIES } dr_delivery;

const char *dr_delivery_name(int delivery); /* "exactly_once", "at_least_once" */

typedef struct dr_outbox_options {
    dr_kafka_options kafka;
    dr_delivery delivery;
    const char *slot; /* with the group it makes the transactional.id */
    const char *group;
} dr_outbox_options;

typedef enum dr_sent {
    DR_SENT,
    DR_SENT_AGAIN,
    DR_SENT_REFUSED,
    DR_SENT_APART,
    DR_SENT_UNKNOWN,
    DR_SENT_NEVER,
} dr_sent;

/* Does not wait for the broker. */
dr_status dr_outbox_open(dr_outbox **out, const dr_outbox_options *options, dr_error *err);

/* Get ready to send: a transactional producer makes itself known, which also ends what a dead predecessor of the same slot
 * left open.  Tries until it is done or canceled. */
dr_sent dr_outbox_prepare(dr_outbox *o, dr_error *err);

/* err says what was wrong where the answer is not DR_SENT.  count may be 0: only offsets. */
dr_sent dr_outbox_send(dr_outbox *o, dr_record *records, size_t count, const dr_commit *commit,
                       dr_error *err);

/* Records for this topic will come: can it be written to?  DR_EIO: not now, or no broker answers. */
dr_status dr_outbox_look(dr_outbox *o, const char *topic, dr_error *err);

/* Nothing to send: serve what librdkafka has to say. */
void dr_outbox_idle(dr_outbox *o);

bool dr_outbox_is_up(dr_outbox *o); /* prepared, and not waiting for a broker */

/* Let a send or prepare that is waiting for a broker end early, with DR_SENT_AGAIN. */
void dr_outbox_cancel(dr_outbox *o);

/* An open transaction is left to the broker, which aborts it, or to the slot's next worker.  NULL is allowed. */
void dr_outbox_close(dr_outbox *o);

#endif

/* outbox.h - sends records and offsets to the broker: all of them or none.
 *
 *     exactly once    begin - produce ... - send offsets - commit
 *     at least once           produce ... - wait for all - commit the offsets
 *
 * What can go wrong, and what the caller does:
 *
 *     DR_SENT           Committed.
 *     DR_SENT_AGAIN     Not committed, and nothing is visible.  Plan anew and send again, after a pause.
 *     DR_SENT_REFUSED   Not committed.  Some records have their error set.  The broker will never accept
 *                       them, or it accepts nothing at all for their topic now.
 *     DR_SENT_APART     Not committed.  One of the topics can't be written to, and nobody says which.  Send
 *                       the records of each topic by themselves.
 *     DR_SENT_UNKNOWN   The producer was beyond help (it was fenced, or its transaction ran out of time) and
 *                       has been replaced.  Only the group's offsets tell whether the commit arrived:
 *                       dr_books_reread(), then plan anew.
 *     DR_SENT_NEVER     The producer was replaced several times in a row without a success: another worker
 *                       runs under this slot, or this worker may not write.
 *
 * A transaction is aborted as soon as one of its records is refused.  The outbox asks how much a topic
 * accepts (worker/kafka/topics.h).  So most refusals are known before anything is sent, and no batch of
 * several records is too large.
 *
 * Threads: one, the publisher's; dr_outbox_cancel() and dr_outbox_is_up() from any. */
#ifndef DR_WORKER_DELIVERY_OUTBOX_H
#define DR_WORKER_DELIVERY_OUTBOX_H

#include "worker/delivery/books.h"
#include "worker/delivery/record.h"
#include "worker/kafka/guarantee.h"
#include "worker/kafka/kafka.h"

typedef struct dr_outbox dr_outbox;

typedef struct dr_outbox_options {
    dr_kafka_options kafka;
    dr_delivery delivery;
    const char *slot; /* the worker's stable name: with the group it makes the transactional.id */
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

/* Makes the producer.  Does not wait for the broker.  Copies the options.  On success *out is the caller's,
 * who ends it with dr_outbox_close().  On failure *out is NULL. */
dr_status dr_outbox_open(dr_outbox **out, const dr_outbox_options *options, dr_error *err);

/* Gets ready to send.  A transactional producer makes itself known to the broker.  This also ends a
 * transaction that a dead worker of the same slot left open.  Tries until it is done or canceled. */
dr_sent dr_outbox_prepare(dr_outbox *o, dr_error *err);

/* Sends the records, which stay the caller's, and commits the offsets.  If the answer is not DR_SENT, err
 * says what was wrong.  count may be 0: then there are only offsets. */
dr_sent dr_outbox_send(dr_outbox *o, dr_record *records, size_t count, const dr_commit *commit,
                       dr_error *err);

/* Records for this topic will come: finds out whether it can be written to.  DR_EIO: not now, or no broker
 * answers. */
dr_status dr_outbox_look(dr_outbox *o, const char *topic, dr_error *err);

/* There is nothing to send: serves librdkafka's callbacks. */
void dr_outbox_idle(dr_outbox *o);

/* Whether it is prepared and not waiting for a broker.  Any thread. */
bool dr_outbox_is_up(dr_outbox *o);

/* A send or prepare that waits for a broker ends early, with DR_SENT_AGAIN.  Any thread. */
void dr_outbox_cancel(dr_outbox *o);

/* Closes the outbox.  An open transaction is left: the broker aborts it, or the next worker of the slot
 * does.  NULL is allowed. */
void dr_outbox_close(dr_outbox *o);

#endif

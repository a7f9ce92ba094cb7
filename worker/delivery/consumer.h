/* consumer.h - takes jobs in: the worker's client in the consumer group.
 *
 *     broker -> librdkafka's queue of each partition -> dr_books_admit() -> inbox -> dr_books_next()
 *               queued.min.messages                                         DR_INBOX_MESSAGES_MAX
 *
 * The consumer has a thread that polls as long as it is open, whatever the rest of the worker does.  So a
 * long batch never costs the membership.  If the inbox is full, or the window of a partition
 * (worker/delivery/ledger.h), the queue of the partition is left alone, and librdkafka stops fetching.
 * Partitions are not paused: a pause throws away what is fetched already.
 *
 * The connection of a member may hang, and the member comes back.  Then its own first request can fence
 * it, if the broker answers the first request after the second.  So a member that was fenced joins again,
 * with a new client, and its jobs go on where their partitions come back.  If a member is fenced again and
 * again, there is another worker of the same name.
 *
 * Threads: dr_consumer_open() and dr_consumer_close() from one thread; the rest from any. */
#ifndef DR_WORKER_DELIVERY_CONSUMER_H
#define DR_WORKER_DELIVERY_CONSUMER_H

#include "worker/delivery/books.h"
#include "worker/kafka/kafka.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct dr_consumer dr_consumer;

typedef struct dr_consumer_options {
    dr_kafka_options kafka; /* copied */
    const char *slot;       /* the worker's stable name, its group.instance.id; copied */
    dr_books *books;        /* borrowed; they outlive the consumer.  They name the topic and the group */
} dr_consumer_options;

/* Joins the group and begins to poll.  Does not wait for the broker.  On success *out is the caller's, to be
 * ended with dr_consumer_close(); on failure it is NULL. */
dr_status dr_consumer_open(dr_consumer **out, const dr_consumer_options *options, dr_error *err);

/* Stops the books, ends the polling thread and closes the client.  Every message and commit of the books
 * must have been given back.  A static member does not leave its group: its partitions wait for it for
 * session.timeout.ms. NULL is allowed. */
void dr_consumer_close(dr_consumer *c);

typedef struct dr_consumer_state {
    bool broker_up; /* at least one broker answers */
    dr_error
        complaint; /* while there is no lease: the last error that the group's client reported; or DR_OK */
    int64_t poll_age_ms; /* since the polling thread last looked around */
} dr_consumer_state;

/* Fills *state with what holds at this moment. */
void dr_consumer_state_get(dr_consumer *c, dr_consumer_state *state);

/* Why no broker can be reached, in one line: a login that is refused, a port that speaks another protocol, a
 * name that nobody knows.  False: a broker answers, or the reason is not known; then *why is unchanged. */
bool dr_consumer_reason(dr_consumer *c, dr_error *why);

#endif

/* consumer_parts.h - the inside of the consumer, for its files.  Each file calls only the files below it.
 *
 *     consumer.c           the polling thread; open and close
 *     consumer_client.c    the group's client: made, and replaced when it was fenced
 *     consumer_assign.c    rebalances: leases begin and end
 *     consumer_health.c    what is known of the brokers
 *     consumer_life.c      created, released; whether it is to end */
#ifndef DR_WORKER_DELIVERY_CONSUMER_PARTS_H
#define DR_WORKER_DELIVERY_CONSUMER_PARTS_H

#include "worker/delivery/consumer.h"
#include "worker/delivery/lease.h"
#include "worker/kafka/ending.h"

#include <pthread.h>

/* A client in the group.  Once it is fenced, it is of no more use: another client takes its place
 * (consumer_client.c). */
typedef struct dr_client {
    dr_consumer *consumer;    /* one reference */
    dr_member *member;        /* owns rk */
    rd_kafka_t *rk;           /* the member's */
    rd_kafka_queue_t *events; /* rebalances, errors, statistics */
    int end_flags;            /* of rd_kafka_destroy_flags() */
} dr_client;

/* One assigned partition, as it is read. */
typedef struct dr_feed {
    int32_t partition;
    int64_t position; /* the offset after the last message that was read, or where reading begins */
    rd_kafka_queue_t *queue;
    rd_kafka_message_t *held; /* read, and the books have no room for it yet; or NULL */
} dr_feed;

struct dr_consumer {
    dr_books *books;
    char *slot;
    dr_kafka_options kafka;
    pthread_t thread;
    bool started;

    pthread_mutex_t lock; /* guards the fields up to the next blank line */
    int references; /* the owner's, and one for each client, whose threads call back with the consumer */
    bool closing;
    bool broker_up;
    bool answered; /* a broker has taken this consumer into its group: the protocol is the right one */
    int64_t polled_ms;
    dr_error reason;    /* why the brokers can't be reached, as far as that is known */
    dr_error complaint; /* of the client, since the last lease */

    /* The polling thread's own: */
    dr_client *client;
    dr_endings *endings; /* clients that are being ended */
    dr_feed *feeds;
    size_t feeds_count;
    dr_kafka_nag broker_nag, error_nag;
    bool fenced;
    bool topic_is_missing; /* it was missing when the group gave this worker no partitions */
    int64_t look_ms;       /* when to look for it next */
    int rejoins;           /* in a row */
    int64_t leased_ms;     /* when the client's first lease began; 0: none yet */
};

/* --- consumer_life.c --- */

/* Makes a consumer that has no thread and no client yet.  Takes the options as dr_consumer_open() does.
 * The one reference is the caller's; on failure *out is NULL. */
dr_status dr_consumer_create(dr_consumer **out, const dr_consumer_options *options, dr_error *err);

/* Gives one reference back; with the last one the consumer is freed.  Any thread, without the lock. */
void dr_consumer_release(dr_consumer *c);

/* The polling thread: notes that it is alive.  True: the thread is to end. */
bool dr_consumer_is_closing(dr_consumer *c);

/* --- consumer_client.c --- */

/* Makes a client that joins the group, in c->client.  On the thread that opens the consumer, or the polling
 * thread.  After a failure c->client is as it was. */
dr_status dr_consumer_join(dr_consumer *c, dr_error *err);

/* The polling thread: the client was fenced.  Puts another one in its place, after a moment.  If that has
 * happened too often in a row, the books are told that it is of no use (dr_books_fail()). */
void dr_consumer_rejoin(dr_consumer *c);

/* The polling thread: the topic was deleted, or another topic has its name.  The books forget what was read
 * of it, and the consumer joins the group like a new member. */
void dr_consumer_start_over(dr_consumer *c);

/* The polling thread: the client joins the group again, and stays the same member.  If it leads the group,
 * the partitions are shared out anew. */
void dr_consumer_subscribe_again(dr_consumer *c);

/* Ends the client and waits for those before it.  None of their messages may be left.  After the polling
 * thread.  A client that librdkafka does not end in time is left behind, with a warning. */
void dr_consumer_end_clients(dr_consumer *c);

/* --- consumer_assign.c --- */

/* Nothing can be committed until the next lease begins; the partitions' queues are let go.  The polling
 * thread, or after it. */
void dr_consumer_end_lease(dr_consumer *c);

/* The polling thread, often: the topic was missing when the group gave this worker no partitions, and is
 * there again.  librdkafka 2.0.2 does not share it out by itself.  True once. */
bool dr_consumer_topic_is_back(dr_consumer *c);

/* librdkafka's callback, on the polling thread. */
void dr_consumer_on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t *list,
                              void *opaque);

/* --- consumer_health.c --- */

/* The polling thread: the message is an error report of the client. */
void dr_consumer_complain(dr_consumer *c, const rd_kafka_message_t *m);

/* The polling thread: a broker has answered. */
void dr_consumer_note_broker(dr_consumer *c);

/* librdkafka's callbacks: the log's on any of its threads, the others on the polling thread. */
void dr_consumer_on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text);
void dr_consumer_on_error(rd_kafka_t *rk, int code, const char *reason, void *opaque);
int dr_consumer_on_statistics(rd_kafka_t *rk, char *json, size_t size, void *opaque);

#endif

/* source_parts.h - the inside of the source, for its four files.
 *
 *     source.c           the polling thread, and the calls of a source
 *     source_client.c    the group's client: made, used by two threads, replaced when it was fenced
 *     source_assign.c    rebalances: leases begin and end
 *     source_commit.c    what is to be committed, and what has been */
#ifndef DR_WORKER_DELIVERY_SOURCE_PARTS_H
#define DR_WORKER_DELIVERY_SOURCE_PARTS_H

#include "worker/delivery/partitions.h"
#include "worker/delivery/source.h"

#include <pthread.h>
#include <stdatomic.h>

enum { DR_ASK_BROKER_MS = 5000 }; /* one try of a request */

typedef struct dr_lease {
    int references; /* under the source's lock: the source, and each commit made under it */
    rd_kafka_consumer_group_metadata_t *group;
} dr_lease;

/* A member of the group.  Fenced, it is of no more use: another takes its place (source_client.c). */
typedef struct dr_client {
    int references; /* under the source's lock: the source's own, and each call of the publisher's that is under way */
    rd_kafka_t *rk;
    rd_kafka_queue_t *events; /* rebalances, errors, statistics */
    dr_source *source;
    pthread_t reaper; /* waits for the references of one that was retired, and for its messages */
    struct dr_client *next;
} dr_client;

struct dr_source {
    char *topic, *group, *slot;
    dr_kafka_options kafka;
    pthread_t thread;
    bool started;
    int wake; /* eventfd: a queue is no longer empty, there is room, or it is time to go */

    pthread_mutex_t lock;   /* of all below */
    pthread_cond_t changed; /* ready, lease, stopped */
    dr_client *client, *retired;
    dr_partitions partitions;
    dr_lease *lease;                                /* NULL between a revocation and the next assignment */
    rd_kafka_message_t *ready[DR_SOURCE_READY_MAX]; /* a ring */
    size_t ready_first, ready_count;
    bool stopped, closing;
    int making; /* of the topic: how often it was seen to be deleted or made anew */
    bool broker_up;
    int64_t rebalances, polled_ms;
    dr_error fatal, reason; /* reason: why the brokers can't be reached, as far as that is known */
    dr_error complaint;     /* of the client, since the last lease */
    atomic_bool made_anew;  /* the topic; or it is missing */
    /* The polling thread's own: */
    dr_kafka_nag broker_nag, error_nag;
    bool fenced;
    int rejoins;       /* in a row */
    int64_t leased_ms; /* when the client's first lease began; 0: none yet */
};

/* A client that has joined the group, in s->client.  On the thread that opens the source, or the polling thread. */
dr_status dr_source_join(dr_source *s, dr_error *err);

/* The polling thread: the client was fenced.  Puts another in its place, after a moment; one that has happened too often
 * in a row makes the source's fatal error. */
void dr_source_rejoin(dr_source *s);

/* The polling thread: the topic was deleted, or is another one of the same name.  What was read of it is forgotten, and the
 * group joined as by somebody who comes new. */
void dr_source_start_over(dr_source *s);

/* The client for a call of another thread than the polling one; to be released.  Any thread. */
dr_client *dr_client_hold(dr_source *s);
void dr_client_release(dr_client *client);

/* Ends the client and those before it.  No message of theirs is left. */
void dr_source_end_clients(dr_source *s);

void dr_source_set_fatal(dr_source *s, const dr_error *err);

/* librdkafka's callbacks: the log's on any of its threads, the others on the polling thread. */
void dr_source_on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text);
void dr_source_on_error(rd_kafka_t *rk, int code, const char *reason, void *opaque);
int dr_source_on_statistics(rd_kafka_t *rk, char *json, size_t size, void *opaque);

/* Nothing can be committed until the next one begins; the queues are let go. */
void dr_source_end_lease(dr_source *s);

void dr_lease_unref(dr_lease *lease); /* under the lock; NULL is allowed */

/* Make the polling thread look around. */
void dr_source_wake(dr_source *s);

/* The ring, under the lock. */
rd_kafka_message_t *dr_source_ready_pop(dr_source *s);
void dr_source_ready_push(dr_source *s, rd_kafka_message_t *m);

/* On the polling thread: it is alive, and is it to end? */
bool dr_source_is_closing(dr_source *s);

/* librdkafka's callback, on the polling thread. */
void dr_source_on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t *list,
                            void *opaque);

#endif

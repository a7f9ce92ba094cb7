/* source_parts.h - the inside of the source, for its three files.
 *
 *     source.c           the polling thread, and the calls of a source
 *     source_assign.c    rebalances: leases begin and end
 *     source_commit.c    what is to be committed, and what has been */
#ifndef DR_WORKER_SOURCE_PARTS_H
#define DR_WORKER_SOURCE_PARTS_H

#include "worker/partitions.h"
#include "worker/source.h"

#include <pthread.h>

enum { DR_ASK_BROKER_MS = 5000 }; /* one try of a request */

typedef struct dr_lease {
    int references; /* under the source's lock: the source, and each commit made under it */
    rd_kafka_consumer_group_metadata_t *group;
} dr_lease;

struct dr_source {
    char *topic, *group;
    rd_kafka_t *rk;
    rd_kafka_queue_t *events; /* rebalances, errors, statistics */
    pthread_t thread;
    bool started;
    int wake; /* eventfd: a queue is no longer empty, there is room, or it is time to go */

    pthread_mutex_t lock;   /* of all below */
    pthread_cond_t changed; /* ready, lease, stopped */
    dr_partitions partitions;
    dr_lease *lease;                                /* NULL between a revocation and the next assignment */
    rd_kafka_message_t *ready[DR_SOURCE_READY_MAX]; /* a ring */
    size_t ready_first, ready_count;
    bool stopped, closing;
    bool broker_up;
    int64_t rebalances, polled_ms;
    dr_error fatal;
    dr_kafka_nag broker_nag, error_nag; /* the polling thread's own */
};

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

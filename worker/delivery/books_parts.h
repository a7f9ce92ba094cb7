/* books_parts.h - the inside of the books, for its two files.
 *
 *     books.c           leases begin and end, messages are admitted and handed out
 *     books_commit.c    what is to be committed, and what has been */
#ifndef DR_WORKER_DELIVERY_BOOKS_PARTS_H
#define DR_WORKER_DELIVERY_BOOKS_PARTS_H

#include "worker/delivery/books.h"
#include "worker/delivery/inbox.h"
#include "worker/delivery/lease.h"
#include "worker/delivery/partitions.h"

#include <pthread.h>
#include <stdatomic.h>

struct dr_books {
    char *topic, *group;
    int wake; /* eventfd */
    atomic_bool topic_gone;

    pthread_mutex_t lock;   /* of all below */
    pthread_cond_t changed; /* inbox, lease, stopped, fatal */
    dr_partitions partitions;
    dr_lease *lease; /* NULL between a revocation and the next assignment */
    dr_inbox inbox;
    bool stopped;
    int incarnation; /* of the topic: how often it was seen to be deleted */
    int64_t rebalances;
    dr_error fatal; /* or DR_OK */
};

/* The partition of the origin; NULL: it is not ours any more.  Under the lock. */
dr_partition *dr_books_find(const dr_books *b, const dr_job_origin *origin);

/* Keeps those messages of the inbox whose jobs run, and frees the others.  While its message is in the
 * inbox, a job stops running if its partition has gone.  It also stops if the partition went and came back:
 * then the job may have been read twice, and the message that was read first is answered.  Under the lock. */
void dr_books_sift_inbox(dr_books *b);

#endif

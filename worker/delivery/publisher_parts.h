/* publisher_parts.h - the inside of the publisher, for its files.
 *
 *     publisher.c          puts parcels into the queue; the thread; start and stop
 *     publisher_queue.c    which parcels wait, and which go next
 *     publisher_send.c     one group, until it is committed or has left
 *     publisher_replies.c  how often the log tells of reply topics that could not be written to
 *     publisher_state.c    whether it is to end, what it is doing, and why it can't go on
 *     publisher_series.c   what is counted */
#ifndef DR_WORKER_DELIVERY_PUBLISHER_PARTS_H
#define DR_WORKER_DELIVERY_PUBLISHER_PARTS_H

#include "worker/delivery/publisher.h"
#include "worker/delivery/publisher_queue.h"
#include "worker/delivery/publisher_replies.h"

#include <pthread.h>

enum {
    DR_PUBLISHER_IDLE_MS = 1000,    /* so late are markers at the end of a partition committed */
    DR_PUBLISHER_PAUSE_MIN_MS = 50, /* after a transaction that was aborted; doubled up to: */
    DR_PUBLISHER_PAUSE_MAX_MS = 3000,
};

typedef struct dr_publisher_series {
    dr_series *state[4]; /* by dr_result_state_name() */
    dr_series *dead_letters, *unanswered, *dropped, *aborted, *bytes, *seconds;
} dr_publisher_series;

struct dr_publisher {
    dr_outbox *outbox;
    dr_books *books;
    char *results_topic, *dead_letters_topic, *worker;
    dr_publisher_series series;
    pthread_t thread;
    bool started;

    /* The thread's own: */
    dr_kafka_nag nag;
    dr_publisher_replies replies;
    int64_t look_ms; /* when the topics are looked at again */

    pthread_mutex_t lock; /* of all below */
    pthread_cond_t changed;
    dr_publisher_queue queue;
    bool stopped;
    int64_t busy_since_ms; /* 0: idle */
    dr_error fatal;
    dr_error trouble; /* of the last send, or of the parcels that are set aside */
    dr_error topics;  /* of the last look at them */
};

/* Whether the publisher is to end: then nothing more is committed.  Any thread. */
bool dr_publisher_is_stopped(dr_publisher *p);

/* Waits for `ms`, or until the publisher is to end.  Any thread. */
void dr_publisher_pause(dr_publisher *p, int ms);

/* It can never publish again, for the reason in err.  The publisher's thread. */
void dr_publisher_set_fatal(dr_publisher *p, const dr_error *err);

/* Sends a group until each parcel is committed, dropped, put back or set aside, or until the publisher is to
 * end.  Frees the parcels that are left in the group, and returns how many parcels were freed.  An empty
 * group commits only the offsets of markers.  The publisher's thread. */
int dr_publisher_send_group(dr_publisher *p, dr_parcel_group *group);

/* The series in the metrics, which may be NULL. */
void dr_publisher_series_make(dr_publisher_series *s, dr_metrics *metrics);

/* One transaction of these parcels is committed; it took so many seconds. */
void dr_publisher_series_count(dr_publisher_series *s, const dr_parcel_group *group, double seconds);

#endif

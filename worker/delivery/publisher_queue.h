/* publisher_queue.h - the parcels of a publisher: those that wait, those that are set aside, and the group
 * that is sent.
 *
 *     push --> [ waiting ] --> begin_group --> [ group ] --> end_group
 *                   ^                           |    |
 *                   +-------- put_back ---------+    |
 *              [ aside ] <--- set_aside -------------+
 *                   +-------> begin_group
 *
 * A parcel is in exactly one of the three, which is asserted.
 *
 * A value inside the publisher, which locks it.  It owns the parcels that wait or are set aside; the parcels
 * of the group belong to the publisher's thread, and are only counted here. */
#ifndef DR_WORKER_DELIVERY_PUBLISHER_QUEUE_H
#define DR_WORKER_DELIVERY_PUBLISHER_QUEUE_H

#include "base/limits.h"
#include "worker/delivery/parcel.h"

typedef struct dr_publisher_queue {
    dr_parcel *first, **last; /* waiting, the oldest first */
    dr_parcel *aside;         /* for topics that can't be written to now, the newest first */
    int waiting_count, aside_count;
    int sending;    /* in the group of now */
    size_t bytes;   /* of the parcels that wait or are set aside */
    int64_t due_ms; /* when those set aside are tried again */
} dr_publisher_queue;

/* The parcels that go out in one transaction. */
typedef struct dr_parcel_group {
    dr_parcel *parcel[DR_PUBLISH_ITEMS_MAX];
    size_t count;
} dr_parcel_group;

/* An empty queue. */
void dr_publisher_queue_init(dr_publisher_queue *q);

/* Whether the parcel may be pushed now.  The first parcel may be of any size. */
bool dr_publisher_queue_has_room(const dr_publisher_queue *q, const dr_parcel *parcel);

/* Takes the parcel, and puts it behind the waiting parcels. */
void dr_publisher_queue_push(dr_publisher_queue *q, dr_parcel *parcel);

/* Moves parcels into the empty group.  If parcels that were set aside are due, only they go, so that they
 * keep no others waiting.  Otherwise waiting parcels go, as many as one transaction may have. */
void dr_publisher_queue_begin_group(dr_publisher_queue *q, dr_parcel_group *group, int64_t now_ms);

/* A parcel of the group goes back to the front of the waiting parcels.  Takes it. */
void dr_publisher_queue_put_back(dr_publisher_queue *q, dr_parcel *parcel);

/* A parcel of the group is set aside until due_ms.  Takes it. */
void dr_publisher_queue_set_aside(dr_publisher_queue *q, dr_parcel *parcel, int64_t due_ms);

/* The group has ended: `freed` of its parcels are gone, and none is left in it. */
void dr_publisher_queue_end_group(dr_publisher_queue *q, int freed);

/* The number of parcels that are not freed yet: waiting, set aside or in the group. */
int dr_publisher_queue_count(const dr_publisher_queue *q);

/* Frees the parcels that wait or are set aside. */
void dr_publisher_queue_clear(dr_publisher_queue *q);

#endif

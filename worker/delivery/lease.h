/* lease.h - a member of the consumer group, and the leases that it was given.
 *
 * An assignment gives partitions and a lease.  The lease holds the group metadata (generation, member id) of
 * the moment of the assignment.  The offsets of the partitions are committed with the metadata of their
 * lease, never with the current metadata: a broker accepts the current metadata even for a partition that has
 * moved to another member.
 *
 * A member outlives its place in the group as long as one of its leases lives, since a commit may still be
 * on its way. */
#ifndef DR_WORKER_DELIVERY_LEASE_H
#define DR_WORKER_DELIVERY_LEASE_H

#include <librdkafka/rdkafka.h>

typedef struct dr_member dr_member;

typedef struct dr_lease {
    int references; /* under the books' lock: the books' own, and each commit that was planned under it */
    rd_kafka_consumer_group_metadata_t *group;
    dr_member *member; /* held */
} dr_lease;

/* Takes rk.  NULL without memory: rk is still the caller's then. */
dr_member *dr_member_create(rd_kafka_t *rk);

/* The client, borrowed.  It is valid as long as the member or one of its leases.  Any thread. */
rd_kafka_t *dr_member_client(const dr_member *m);

/* Waits until the member has no leases, then until the last of its messages is destroyed, and frees the
 * member. flags: those of rd_kafka_destroy_flags().  NULL is allowed. */
void dr_member_end(dr_member *m, int flags);

/* A lease with one reference, the caller's.  NULL without memory. */
dr_lease *dr_lease_create(dr_member *member);

/* Adds one reference.  Under the books' lock. */
void dr_lease_hold(dr_lease *l);

/* Gives one reference back; the last one frees it.  Under the books' lock.  NULL is allowed. */
void dr_lease_release(dr_lease *l);

#endif

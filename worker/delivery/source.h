/* source.h - jobs in: the group's consumer, and the books of what it has taken.
 *
 *     broker -> librdkafka's queue of each partition -> [ready] -> take()
 *               queued.min.messages                     DR_SOURCE_READY_MAX
 *
 * One thread of its own polls for as long as the source is open, whatever the rest of the worker
 * does, so a long batch never costs the membership.  Where `ready` is full, or a partition's
 * window (worker/delivery/ledger.h), the partition's own queue is left alone and librdkafka stops fetching: no pause, which would throw
 * away what is fetched.
 *
 * A lease is what an assignment gives: partitions, and the group metadata (generation, member)
 * of the moment when they were got.  Results are committed with their lease's metadata, never with the current one:
 * a broker accepts the current one for a partition that has moved to another member.
 *
 *     assign   read committed offset + metadata -> ledger; what ran here before and is not
 *              finished since keeps running; the lease begins
 *     revoke   the lease ends: nothing can be committed until the next one
 *     assign   jobs whose partition did not come back: their results are dropped, somebody
 *              else does them
 *
 * A member that comes back after its connection hung can be fenced by its own first request, which the broker answers after the
 * second one.  So one that was fenced joins again, as a new client; what runs goes on where the partitions come back.  Only one that is
 * fenced again and again has a namesake.
 *
 * A topic that is deleted and made again has the same offsets for other jobs.  Its making is therefore counted, here, and stands
 * in each origin: what was taken from an earlier one is not ours any more.
 *
 * Threads: dr_source_open() and _close() from one thread; the rest from any. */
#ifndef DR_WORKER_DELIVERY_SOURCE_H
#define DR_WORKER_DELIVERY_SOURCE_H

#include "worker/jobs/job.h"
#include "worker/kafka/kafka.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct dr_source dr_source;

typedef struct dr_source_options {
    dr_kafka_options kafka;
    const char *topic, *group;
    const char *slot; /* the worker's stable name: its group.instance.id */
} dr_source_options;

/* Does not wait for the broker. */
dr_status dr_source_open(dr_source **out, const dr_source_options *options, dr_error *err);

/* The next message, or NULL after timeout_ms, or at once after dr_source_stop().  To be destroyed before the
 * source is closed.  Its offset is running from now on: it ends in a commit or in dr_source_drop(). */
rd_kafka_message_t *dr_source_take(dr_source *s, int timeout_ms);

/* Where it was read. */
dr_job_origin dr_source_origin(const rd_kafka_message_t *message);

/* Its topic was seen to be missing: what was read of it is forgotten. */
void dr_source_topic_is_gone(dr_source *s);

/* No more messages; the membership and its leases go on, so that what runs can be committed. */
void dr_source_stop(dr_source *s);

/* Leaves the polling thread and closes the consumer.  A static member does not leave its group: its
 * partitions wait for it for session.timeout.ms.  NULL is allowed. */
void dr_source_close(dr_source *s);

/* --- committing: one caller at a time, the publisher ------------------------------------ */

/* What became of one origin in a plan. */
typedef struct dr_settled {
    dr_job_origin origin;
    bool lost; /* said by the caller: it has no result, the device was lost with it; to be counted */
    bool ours; /* false: its partition has gone, or its job is finished already */
    rd_kafka_headers_t *headers; /* of its message, those to be passed on; or NULL. The caller's */
} dr_settled;

typedef struct dr_commit {
    rd_kafka_topic_partition_list_t *offsets; /* with the ledgers' metadata */
    const rd_kafka_consumer_group_metadata_t *group;
    size_t count; /* of settled: those that are ours */
    dr_settled *settled;
    void *lease; /* keeps `group` alive */
    dr_source *source;
} dr_commit;

/* Wait for a lease; false: none within timeout_ms. */
bool dr_source_wait_lease(dr_source *s, int timeout_ms);

/* What is to be committed once these are done, under the current lease: says which of them are ours, and
 * fills *out, to be given to dr_source_committed() or dr_commit_free().  *out is NULL where nothing is to be committed.
 * With count 0: where markers and holes were passed.  DR_EIO: there is no lease now. */
dr_status dr_source_plan(dr_source *s, dr_settled *settled, size_t count, dr_commit **out, dr_error *err);

/* The commit has happened.  Takes it. */
void dr_source_committed(dr_source *s, dr_commit *commit);
void dr_commit_free(dr_commit *commit); /* it has not; NULL is allowed */

/* Nobody knows whether the last commit arrived: ask the group, and take what it has as finished. */
dr_status dr_source_reread(dr_source *s, dr_error *err);

/* Commit through the consumer, without a transaction. */
dr_status dr_source_commit_plain(dr_source *s, const dr_commit *commit, dr_error *err);

/* How often a device was lost with this job, which runs. */
int dr_source_losses(dr_source *s, const dr_job_origin *origin);

/* There will be no result here. */
void dr_source_drop(dr_source *s, const dr_job_origin *origin);

/* --- state -------------------------------------------------------------------------------- */

typedef struct dr_source_state {
    bool leased;    /* has partitions, or has been told that there are none for it */
    bool broker_up; /* at least one broker answers */
    int partitions;
    int running;         /* messages taken or ready, without a commit */
    int64_t lag;         /* messages between the positions and the ends of the partitions */
    int64_t window_used; /* offsets held by the fullest ledger */
    int64_t rebalances;
    dr_error complaint;  /* while not leased: what the group's client last said was wrong; or DR_OK */
    int64_t poll_age_ms; /* since the polling thread was last around */
} dr_source_state;

void dr_source_state_get(dr_source *s, dr_source_state *state);

/* DR_OK, or why this consumer can never read again: other clients have taken its slot again and again. */
dr_status dr_source_fatal(dr_source *s, dr_error *err);

/* Why no broker can be reached, in one line: a login that is refused, a port that speaks something else, a name that nobody
 * knows.  False: a broker answers, or nothing is known.  Any thread. */
bool dr_source_reason(dr_source *s, dr_error *why);

const char *dr_source_topic(const dr_source *s);
const char *dr_source_group(const dr_source *s);

#endif

/* books.h - the books: what this worker has read, which jobs of it run, and what may be committed.
 *
 * An offset goes one way through this folder, and includes show it (tools/lint.sh):
 *
 *     consumer -> books -> (intake, pipeline) -> publisher -> outbox -> books
 *     polls       admits                         plans        sends     note what was committed
 *
 * The books know neither the consumer nor the publisher.  They hold a ledger for each partition
 * (worker/delivery/ledger.h) and the lease under which the partitions are held (worker/delivery/lease.h):
 *
 *     assign   The committed offsets and their metadata become ledgers.  A job that ran here before goes on
 *              running, unless somebody has settled it since.  The lease begins.
 *     revoke   The lease ends.  Nothing can be committed until the next one begins.
 *     assign   The results of jobs whose partition did not come back are left out of the next commit:
 *              another worker does those jobs.
 *
 * If a topic is deleted and created again, it has the same offsets for other jobs.  This worker counts these
 * incarnations of the topic from 0.  The origin of each job has the number of its incarnation.  A job of an
 * earlier incarnation is not ours any more.
 *
 * Threads: dr_books_open() and dr_books_close() from one thread; each group of calls below says who makes
 * them. */
#ifndef DR_WORKER_DELIVERY_BOOKS_H
#define DR_WORKER_DELIVERY_BOOKS_H

#include "worker/jobs/job.h"

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdint.h>

struct dr_partitions;
struct dr_lease;

typedef struct dr_books dr_books;

/* Empty books for the messages of a topic, read by a consumer group.  Copies both names.  On success *out is
 * the caller's, to be ended with dr_books_close(); on failure it is NULL. */
dr_status dr_books_open(dr_books **out, const char *topic, const char *group, dr_error *err);

/* After the publisher has stopped and the consumer is closed.  NULL is allowed. */
void dr_books_close(dr_books *b);

/* The two names, borrowed from the books.  Any thread. */
const char *dr_books_topic(const dr_books *b);
const char *dr_books_group(const dr_books *b);

/* --- the consumer's calls: its polling thread ------------------------------------------------ */

/* An eventfd.  It becomes readable when the polling thread should look around: there is room again, or
 * something has happened.  The books own it.  Its reader reads it until it is empty. */
int dr_books_wake_fd(const dr_books *b);

/* Makes dr_books_wake_fd() readable.  Any thread. */
void dr_books_wake(dr_books *b);

/* A lease begins.  Takes what *partitions holds, and one reference of the lease.  Running jobs whose
 * partition is there again go on; the others are left to other workers. */
void dr_books_begin_lease(dr_books *b, struct dr_partitions *partitions, struct dr_lease *lease);

/* The lease ends, if there is one. */
void dr_books_end_lease(dr_books *b);

/* One message of a partition of the books, or librdkafka's note that the end of the partition is reached.
 * True: the books have it now.  The message of a job that nobody has settled runs from now on and waits in
 * the inbox. False: there is no room for it, or the books are stopped; the message is still the caller's, to
 * be tried again. */
bool dr_books_admit(dr_books *b, rd_kafka_message_t *message);

/* The log of the partition ends there; this is for the lag.  A partition that is not in the books is
 * ignored. */
void dr_books_note_end(dr_books *b, int32_t partition, int64_t end);

/* Whether partitions are in the books, with or without a lease. */
bool dr_books_has_partitions(dr_books *b);

/* The topic was deleted: forget its partitions and messages.  What comes from now on belongs to its next
 * incarnation. */
void dr_books_forget(dr_books *b);

/* The number of the topic's incarnation.  Any thread. */
int dr_books_incarnation(dr_books *b);

/* true: somebody saw that the topic is missing, or that another topic has its name.  This wakes the polling
 * thread. false: the polling thread has dealt with it.  Any thread. */
void dr_books_set_topic_gone(dr_books *b, bool gone);

/* The value that was set last.  Any thread. */
bool dr_books_is_topic_gone(dr_books *b);

/* There will never be a lease again, for the reason in err.  The first reason stays. */
void dr_books_fail(dr_books *b, const dr_error *err);

/* --- the calls of intake and pipeline: any thread ------------------------------------------------ */

/* The next message.  It is the caller's, who destroys it before the consumer is closed.  NULL: none came
 * within timeout_ms, or the books are stopped.  Its offset is running until it is committed, or until
 * dr_books_drop(). */
rd_kafka_message_t *dr_books_next(dr_books *b, int timeout_ms);

/* Where the message was read. */
dr_job_origin dr_books_origin(const rd_kafka_message_t *message);

/* How often a device was lost with this running job.  Any thread. */
int dr_books_losses(dr_books *b, const dr_job_origin *origin);

/* There will be no result of this job here. */
void dr_books_drop(dr_books *b, const dr_job_origin *origin);

/* Hands out no more messages, and drops the messages in the inbox.  The lease goes on, so that running jobs
 * can be committed. */
void dr_books_stop(dr_books *b);

/* --- the publisher's calls: one thread at a time ------------------------------------------------ */

/* One offset of a commit. */
typedef struct dr_commit_entry {
    dr_job_origin origin;
    bool lost; /* set by the caller: the device was lost with the job, which has no result */
    bool ours; /* false: its partition has gone to another worker, or the offset is settled already */
    rd_kafka_headers_t *headers; /* owned by the caller: headers that the result carries on; or NULL */
} dr_commit_entry;

/* What is to be committed, planned by dr_books_plan(). */
typedef struct dr_commit {
    rd_kafka_topic_partition_list_t *offsets; /* with the ledgers' metadata */
    const rd_kafka_consumer_group_metadata_t *group;
    size_t count; /* of entries that are ours */
    dr_commit_entry *entries;
    struct dr_lease *lease; /* one reference: keeps `group` alive */
    dr_books *books;
} dr_commit;

/* Waits for a lease.  False: there is none within timeout_ms, or there will never be one. */
bool dr_books_wait_lease(dr_books *b, int timeout_ms);

/* Plans what is to be committed once these entries are settled or lost, under the current lease.  Sets
 * `ours` and `headers` of each entry and fills *out, which must be given to dr_books_committed() or
 * dr_commit_free(). *out is NULL if nothing is to be committed.  With count 0 the plan has only the offsets
 * of transaction markers and of other gaps that were passed.  DR_EIO: there is no lease now.  DR_ENOMEM: no
 * memory.  After a failure no entry has headers. */
dr_status dr_books_plan(dr_books *b, dr_commit_entry *entries, size_t count, dr_commit **out, dr_error *err);

/* The commit has happened: its offsets are settled.  Takes the commit. */
void dr_books_committed(dr_books *b, dr_commit *commit);

/* The commit has not happened.  NULL is allowed. */
void dr_commit_free(dr_commit *commit);

/* Nobody knows whether the last commit arrived.  Asks the group for its offsets, and settles the offsets
 * that are settled there.  Waits for the broker.  DR_EIO: the broker did not answer.  DR_ENOMEM: some
 * partitions could not be read.  Both may be tried again. */
dr_status dr_books_reread(dr_books *b, dr_error *err);

/* Commits through the group's client, without a transaction; waits for the broker.  DR_EIO: not committed. */
dr_status dr_books_commit_plain(dr_books *b, const dr_commit *commit, dr_error *err);

/* --- state: any thread ------------------------------------------------------------------------- */

typedef struct dr_books_state {
    bool leased;         /* there is a lease, maybe of no partitions */
    int partitions;      /* in the books */
    int running;         /* messages that were admitted, and not committed or dropped yet */
    int64_t lag;         /* messages between the next offsets and the ends of the partitions */
    int64_t window_used; /* offsets held by the fullest ledger */
    int64_t rebalances;  /* leases that have begun */
} dr_books_state;

/* Fills *state with what holds at this moment. */
void dr_books_state_get(dr_books *b, dr_books_state *state);

/* DR_OK, or why there will never be a lease again (dr_books_fail()).  *err gets the reason. */
dr_status dr_books_fatal(dr_books *b, dr_error *err);

#endif

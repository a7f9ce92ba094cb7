/* partitions.h - the books of the partitions that one assignment gave: a ledger for each, and what is known
 * of the running jobs.
 *
 * A value inside the books (worker/delivery/books.c), which lock it.  It is a file of its own because it
 * decides what is committed, and because it can be tested without a broker. */
#ifndef DR_WORKER_DELIVERY_PARTITIONS_H
#define DR_WORKER_DELIVERY_PARTITIONS_H

#include "worker/delivery/ledger.h"

#include <librdkafka/rdkafka.h>

typedef struct dr_partition {
    int32_t id;
    dr_ledger ledger;
    int64_t committed; /* the offset that the group has for it; -1: none */
    int64_t end;       /* the last known end of the log, for the lag */
    /* The headers that the results of running jobs carry on, at the offset modulo the window. */
    rd_kafka_headers_t *kept[DR_LEDGER_WINDOW];
} dr_partition;

typedef struct dr_partitions {
    dr_partition **list; /* in no order: they are few */
    size_t count;
} dr_partitions;

/* The partition of that id, borrowed; NULL: there is none. */
dr_partition *dr_partitions_find(const dr_partitions *all, int32_t id);

/* Adds an empty partition, which `all` owns.  DR_ENOMEM leaves `all` as it was. */
dr_status dr_partitions_add(dr_partitions *all, int32_t id, dr_partition **out, dr_error *err);

/* Frees what `all` holds, but not `all` itself, which is empty then. */
void dr_partitions_clear(dr_partitions *all);

/* Begins the partition at the offset that the group has committed.  If the log does not have this offset, it
 * begins at one that the log has, low to high.  `topic` is for the log only.  DR_ENOMEM: without the
 * commit's metadata nothing may begin, because settled jobs would run again. */
dr_status dr_partition_restore(dr_partition *p, const char *topic,
                               const rd_kafka_topic_partition_t *committed, int64_t low, int64_t high,
                               dr_error *err);

/* Takes over what the group has committed meanwhile.  Running jobs that are settled there are settled here
 * too, and losses that are counted there are counted here.  If somebody else has moved the group's offset,
 * the next commit sets it to this partition's own offset again.  DR_ENOMEM: nothing was changed. */
dr_status dr_partition_catch_up(dr_partition *p, const rd_kafka_topic_partition_t *committed, dr_error *err);

/* Does the same as dr_ledger_admit().  On DR_LEDGER_ADMITTED it also copies those headers of the message
 * that the job's result carries on. */
dr_ledger_answer dr_partition_admit(dr_partition *p, const rd_kafka_message_t *message);

/* Do the same as dr_ledger_settle(), _drop() and _lose(), and free the kept headers.  An offset that does
 * not run is ignored. */
void dr_partition_settle(dr_partition *p, int64_t offset);
void dr_partition_drop(dr_partition *p, int64_t offset);
void dr_partition_lose(dr_partition *p, int64_t offset);

/* The same partition had jobs running under `old`.  They go on under p, with their kept headers. */
void dr_partition_adopt(dr_partition *p, dr_partition *old);

/* A commit of this offset has happened.  A commit never goes back, and its offset is settled. */
void dr_partition_note_committed(dr_partition *p, int64_t offset);

/* Whether something below the next offset is not committed yet. */
bool dr_partition_is_dirty(const dr_partition *p);

#endif

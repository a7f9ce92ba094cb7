/* partitions.h - the books of the partitions that one assignment gave: a ledger each, and what is
 * known of the jobs that run.
 *
 * A value inside worker/delivery/source.c, which locks it; apart because it is all that decides what is
 * committed, and because it needs no broker to be tested. */
#ifndef DR_WORKER_DELIVERY_PARTITIONS_H
#define DR_WORKER_DELIVERY_PARTITIONS_H

#include "worker/delivery/ledger.h"
#include "worker/jobs/job.h"

#include <librdkafka/rdkafka.h>

typedef struct dr_partition {
    int32_t id;
    dr_ledger ledger;
    int64_t committed; /* the offset that the group has for it; -1: none */
    int64_t end;       /* last known end of the log, for the lag */
    /* The polling thread's own, no lock: */
    int64_t position; /* behind what was read last, or where it begins */
    rd_kafka_queue_t *queue;
    rd_kafka_message_t *held; /* read, and no room for it yet */
    /* Headers to be passed on to the results of running jobs, at the offset modulo the window. */
    rd_kafka_headers_t *kept[DR_LEDGER_WINDOW];
} dr_partition;

typedef struct dr_partitions {
    dr_partition **list; /* ascending ids are not assumed: there are few */
    size_t count;
} dr_partitions;

/* NULL: not among them. */
dr_partition *dr_partitions_find(const dr_partitions *all, int32_t id);

/* DR_ENOMEM leaves it as it was. */
dr_status dr_partitions_add(dr_partitions *all, int32_t id, dr_partition **out, dr_error *err);

void dr_partitions_clear(dr_partitions *all); /* frees what it holds, not all itself */

/* As dr_ledger_take(); on DR_LEDGER_RUN keeps copies of the message's headers that a result carries on. */
dr_ledger_answer dr_partition_take(dr_partition *p, const rd_kafka_message_t *message);

void dr_partition_finish(dr_partition *p, int64_t offset);
void dr_partition_drop(dr_partition *p, int64_t offset);
void dr_partition_lose(dr_partition *p, int64_t offset);

/* What ran under `old`, of the same partition, goes on under p; takes old's kept headers. */
void dr_partition_adopt(dr_partition *p, dr_partition *old);

/* Something below the next offset is not committed yet. */
bool dr_partition_is_dirty(const dr_partition *p);

#endif

/* record.h - how large a record is on its way, and what is wrong with it. */
#ifndef DR_WORKER_DELIVERY_RECORD_H
#define DR_WORKER_DELIVERY_RECORD_H

#include "worker/delivery/outbox.h"

/* Bytes of a batch (Kafka's version 2, not compressed) that has this record alone: what a broker compares with
 * max.message.bytes. */
size_t dr_record_batch_bytes(const dr_record *r);

#endif

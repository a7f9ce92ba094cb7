/* dead_letter.h - a message that is not a job, as a record of the dead-letter topic.
 *
 * The names of its headers are those of Spring's dead letters, which consoles and replay tools know; values are text:
 *
 *     kafka_dlt-original-topic, -original-partition, -original-offset, -original-timestamp,
 *     kafka_dlt-original-consumer-group, kafka_dlt-exception-fqcn ("darkroom.malformed"),
 *     kafka_dlt-exception-message
 *
 * The message's own headers come first, and one that is already there is left as it is: a letter that was put back
 * by hand and failed again still says where it first came from.
 *
 * With these a message that just fitted its topic may not fit this one.  Then it is cut: first the message's own headers, the
 * largest first; then the end of its key; then the end of its value.  One more header says what was cut:
 *
 *     darkroom-cut    "header x-blob of 900000 bytes, key to 100 of 2000 bytes" */
#ifndef DR_WORKER_DELIVERY_DEAD_LETTER_H
#define DR_WORKER_DELIVERY_DEAD_LETTER_H

#include "base/error.h"
#include "worker/delivery/record.h"

/* The record of message, which lives on, with at most bytes_max bytes as a batch, or as few as can be.  topic and
 * group: where it was read, and by whom.  record->headers are the caller's to destroy; record->topic is NULL. */
void dr_dead_letter_make(dr_record *record, const rd_kafka_message_t *message, const char *topic,
                         const char *group, const dr_error *why, size_t bytes_max);

#endif

/* dead_letter.h - a message that is not a job, as a record of the dead-letter topic.
 *
 * Its headers have the names that Spring gives them, since consoles and replay tools know these.  The values
 * are text:
 *
 *     kafka_dlt-original-topic, -original-partition, -original-offset, -original-timestamp,
 *     kafka_dlt-original-consumer-group, kafka_dlt-exception-fqcn ("darkroom.malformed"),
 *     kafka_dlt-exception-message
 *
 * The message's own headers come first.  A header that is already there is left as it is: a letter that was
 * put back by hand and failed again still says where it first came from.
 *
 * With these headers a message that just fitted its own topic may not fit this one.  Then it is cut: first
 * the message's own headers, the largest first; then the end of its key; then the end of its value.  The
 * header "darkroom-cut" says what was cut (worker/delivery/cut_note.h). */
#ifndef DR_WORKER_DELIVERY_DEAD_LETTER_H
#define DR_WORKER_DELIVERY_DEAD_LETTER_H

#include "base/error.h"
#include "worker/delivery/record.h"

/* Makes the record of a message, which it borrows.  As a batch the record has at most bytes_max bytes, or as
 * few as are possible.  topic and group say where the message was read, and by whom; `why` says why it is no
 * job.  The caller destroys record->headers; record->topic is NULL.  Any thread. */
void dr_dead_letter_make(dr_record *record, const rd_kafka_message_t *message, const char *topic,
                         const char *group, const dr_error *why, size_t bytes_max);

#endif

/* dead_letter.h - the headers of a message that is not a job, on the dead-letter topic.
 *
 * The names are those of Spring's dead letters, which consoles and replay tools know; values are text:
 *
 *     kafka_dlt-original-topic, -original-partition, -original-offset, -original-timestamp,
 *     kafka_dlt-original-consumer-group, kafka_dlt-exception-fqcn ("darkroom.malformed"),
 *     kafka_dlt-exception-message
 *
 * The message's own headers come first, and one that is already there is left as it is: a letter that was put back
 * by hand and failed again still says where it first came from. */
#ifndef DR_WORKER_DEAD_LETTER_H
#define DR_WORKER_DEAD_LETTER_H

#include "base/error.h"

#include <librdkafka/rdkafka.h>

/* topic and group: where it was read, and by whom.  The caller's to destroy. */
rd_kafka_headers_t *dr_dead_letter_headers(const rd_kafka_message_t *message, const char *topic,
                                           const char *group, const dr_error *why);

#endif

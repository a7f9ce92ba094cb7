/* carried.h - the headers of a job's message that its result carries on: correlation and trace context. */
#ifndef DR_WORKER_DELIVERY_CARRIED_H
#define DR_WORKER_DELIVERY_CARRIED_H

#include <librdkafka/rdkafka.h>

/* Copies of those headers of the message; the caller destroys them.  NULL where the message has none of
 * them, which is the usual case.  A header above DR_HEADER_BYTES_MAX is not copied: the header
 * "darkroom-cut" names it instead. Any thread that may read the message. */
rd_kafka_headers_t *dr_carried_headers(const rd_kafka_message_t *message);

#endif

/* record.h - one record for the broker: what is sent, how large it is on its way, and what a refusal
 * means. */
#ifndef DR_WORKER_DELIVERY_RECORD_H
#define DR_WORKER_DELIVERY_RECORD_H

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct dr_record {
    const char *topic;
    const void *key, *value; /* copied by the send */
    size_t key_size, value_size;
    const rd_kafka_headers_t *headers; /* or NULL; copied by the send */
    /* The send fills these: */
    rd_kafka_resp_err_t error; /* why the broker will never accept the record; or 0 */
    size_t bytes;              /* of a batch with this record alone */
    size_t bytes_max;    /* after an error for its size: what the topic accepts; SIZE_MAX: nobody knows */
    struct dr_topic *at; /* the outbox's own */
} dr_record;

/* Bytes of a batch (Kafka's version 2, not compressed) that has only this record.  A broker compares this
 * number with the topic's max.message.bytes. */
size_t dr_record_batch_bytes(const dr_record *r);

/* Whether the fault lies with the topic, not with the record.  Then no record would be accepted now, but a
 * later one may be. */
bool dr_record_error_is_of_topic(rd_kafka_resp_err_t code);

/* Whether the record is too large for its topic. */
bool dr_record_error_is_of_size(rd_kafka_resp_err_t code);

#endif

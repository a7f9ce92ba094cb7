#include "worker/dead_letter.h"

#include <inttypes.h>
#include <stdio.h>

static void add(rd_kafka_headers_t *headers, const char *name, const char *value)
{
    const void *there;
    size_t size;

    if (rd_kafka_header_get_last(headers, name, &there, &size) == RD_KAFKA_RESP_ERR__NOENT)
        rd_kafka_header_add(headers, name, -1, value, -1);
}

static void add_number(rd_kafka_headers_t *headers, const char *name, int64_t value)
{
    char text[24];

    snprintf(text, sizeof(text), "%" PRId64, value);
    add(headers, name, text);
}

rd_kafka_headers_t *dr_dead_letter_headers(const rd_kafka_message_t *message, const char *topic,
                                           const char *group, const dr_error *why)
{
    rd_kafka_headers_t *own, *headers;
    rd_kafka_timestamp_type_t type;
    const int64_t timestamp = rd_kafka_message_timestamp(message, &type);
    char kind[64];

    if (rd_kafka_message_headers(message, &own) == RD_KAFKA_RESP_ERR_NO_ERROR)
        headers = rd_kafka_headers_copy(own);
    else
        headers = rd_kafka_headers_new(8);
    add(headers, "kafka_dlt-original-topic", topic);
    add_number(headers, "kafka_dlt-original-partition", message->partition);
    add_number(headers, "kafka_dlt-original-offset", message->offset);
    if (type != RD_KAFKA_TIMESTAMP_NOT_AVAILABLE)
        add_number(headers, "kafka_dlt-original-timestamp", timestamp);
    add(headers, "kafka_dlt-original-consumer-group", group);
    snprintf(kind, sizeof(kind), "darkroom.%s", dr_status_name(why->status));
    add(headers, "kafka_dlt-exception-fqcn", kind);
    add(headers, "kafka_dlt-exception-message", why->text);
    return headers;
}

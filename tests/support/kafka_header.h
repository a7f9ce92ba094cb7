/* kafka_header.h - one header of a record. */
#ifndef DR_TESTS_SUPPORT_KAFKA_HEADER_H
#define DR_TESTS_SUPPORT_KAFKA_HEADER_H

#include <librdkafka/rdkafka.h>

/* The value of the last header of that name, borrowed from headers; *size becomes its size.  headers may
 * be NULL.  NULL: there is no such header. */
static inline const void *kafka_header(const rd_kafka_headers_t *headers, const char *name, size_t *size)
{
    const void *value;

    return headers && !rd_kafka_header_get_last(headers, name, &value, size) ? value : NULL;
}

#endif

#include "worker/delivery/record.h"

#include <string.h>

enum {
    BATCH_BYTES = 61, /* of the batch, before its first record */
    FIXED_BYTES = 3,  /* attributes, time difference, offset difference: one byte each, as each is 0 */
};

/* Bytes of a number as a record stores it: 7 bits a byte, the lowest bit of all is the sign. */
static size_t number_bytes(size_t number)
{
    size_t bytes = 1;

    for (number <<= 1; number >= 0x80; number >>= 7)
        bytes++;
    return bytes;
}

static size_t block_bytes(size_t size)
{
    return number_bytes(size) + size;
}

size_t dr_record_batch_bytes(const dr_record *r)
{
    size_t bytes = FIXED_BYTES + block_bytes(r->key_size) + block_bytes(r->value_size), n = 0, size;
    const void *value;
    const char *name;

    for (; r->headers && !rd_kafka_header_get_all(r->headers, n, &name, &value, &size); n++)
        bytes += block_bytes(strlen(name)) + block_bytes(value ? size : 0);
    bytes += number_bytes(n);
    return BATCH_BYTES + block_bytes(bytes);
}

bool dr_record_error_is_of_topic(rd_kafka_resp_err_t code)
{
    switch (code) {
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
        return true;
    default:
        return false;
    }
}

bool dr_record_error_is_of_size(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE || code == RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE;
}

#include "worker/delivery/dead_letter.h"

#include "base/limits.h"
#include "worker/delivery/cut_note.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* --- headers ---------------------------------------------------------------------------- */

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

static void add_ours(rd_kafka_headers_t *headers, const rd_kafka_message_t *message, const char *topic,
                     const char *group, const dr_error *why)
{
    rd_kafka_timestamp_type_t type;
    const int64_t timestamp = rd_kafka_message_timestamp(message, &type);
    char kind[64];

    add(headers, "kafka_dlt-original-topic", topic);
    add_number(headers, "kafka_dlt-original-partition", message->partition);
    add_number(headers, "kafka_dlt-original-offset", message->offset);
    if (type != RD_KAFKA_TIMESTAMP_NOT_AVAILABLE)
        add_number(headers, "kafka_dlt-original-timestamp", timestamp);
    add(headers, "kafka_dlt-original-consumer-group", group);
    snprintf(kind, sizeof(kind), "darkroom.%s", dr_status_name(why->status));
    add(headers, "kafka_dlt-exception-fqcn", kind);
    add(headers, "kafka_dlt-exception-message", why->text);
}

/* --- cutting ------------------------------------------------------------------------------ */

/* Which of the message's own headers stay. */
typedef struct choice {
    rd_kafka_headers_t *all; /* the message's; NULL: it has none */
    size_t count;
    bool cut[DR_LETTER_HEADERS_MAX];
    bool cut_all;
} choice;

static bool stays(const choice *c, size_t i)
{
    return !c->cut_all && (i >= DR_LETTER_HEADERS_MAX || !c->cut[i]);
}

static rd_kafka_headers_t *headers_of(const choice *c)
{
    rd_kafka_headers_t *headers = rd_kafka_headers_new(c->count + 8);
    const void *value;
    const char *name;
    size_t size;

    for (size_t i = 0; i < c->count; i++)
        if (stays(c, i) && !rd_kafka_header_get_all(c->all, i, &name, &value, &size))
            rd_kafka_header_add(headers, name, -1, value, (ssize_t)size);
    return headers;
}

/* Cuts the largest header that is left, or all of them if they are too many to be weighed.  False: none was
 * left. */
static bool cut_header(choice *c, char text[DR_CUT_TEXT_MAX])
{
    size_t largest = 0, largest_bytes = 0, size;
    const char *name = "", *largest_name = "";
    const void *value;

    if (c->cut_all)
        return false;
    if (c->count > DR_LETTER_HEADERS_MAX) {
        c->cut_all = true;
        dr_cut_say(text, "%zu headers", c->count);
        return true;
    }
    for (size_t i = 0; i < c->count; i++)
        if (stays(c, i) && !rd_kafka_header_get_all(c->all, i, &name, &value, &size) &&
            strlen(name) + size + 1 > largest_bytes) {
            largest = i;
            largest_bytes = strlen(name) + size + 1;
            largest_name = name;
        }
    if (largest_bytes == 0)
        return false;
    c->cut[largest] = true;
    dr_cut_say(text, "header %.64s of %zu bytes", largest_name, largest_bytes - strlen(largest_name) - 1);
    return true;
}

static bool cut_end(size_t *size, size_t excess)
{
    if (*size == 0)
        return false;
    *size -= excess < *size ? excess : *size;
    return true;
}

static void say_all(char text[DR_CUT_TEXT_MAX], const char *headers, const dr_record *r,
                    const rd_kafka_message_t *message)
{
    snprintf(text, DR_CUT_TEXT_MAX, "%s", headers);
    if (r->key_size < message->key_len)
        dr_cut_say(text, "key to %zu of %zu bytes", r->key_size, message->key_len);
    if (r->value_size < message->len)
        dr_cut_say(text, "value to %zu of %zu bytes", r->value_size, message->len);
}

void dr_dead_letter_make(dr_record *r, const rd_kafka_message_t *message, const char *topic,
                         const char *group, const dr_error *why, size_t bytes_max)
{
    char cut_headers[DR_CUT_TEXT_MAX] = "", cut[DR_CUT_TEXT_MAX] = "";
    choice c = { .all = NULL };
    rd_kafka_headers_t *headers;
    size_t bytes, excess;

    *r = (dr_record){ .key = message->key,
                      .key_size = message->key_len,
                      .value = message->payload,
                      .value_size = message->len };
    if (!rd_kafka_message_headers(message, &c.all))
        c.count = rd_kafka_header_cnt(c.all);
    for (;;) {
        headers = headers_of(&c);
        add_ours(headers, message, topic, group, why);
        say_all(cut, cut_headers, r, message);
        if (*cut)
            rd_kafka_header_add(headers, DR_CUT_HEADER, -1, cut, -1);
        r->headers = headers;
        bytes = dr_record_batch_bytes(r);
        if (bytes <= bytes_max)
            break;
        excess = bytes - bytes_max;
        if (!cut_header(&c, cut_headers) && !cut_end(&r->key_size, excess) &&
            !cut_end(&r->value_size, excess))
            break;
        rd_kafka_headers_destroy(headers);
    }
}

#include "worker/delivery/carried.h"

#include "base/limits.h"
#include "worker/delivery/cut_note.h"

/* Correlation by header (Spring's name for it) and the W3C trace context. */
static const char *const names[] = { "kafka_correlationId", "traceparent", "tracestate" };

enum { NAMES = sizeof(names) / sizeof(names[0]) };

rd_kafka_headers_t *dr_carried_headers(const rd_kafka_message_t *message)
{
    rd_kafka_headers_t *all, *kept = NULL;
    char cut[DR_CUT_TEXT_MAX] = "";

    if (rd_kafka_message_headers(message, &all))
        return NULL;
    for (int i = 0; i < NAMES; i++) {
        const void *value;
        size_t size;
        if (rd_kafka_header_get_last(all, names[i], &value, &size))
            continue;
        if (!kept)
            kept = rd_kafka_headers_new(NAMES + 1);
        if (size > DR_HEADER_BYTES_MAX)
            dr_cut_say(cut, "header %s of %zu bytes", names[i], size);
        else
            rd_kafka_header_add(kept, names[i], -1, value, (ssize_t)size);
    }
    if (*cut)
        rd_kafka_header_add(kept, DR_CUT_HEADER, -1, cut, -1);
    return kept;
}

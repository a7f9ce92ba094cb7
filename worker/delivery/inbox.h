/* inbox.h - a ring of the messages that were admitted and that the intake has not fetched yet.
 *
 * It is a value inside the books, which lock it.  It owns the messages in it. */
#ifndef DR_WORKER_DELIVERY_INBOX_H
#define DR_WORKER_DELIVERY_INBOX_H

#include "base/limits.h"

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct dr_inbox {
    rd_kafka_message_t *ring[DR_INBOX_MESSAGES_MAX];
    size_t first, count;
} dr_inbox;

/* Whether there is no room for another message. */
bool dr_inbox_is_full(const dr_inbox *in);

/* Takes the message; the inbox must have room for it. */
void dr_inbox_push(dr_inbox *in, rd_kafka_message_t *message);

/* Takes out the oldest message, which is the caller's now.  The inbox must hold one. */
rd_kafka_message_t *dr_inbox_pop(dr_inbox *in);

#endif

#include "worker/delivery/inbox.h"

#include "base/error.h"

bool dr_inbox_is_full(const dr_inbox *in)
{
    return in->count == DR_INBOX_MESSAGES_MAX;
}

void dr_inbox_push(dr_inbox *in, rd_kafka_message_t *message)
{
    dr_assert(in->count < DR_INBOX_MESSAGES_MAX);
    in->ring[(in->first + in->count++) % DR_INBOX_MESSAGES_MAX] = message;
}

rd_kafka_message_t *dr_inbox_pop(dr_inbox *in)
{
    rd_kafka_message_t *m = in->ring[in->first];

    dr_assert(in->count > 0);
    in->first = (in->first + 1) % DR_INBOX_MESSAGES_MAX;
    in->count--;
    return m;
}

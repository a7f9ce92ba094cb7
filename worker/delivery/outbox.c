/* outbox.c - the public calls. */
#include "worker/delivery/outbox.h"

#include "worker/delivery/outbox_parts.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { LOOK_AGE_MS = 5000 }; /* if nothing is sent, a deleted topic is noticed this late */

dr_sent dr_outbox_prepare(dr_outbox *o, dr_error *err)
{
    dr_txn_verdict v = DR_TXN_FINE;

    if (o->prepared)
        return DR_SENT;
    if (o->options.delivery == DR_EXACTLY_ONCE)
        v = dr_txn_init(o, err);
    if (v == DR_TXN_RETRY)
        return DR_SENT_AGAIN;
    if (v != DR_TXN_FINE)
        return dr_outbox_renew_producer(o, err);
    o->prepared = true;
    o->up = true;
    return DR_SENT;
}

dr_sent dr_outbox_send(dr_outbox *o, dr_record *records, size_t count, const dr_commit *commit, dr_error *err)
{
    dr_sent sent = dr_outbox_prepare(o, err);

    dr_assert(count <= UINT16_MAX);
    if (sent != DR_SENT)
        return sent;
    o->number++;
    o->records = records;
    o->count = count;
    o->outstanding = 0;
    o->refused = false;
    o->code = RD_KAFKA_RESP_ERR_NO_ERROR;
    for (size_t i = 0; i < count; i++)
        records[i].error = RD_KAFKA_RESP_ERR_NO_ERROR;
    sent = dr_outbox_check(o, err);
    if (sent == DR_SENT && o->options.delivery == DR_EXACTLY_ONCE)
        sent = dr_outbox_send_exactly(o, commit, err);
    else if (sent == DR_SENT)
        sent = dr_outbox_send_at_least(o, commit, err);
    if (sent == DR_SENT) {
        o->renewals = 0;
        o->up = true;
    }
    if (sent == DR_SENT_REFUSED)
        dr_outbox_note_sizes(o);
    for (size_t i = 0; i < count; i++)
        if (!dr_outbox_is_permanent(records[i].error))
            records[i].error = RD_KAFKA_RESP_ERR_NO_ERROR; /* purged with the others */
    o->number++;
    o->records = NULL;
    o->count = 0;
    return sent;
}

/* --- open and close -------------------------------------------------------------------------  */

static void free_options(dr_outbox *o)
{
    dr_kafka_options_free(&o->options.kafka);
    free((char *)o->options.slot);
    free((char *)o->options.group);
}

dr_status dr_outbox_open(dr_outbox **out, const dr_outbox_options *options, dr_error *err)
{
    dr_outbox *o = calloc(1, sizeof(*o));
    dr_status rc;

    *out = NULL;
    if (!o)
        return dr_fail(err, DR_ENOMEM, "outbox: no memory to open it");
    o->options.delivery = options->delivery;
    o->options.slot = strdup(options->slot);
    o->options.group = strdup(options->group);
    rc = o->options.slot && o->options.group ? dr_kafka_options_copy(&o->options.kafka, &options->kafka, err)
                                             : dr_fail(err, DR_ENOMEM, "outbox: no memory for its options");
    if (!rc)
        rc = dr_outbox_create_producer(o, err);
    if (rc)
        dr_outbox_close(o);
    else
        *out = o;
    return rc;
}

dr_status dr_outbox_look(dr_outbox *o, const char *name, dr_error *err)
{
    dr_topic *topic;
    dr_status rc;

    if (!o->rk)
        return dr_fail(err, DR_EIO, "outbox: there is no producer");
    topic = dr_topics_find(o->topics, name);
    if (!topic)
        return dr_fail(err, DR_ENOMEM, "outbox: no memory for topic %s", name);
    rc = dr_topics_look(o->topics, topic, LOOK_AGE_MS, DR_LOOK_MS, err);
    if (rc)
        return rc;
    dr_topics_hear(o->topics, topic);
    if (topic->unusable)
        return dr_fail(err, DR_EIO, "topic %s: %s", name, rd_kafka_err2str(topic->unusable));
    return DR_OK;
}

void dr_outbox_idle(dr_outbox *o)
{
    rd_kafka_poll(o->rk, 0);
}

bool dr_outbox_is_up(dr_outbox *o)
{
    return o->up;
}

void dr_outbox_cancel(dr_outbox *o)
{
    o->canceled = true;
}

void dr_outbox_close(dr_outbox *o)
{
    if (!o)
        return;
    dr_outbox_destroy_producer(o);
    dr_topics_free(o->topics);
    free_options(o);
    free(o);
}

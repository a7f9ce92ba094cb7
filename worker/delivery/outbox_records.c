/* outbox_records.c - what is known of records before they are sent, and what their reports teach. */
#include "worker/delivery/outbox_parts.h"
#include "worker/delivery/record.h"
#include "worker/support/clock.h"

bool dr_outbox_is_permanent(rd_kafka_resp_err_t code)
{
    return dr_record_error_is_of_topic(code) || dr_record_error_is_of_size(code) ||
           code == RD_KAFKA_RESP_ERR_INVALID_RECORD;
}

static void refuse(dr_record *r, rd_kafka_resp_err_t code, const char *doing, dr_error *err)
{
    r->error = code;
    dr_fail(err, DR_EIO, "%s %s: %s", doing, r->topic, rd_kafka_err2str(code));
}

dr_sent dr_outbox_check(dr_outbox *o, dr_error *err)
{
    dr_sent sent = DR_SENT;

    for (size_t i = 0; i < o->count; i++) {
        dr_record *r = &o->records[i];
        r->bytes = dr_record_batch_bytes(r);
        r->at = dr_topics_find(o->topics, r->topic);
        if (!r->at) {
            dr_fail(err, DR_ENOMEM, "outbox: no memory for topic %s", r->topic);
            return DR_SENT_AGAIN;
        }
        r->at->under_way = r->at->refusals = 0;
        if (dr_topics_look(o->topics, r->at, INT64_MAX, DR_LOOK_MS, err))
            return DR_SENT_AGAIN;
        dr_topics_hear(o->topics, r->at);
        r->bytes_max = dr_topics_limit(o->topics, r->at);
        if (r->at->unusable)
            refuse(r, r->at->unusable, "writing to", err);
        else if (r->bytes > r->bytes_max && !o->compresses)
            refuse(r, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, "writing to", err);
        if (r->error)
            sent = DR_SENT_REFUSED;
    }
    return sent;
}

/* A report says that nothing can be written to the record's topic now. */
static void note_topic(dr_record *r)
{
    r->at->unusable = r->error;
    r->at->looked_ms = dr_clock_ms();
}

/* All records of a batch are refused together.  If there were several, nobody knows which of them is too
 * large, or whether any of them is too large by itself.  So they are sent again. */
void dr_outbox_note_sizes(dr_outbox *o)
{
    for (size_t i = 0; i < o->count; i++)
        if (dr_record_error_is_of_size(o->records[i].error))
            o->records[i].at->refusals++;
    for (size_t i = 0; i < o->count; i++) {
        dr_record *r = &o->records[i];
        if (!dr_record_error_is_of_size(r->error) || r->bytes > r->bytes_max)
            continue; /* this was known before anything was sent */
        if (r->at->refusals == 1) {
            dr_topics_refused_one(r->at, r->bytes);
            r->bytes_max = SIZE_MAX;
            continue;
        }
        if (r->at->refusals > 1)
            dr_topics_refused_several(r->at);
        r->at->refusals = 0;
        r->error = RD_KAFKA_RESP_ERR__PURGE_QUEUE;
    }
}

dr_sent dr_outbox_read_reports(dr_outbox *o, dr_error *err)
{
    bool again = false, refused = false;

    for (size_t i = 0; i < o->count; i++) {
        dr_record *r = &o->records[i];
        if (!r->error)
            continue;
        if (dr_outbox_is_permanent(r->error) && !refused)
            dr_fail(err, DR_EIO, "delivering to %s: %s", r->topic, rd_kafka_err2str(r->error));
        else if (!again && !refused)
            dr_fail(err, DR_EIO, "delivering to %s: %s", r->topic, rd_kafka_err2str(r->error));
        again = true;
        refused |= dr_outbox_is_permanent(r->error);
        if (dr_record_error_is_of_topic(r->error))
            note_topic(r);
        if (r->error == RD_KAFKA_RESP_ERR__MSG_TIMED_OUT)
            r->at->looked_ms = 0; /* look again whether the topic exists */
    }
    if (!again)
        return DR_SENT;
    return refused ? DR_SENT_REFUSED : DR_SENT_AGAIN;
}

dr_sent dr_outbox_blame_topic(dr_outbox *o, rd_kafka_resp_err_t code)
{
    if (!dr_record_error_is_of_topic(code) || o->count == 0)
        return DR_SENT_AGAIN;
    for (size_t i = 1; i < o->count; i++)
        if (o->records[i].at != o->records[0].at)
            return DR_SENT_APART;
    for (size_t i = 0; i < o->count; i++) {
        o->records[i].error = code;
        note_topic(&o->records[i]);
    }
    return DR_SENT_REFUSED;
}

/* outbox_send.c - records and offsets, sent in one of the two ways. */
#include "worker/delivery/outbox_parts.h"

enum { POLL_MS = 100 }; /* between two looks at the transaction while reports are awaited */

static dr_sent produce(dr_outbox *o, size_t i, dr_error *err)
{
    dr_record *r = &o->records[i];
    rd_kafka_headers_t *headers = r->headers ? rd_kafka_headers_copy(r->headers) : NULL;

    /* clang-format off */
    r->error = rd_kafka_producev(o->rk,
                                 RD_KAFKA_V_TOPIC(r->topic),
                                 RD_KAFKA_V_KEY(r->key, r->key_size),
                                 RD_KAFKA_V_VALUE((void *)r->value, r->value_size),
                                 RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                                 RD_KAFKA_V_OPAQUE(dr_outbox_ticket(o, i)),
                                 RD_KAFKA_V_HEADERS(headers),
                                 RD_KAFKA_V_END);
    /* clang-format on */
    if (r->error) {
        if (headers)
            rd_kafka_headers_destroy(headers);
        dr_fail(err, DR_EIO, "producing to %s: %s", r->topic, rd_kafka_err2str(r->error));
        return dr_outbox_is_permanent(r->error) ? DR_SENT_REFUSED : DR_SENT_AGAIN;
    }
    r->at->under_way += r->bytes;
    o->outstanding++;
    return DR_SENT;
}

/* Waits for the reports.  Stops early if a report, or the transaction itself, says that the rest is in vain.
 * The wait always ends, since message.timeout.ms ends each message. */
static dr_sent deliver_all(dr_outbox *o, dr_error *err)
{
    const bool exactly = o->options.delivery == DR_EXACTLY_ONCE;
    dr_error why;
    dr_txn_verdict v = DR_TXN_FINE;
    dr_sent sent;

    while (o->outstanding > 0 && !o->canceled && v == DR_TXN_FINE && !(exactly && o->refused) &&
           !rd_kafka_fatal_error(o->rk, NULL, 0))
        if (rd_kafka_poll(o->rk, POLL_MS) == 0 && exactly)
            v = dr_txn_ask(o, &why);
    sent = dr_outbox_read_reports(o, err);
    if (sent == DR_SENT && o->outstanding == 0)
        return DR_SENT;
    if (sent != DR_SENT_REFUSED && exactly && v == DR_TXN_FINE)
        v = dr_txn_ask(o, &why);
    if (sent != DR_SENT_REFUSED && v != DR_TXN_FINE) {
        *err = why; /* the reports of the other records only say that they were purged */
        return DR_SENT_AGAIN;
    }
    if (sent == DR_SENT) {
        dr_fail(err, DR_EIO, "sending stopped before the broker confirmed all records");
        sent = DR_SENT_AGAIN;
    }
    return sent;
}

/* Waits for the records that went out together.  Then the next records may go. */
static dr_sent end_batch(dr_outbox *o, dr_error *err)
{
    const dr_sent sent = deliver_all(o, err);

    for (size_t i = 0; i < o->count && sent == DR_SENT; i++)
        dr_topics_accepted(o->records[i].at);
    return sent;
}

/* Hands all records to the producer.  If a topic accepts less than librdkafka puts into a batch, it hands
 * over only as much as the topic accepts, and waits until that is delivered. */
static dr_sent produce_all(dr_outbox *o, dr_error *err)
{
    dr_sent sent = DR_SENT;

    for (size_t i = 0; i < o->count && sent == DR_SENT; i++) {
        const dr_record *r = &o->records[i];
        if (r->at->under_way > 0 && r->at->together < o->batch_bytes &&
            r->at->under_way + r->bytes > r->at->together)
            sent = end_batch(o, err);
        if (sent == DR_SENT)
            sent = produce(o, i, err);
    }
    return sent;
}

/* Sends the offsets while the records are still on their way.  A reader sees both or neither. */
static dr_sent fill_transaction(dr_outbox *o, const dr_commit *commit, dr_txn_verdict *v, dr_error *err)
{
    dr_sent sent = produce_all(o, err);

    if (sent != DR_SENT)
        return sent;
    *v = dr_txn_send_offsets(o, commit, err);
    if (*v != DR_TXN_FINE)
        return DR_SENT_AGAIN;
    sent = end_batch(o, err);
    if (sent != DR_SENT)
        return sent;
    *v = dr_txn_commit(o, err);
    return *v == DR_TXN_FINE ? DR_SENT : DR_SENT_AGAIN;
}

/* The transaction is aborted and every report is in.  Finds out which topic or record was at fault, if any
 * was. */
static dr_sent find_reason(dr_outbox *o, const dr_commit *commit, rd_kafka_resp_err_t code, dr_error *err)
{
    dr_topic *jobs = dr_topics_find(o->topics, dr_books_topic(commit->books));
    dr_error why;

    /* The topic of the offsets is not among the topics of the records. */
    if (dr_record_error_is_of_topic(code) && jobs && !dr_topics_look(o->topics, jobs, 0, DR_LOOK_MS, &why) &&
        jobs->unusable) {
        dr_fail(err, DR_EIO, "topic %s: %s", jobs->name, rd_kafka_err2str(jobs->unusable));
        if (jobs->unusable == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
            dr_books_set_topic_gone(commit->books, true);
        return DR_SENT_AGAIN;
    }
    if (dr_outbox_read_reports(o, &why) == DR_SENT_REFUSED) {
        *err = why;
        return DR_SENT_REFUSED;
    }
    return dr_outbox_blame_topic(o, code);
}

dr_sent dr_outbox_send_exactly(dr_outbox *o, const dr_commit *commit, dr_error *err)
{
    dr_txn_verdict v = dr_txn_begin(o, err);
    rd_kafka_resp_err_t code;
    dr_sent sent;

    if (v != DR_TXN_FINE)
        return dr_outbox_renew_producer(o, err);
    sent = fill_transaction(o, commit, &v, err);
    if (sent == DR_SENT)
        return DR_SENT;
    code = o->code;
    if (v != DR_TXN_RENEW)
        v = dr_txn_abort(o);
    if (sent == DR_SENT_AGAIN)
        sent = find_reason(o, commit, code, err);
    return v == DR_TXN_FINE || o->canceled ? sent : dr_outbox_renew_producer(o, err);
}

dr_sent dr_outbox_send_at_least(dr_outbox *o, const dr_commit *commit, dr_error *err)
{
    dr_sent sent = produce_all(o, err);

    if (sent == DR_SENT)
        sent = end_batch(o, err);
    if (sent == DR_SENT && dr_books_commit_plain(commit->books, commit, err))
        sent = DR_SENT_AGAIN;
    if (sent != DR_SENT)
        rd_kafka_purge(o->rk, RD_KAFKA_PURGE_F_QUEUE);
    if (sent != DR_SENT && rd_kafka_fatal_error(o->rk, NULL, 0))
        return dr_outbox_renew_producer(o, err);
    return sent;
}

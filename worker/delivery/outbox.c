#include "worker/delivery/outbox_parts.h"

#include "worker/delivery/record.h"
#include "worker/support/clock.h"
#include "worker/support/log.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    TRY_MS = 5000,    /* one try of a call that may be tried again */
    INIT_MS = 50,     /* of the first one; and the pause before the next */
    PAUSE_MS = 100,   /* before the same call again */
    RENEWALS_MAX = 5, /* fenced this often in a row: somebody else has the slot */
    CLOSE_MS = 1000,
    LOOK_AGE_MS = 5000, /* a topic that is deleted is noticed this late, where nothing is sent */
};

const char *dr_delivery_name(int delivery)
{
    static const char *const names[] = { "exactly_once", "at_least_once" };

    dr_assert(delivery >= 0 && delivery < DR_DELIVERIES);
    return names[delivery];
}

/* --- the producer ------------------------------------------------------------------------ */

/* A report's opaque: which send, which record. */
static void *ticket(const dr_outbox *o, size_t index)
{
    return (void *)((uintptr_t)o->number << 16 | (uintptr_t)index);
}

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
    dr_outbox *o = opaque;
    const uintptr_t t = (uintptr_t)m->_private;

    (void)rk;
    if (t >> 16 != o->number)
        return;
    dr_assert((t & 0xffff) < o->count && o->outstanding > 0);
    o->records[t & 0xffff].error = m->err;
    o->refused |= dr_outbox_is_permanent(m->err);
    o->outstanding--;
}

static void on_error(rd_kafka_t *rk, int code, const char *reason, void *opaque)
{
    (void)rk, (void)opaque;
    dr_log_debug("publisher", "%s: %s", rd_kafka_err2name((rd_kafka_resp_err_t)code), reason);
}

static size_t number_of(const rd_kafka_conf_t *conf, const char *key)
{
    char text[32];
    size_t size = sizeof(text);

    if (rd_kafka_conf_get(conf, key, text, &size) != RD_KAFKA_CONF_OK)
        return SIZE_MAX;
    return (size_t)strtoull(text, NULL, 10);
}

/* What its settings mean for what is sent. */
static void read_settings(dr_outbox *o, const rd_kafka_conf_t *conf, size_t *client_bytes)
{
    char codec[32];
    size_t size = sizeof(codec);

    *client_bytes = number_of(conf, "message.max.bytes");
    o->batch_bytes = number_of(conf, "batch.size");
    if (o->batch_bytes > *client_bytes)
        o->batch_bytes = *client_bytes;
    o->compresses = rd_kafka_conf_get(conf, "compression.codec", codec, &size) != RD_KAFKA_CONF_OK ||
                    strcmp(codec, "none") != 0;
}

static dr_status create(dr_outbox *o, dr_error *err)
{
    const bool exactly = o->options.delivery == DR_EXACTLY_ONCE;
    rd_kafka_conf_t *conf;
    size_t client_bytes;
    char *id;
    dr_status rc;

    rc = dr_kafka_conf(&conf, exactly ? DR_KAFKA_TRANSACTIONAL : DR_KAFKA_IDEMPOTENT, &o->options.kafka, err);
    if (rc)
        return rc;
    if (exactly) {
        id = dr_kafka_transactional_id(o->options.group, o->options.slot);
        rc = id ? dr_kafka_conf_set(conf, "transactional.id", id, err)
                : dr_fail(err, DR_ENOMEM, "publisher: no memory");
        free(id);
    }
    if (rc) {
        rd_kafka_conf_destroy(conf);
        return rc;
    }
    rd_kafka_conf_set_opaque(conf, o);
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    rd_kafka_conf_set_error_cb(conf, on_error);
    read_settings(o, conf, &client_bytes);
    o->prepared = false;
    rc = dr_kafka_create(&o->rk, RD_KAFKA_PRODUCER, conf, err);
    if (rc)
        return rc;
    if (!o->topics)
        o->topics = dr_topics_create(client_bytes);
    if (!o->topics)
        return dr_fail(err, DR_ENOMEM, "publisher: no memory");
    dr_topics_use(o->topics, o->rk);
    return DR_OK;
}

static void destroy(dr_outbox *o)
{
    if (!o->rk)
        return;
    o->number++; /* reports that come now belong to no send */
    if (o->topics)
        dr_topics_use(o->topics, NULL);
    rd_kafka_purge(o->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    rd_kafka_flush(o->rk, CLOSE_MS);
    rd_kafka_destroy(o->rk);
    o->rk = NULL;
}

static dr_sent renew(dr_outbox *o, dr_error *err)
{
    dr_error why;

    dr_log_warn("publisher", "replacing the producer: %s", err->text);
    destroy(o);
    if (++o->renewals > RENEWALS_MAX || create(o, &why))
        return DR_SENT_NEVER;
    return DR_SENT_UNKNOWN;
}

/* --- transactional calls ------------------------------------------------------------------ */

typedef enum verdict { FINE, RETRY, ABORT, RENEW } verdict;

/* The three questions that librdkafka wants asked, in its order.  Takes e. */
static verdict judge(dr_outbox *o, rd_kafka_error_t *e, const char *call, dr_error *err)
{
    verdict v;

    if (!e)
        return FINE;
    o->code = rd_kafka_error_code(e);
    if (rd_kafka_error_is_fatal(e))
        v = RENEW;
    else if (rd_kafka_error_txn_requires_abort(e))
        v = ABORT;
    else if (rd_kafka_error_is_retriable(e))
        v = RETRY;
    else
        v = RENEW;
    dr_fail(err, DR_EIO, "%s: %s: %s", call, rd_kafka_error_name(e), rd_kafka_error_string(e));
    rd_kafka_error_destroy(e);
    return v;
}

static void complain(dr_outbox *o, const dr_error *err)
{
    o->up = false;
    if (dr_kafka_nag_due(&o->nag))
        dr_log_warn("publisher", "%s; still trying", err->text);
}

/* True: the call is to be made again. */
static bool again(dr_outbox *o, verdict v, const dr_error *err)
{
    const struct timespec pause = { .tv_nsec = PAUSE_MS * 1000000L };

    if (v != RETRY || o->canceled)
        return false;
    complain(o, err);
    nanosleep(&pause, NULL);
    return true;
}

/* librdkafka goes on with it between the calls, which are short, so that it is soon seen when it is to end. */
static verdict init_transactions(dr_outbox *o, dr_error *err)
{
    const struct timespec pause = { .tv_nsec = INIT_MS * 1000000L };
    const int64_t begun_ms = dr_clock_ms();
    verdict v;

    while ((v = judge(o, rd_kafka_init_transactions(o->rk, INIT_MS), "init transactions", err)) == RETRY &&
           !o->canceled) {
        if (dr_clock_ms() - begun_ms >= TRY_MS)
            complain(o, err);
        nanosleep(&pause, NULL);
    }
    return v;
}

static verdict send_offsets(dr_outbox *o, const dr_commit *commit, dr_error *err)
{
    verdict v;

    do
        v = judge(o, rd_kafka_send_offsets_to_transaction(o->rk, commit->offsets, commit->group, TRY_MS),
                  "send offsets", err);
    while (again(o, v, err));
    return v;
}

/* -1, what is left of the transaction's time, is what librdkafka asks for here and below. */
static verdict commit_transaction(dr_outbox *o, dr_error *err)
{
    verdict v;

    do
        v = judge(o, rd_kafka_commit_transaction(o->rk, -1), "commit", err);
    while (again(o, v, err));
    return v;
}

static verdict abort_transaction(dr_outbox *o)
{
    dr_error err;
    verdict v;

    do
        v = judge(o, rd_kafka_abort_transaction(o->rk, -1), "abort", &err);
    while (again(o, v, &err));
    return v;
}

/* Has the transaction failed, whatever its records' reports still say?  There is no call for that, but to begin another one:
 * which fails, with the reason where there is one, and changes nothing. */
static verdict ask_transaction(dr_outbox *o, dr_error *err)
{
    rd_kafka_error_t *e = rd_kafka_begin_transaction(o->rk);

    if (e && !rd_kafka_error_is_fatal(e) && !rd_kafka_error_txn_requires_abort(e)) {
        rd_kafka_error_destroy(e);
        return FINE;
    }
    dr_assert(e); /* one is open */
    return judge(o, e, "transaction", err);
}

/* --- sending ---------------------------------------------------------------------------------- */

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
                                 RD_KAFKA_V_OPAQUE(ticket(o, i)),
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

/* Wait for the reports, until one of them, or the transaction itself, says that the others are in vain.  Bounded:
 * message.timeout.ms makes each message end. */
static dr_sent deliver_all(dr_outbox *o, dr_error *err)
{
    const bool exactly = o->options.delivery == DR_EXACTLY_ONCE;
    dr_error why;
    verdict v = FINE;
    dr_sent sent;

    while (o->outstanding > 0 && !o->canceled && v == FINE && !(exactly && o->refused) &&
           !rd_kafka_fatal_error(o->rk, NULL, 0))
        if (rd_kafka_poll(o->rk, PAUSE_MS) == 0 && exactly)
            v = ask_transaction(o, &why);
    sent = dr_outbox_read_reports(o, err);
    if (sent == DR_SENT && o->outstanding == 0)
        return DR_SENT;
    if (sent != DR_SENT_REFUSED && exactly && v == FINE)
        v = ask_transaction(o, &why);
    if (sent != DR_SENT_REFUSED && v != FINE) {
        *err = why; /* the reason: that of the others is only that they were purged */
        return DR_SENT_AGAIN;
    }
    if (sent == DR_SENT) {
        dr_fail(err, DR_EIO, "delivery was cut short");
        sent = DR_SENT_AGAIN;
    }
    return sent;
}

/* What went out together has been taken; the next may go. */
static dr_sent end_batch(dr_outbox *o, dr_error *err)
{
    const dr_sent sent = deliver_all(o, err);

    for (size_t i = 0; i < o->count && sent == DR_SENT; i++)
        dr_topics_taken(o->records[i].at);
    return sent;
}

/* Hand everything to the producer: at once, but where a topic takes less than librdkafka puts into a batch, only as much as it
 * takes, and then wait until that is delivered. */
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

/* The offsets go while the records are still on their way: nobody sees the ones without the others. */
static dr_sent fill_transaction(dr_outbox *o, const dr_commit *commit, verdict *v, dr_error *err)
{
    dr_sent sent = produce_all(o, err);

    if (sent != DR_SENT)
        return sent;
    *v = send_offsets(o, commit, err);
    if (*v != FINE)
        return DR_SENT_AGAIN;
    sent = end_batch(o, err);
    if (sent != DR_SENT)
        return sent;
    *v = commit_transaction(o, err);
    return *v == FINE ? DR_SENT : DR_SENT_AGAIN;
}

/* Once it is aborted and every report is in: what was wrong, where not the broker itself. */
static dr_sent find_reason(dr_outbox *o, const dr_commit *commit, rd_kafka_resp_err_t code, dr_error *err)
{
    dr_topic *jobs = dr_topics_find(o->topics, dr_books_topic(commit->books));
    dr_error why;

    /* The offsets' own topic is none of the records'. */
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

static dr_sent send_exactly(dr_outbox *o, const dr_commit *commit, dr_error *err)
{
    verdict v = judge(o, rd_kafka_begin_transaction(o->rk), "begin", err);
    rd_kafka_resp_err_t code;
    dr_sent sent;

    if (v != FINE)
        return renew(o, err);
    sent = fill_transaction(o, commit, &v, err);
    if (sent == DR_SENT)
        return DR_SENT;
    code = o->code;
    if (v != RENEW)
        v = abort_transaction(o);
    if (sent == DR_SENT_AGAIN)
        sent = find_reason(o, commit, code, err);
    return v == FINE || o->canceled ? sent : renew(o, err);
}

static dr_sent send_at_least(dr_outbox *o, const dr_commit *commit, dr_error *err)
{
    dr_sent sent = produce_all(o, err);

    if (sent == DR_SENT)
        sent = end_batch(o, err);
    if (sent == DR_SENT && dr_books_commit_plain(commit->books, commit, err))
        sent = DR_SENT_AGAIN;
    if (sent != DR_SENT)
        rd_kafka_purge(o->rk, RD_KAFKA_PURGE_F_QUEUE);
    if (sent != DR_SENT && rd_kafka_fatal_error(o->rk, NULL, 0))
        return renew(o, err);
    return sent;
}

dr_sent dr_outbox_prepare(dr_outbox *o, dr_error *err)
{
    verdict v = FINE;

    if (o->prepared)
        return DR_SENT;
    if (o->options.delivery == DR_EXACTLY_ONCE)
        v = init_transactions(o, err);
    if (v == RETRY)
        return DR_SENT_AGAIN;
    if (v != FINE)
        return renew(o, err);
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
        sent = send_exactly(o, commit, err);
    else if (sent == DR_SENT)
        sent = send_at_least(o, commit, err);
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

/* --- open and close --------------------------------------------------------------------------- */

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
        return dr_fail(err, DR_ENOMEM, "publisher: no memory");
    o->options.delivery = options->delivery;
    o->options.slot = strdup(options->slot);
    o->options.group = strdup(options->group);
    rc = o->options.slot && o->options.group ? dr_kafka_options_copy(&o->options.kafka, &options->kafka, err)
                                             : dr_fail(err, DR_ENOMEM, "publisher: no memory");
    if (!rc)
        rc = create(o, err);
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
        return dr_fail(err, DR_EIO, "publisher: has no producer");
    topic = dr_topics_find(o->topics, name);
    if (!topic)
        return dr_fail(err, DR_ENOMEM, "publisher: no memory for topic %s", name);
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
    destroy(o);
    dr_topics_free(o->topics);
    free_options(o);
    free(o);
}

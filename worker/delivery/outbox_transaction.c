/* outbox_transaction.c - librdkafka's transactional calls, and what their errors mean. */
#include "worker/delivery/outbox_parts.h"
#include "worker/support/clock.h"
#include "worker/support/log.h"

#include <time.h>

enum {
    TRY_MS = 5000,  /* one try of a call that may be tried again */
    INIT_MS = 50,   /* one try of the first call; and the pause before the next */
    PAUSE_MS = 100, /* before the same call again */
};

/* Asks the three questions about e that librdkafka wants to be asked, in its order.  Takes e, which may be
 * NULL. */
static dr_txn_verdict judge(dr_outbox *o, rd_kafka_error_t *e, const char *call, dr_error *err)
{
    dr_txn_verdict v;

    if (!e)
        return DR_TXN_FINE;
    o->code = rd_kafka_error_code(e);
    if (rd_kafka_error_is_fatal(e))
        v = DR_TXN_RENEW;
    else if (rd_kafka_error_txn_requires_abort(e))
        v = DR_TXN_ABORT;
    else if (rd_kafka_error_is_retriable(e))
        v = DR_TXN_RETRY;
    else
        v = DR_TXN_RENEW;
    dr_fail(err, DR_EIO, "%s: %s: %s", call, rd_kafka_error_name(e), rd_kafka_error_string(e));
    rd_kafka_error_destroy(e);
    return v;
}

static void complain(dr_outbox *o, const dr_error *err)
{
    o->up = false;
    if (dr_kafka_nag_due(&o->nag))
        dr_log_warn("outbox", "%s; still trying", err->text);
}

/* True, after a pause: the call is to be made again. */
static bool again(dr_outbox *o, dr_txn_verdict v, const dr_error *err)
{
    const struct timespec pause = { .tv_nsec = PAUSE_MS * 1000000L };

    if (v != DR_TXN_RETRY || o->canceled)
        return false;
    complain(o, err);
    nanosleep(&pause, NULL);
    return true;
}

dr_txn_verdict dr_txn_begin(dr_outbox *o, dr_error *err)
{
    return judge(o, rd_kafka_begin_transaction(o->rk), "begin", err);
}

/* Between the calls librdkafka goes on with the initialisation.  The calls are short, so that a cancellation
 * is seen soon. */
dr_txn_verdict dr_txn_init(dr_outbox *o, dr_error *err)
{
    const struct timespec pause = { .tv_nsec = INIT_MS * 1000000L };
    const int64_t begun_ms = dr_clock_ms();
    dr_txn_verdict v;

    while ((v = judge(o, rd_kafka_init_transactions(o->rk, INIT_MS), "init transactions", err)) ==
               DR_TXN_RETRY &&
           !o->canceled) {
        if (dr_clock_ms() - begun_ms >= TRY_MS)
            complain(o, err);
        nanosleep(&pause, NULL);
    }
    return v;
}

dr_txn_verdict dr_txn_send_offsets(dr_outbox *o, const dr_commit *commit, dr_error *err)
{
    dr_txn_verdict v;

    do
        v = judge(o, rd_kafka_send_offsets_to_transaction(o->rk, commit->offsets, commit->group, TRY_MS),
                  "send offsets", err);
    while (again(o, v, err));
    return v;
}

/* librdkafka wants the timeout -1 here and in abort.  It means the rest of the transaction's time. */
dr_txn_verdict dr_txn_commit(dr_outbox *o, dr_error *err)
{
    dr_txn_verdict v;

    do
        v = judge(o, rd_kafka_commit_transaction(o->rk, -1), "commit", err);
    while (again(o, v, err));
    return v;
}

dr_txn_verdict dr_txn_abort(dr_outbox *o)
{
    dr_error err;
    dr_txn_verdict v;

    do
        v = judge(o, rd_kafka_abort_transaction(o->rk, -1), "abort", &err);
    while (again(o, v, &err));
    return v;
}

/* librdkafka has no call for this question.  So this begins another transaction.  The begin always fails and
 * changes nothing.  If the open transaction has failed, the error is its reason. */
dr_txn_verdict dr_txn_ask(dr_outbox *o, dr_error *err)
{
    rd_kafka_error_t *e = rd_kafka_begin_transaction(o->rk);

    if (e && !rd_kafka_error_is_fatal(e) && !rd_kafka_error_txn_requires_abort(e)) {
        rd_kafka_error_destroy(e);
        return DR_TXN_FINE;
    }
    dr_assert(e); /* one is open */
    return judge(o, e, "transaction", err);
}

/* outbox_parts.h - the inside of the outbox, for its files.
 *
 *     outbox.c               the public calls
 *     outbox_producer.c      the producer: made, and replaced when it has failed for good
 *     outbox_transaction.c   librdkafka's transactional calls, and what their errors mean
 *     outbox_send.c          records and offsets, sent in one of the two ways
 *     outbox_records.c       what is known of records before they are sent, and what their reports teach
 *
 * Threads: the publisher's. */
#ifndef DR_WORKER_DELIVERY_OUTBOX_PARTS_H
#define DR_WORKER_DELIVERY_OUTBOX_PARTS_H

#include "worker/delivery/outbox.h"
#include "worker/kafka/topics.h"

#include <stdatomic.h>

enum { DR_LOOK_MS = 1000 }; /* one try to ask for a topic */

struct dr_outbox {
    dr_outbox_options options; /* strings and settings owned */
    rd_kafka_t *rk;            /* NULL: it could not be replaced */
    dr_topics *topics;
    size_t batch_bytes; /* what librdkafka puts into one batch of several */
    bool compresses;    /* if so, nobody knows what size the broker will see */
    bool prepared;
    int renewals; /* since the last success */
    atomic_bool up, canceled;
    dr_kafka_nag nag;
    /* The send that runs.  Reports of earlier sends have another number and are ignored. */
    uint32_t number;
    dr_record *records;
    size_t count;
    size_t outstanding; /* records that were handed over and have no report yet */
    bool refused;       /* a report said that its record is refused: nobody has to wait for the others */
    rd_kafka_resp_err_t code; /* of the last transactional call that failed */
};

/* --- outbox_producer.c --- */

/* Makes o->rk with the options.  After a failure o->rk is NULL. */
dr_status dr_outbox_create_producer(dr_outbox *o, dr_error *err);

/* Ends o->rk, if there is one.  What it has not sent is lost with it. */
void dr_outbox_destroy_producer(dr_outbox *o);

/* The producer is beyond help, for the reason in err.  Puts another one in its place.  DR_SENT_UNKNOWN; or
 * DR_SENT_NEVER, after too many renewals in a row. */
dr_sent dr_outbox_renew_producer(dr_outbox *o, dr_error *err);

/* The opaque pointer of a record's report.  It says which send and which record the report is about. */
void *dr_outbox_ticket(const dr_outbox *o, size_t index);

/* --- outbox_transaction.c --- */

/* What an answer of a transactional call asks for. */
typedef enum dr_txn_verdict {
    DR_TXN_FINE,
    DR_TXN_RETRY, /* the same call again */
    DR_TXN_ABORT, /* the transaction is to be aborted */
    DR_TXN_RENEW, /* the producer is beyond help */
} dr_txn_verdict;

/* Each of these makes one transactional call, again and again while librdkafka asks for that and nobody
 * cancels.  If the verdict is not DR_TXN_FINE, *err says why, and o->code has the error's code. */
dr_txn_verdict dr_txn_init(dr_outbox *o, dr_error *err);
dr_txn_verdict dr_txn_begin(dr_outbox *o, dr_error *err);
dr_txn_verdict dr_txn_send_offsets(dr_outbox *o, const dr_commit *commit, dr_error *err);
dr_txn_verdict dr_txn_commit(dr_outbox *o, dr_error *err);
dr_txn_verdict dr_txn_abort(dr_outbox *o);

/* Whether the open transaction has failed, even if reports of its records are still to come. */
dr_txn_verdict dr_txn_ask(dr_outbox *o, dr_error *err);

/* --- outbox_send.c --- */

/* Send the records of the send that runs, and the commit: in one transaction, or, for at least once, the
 * records first and then the offsets. */
dr_sent dr_outbox_send_exactly(dr_outbox *o, const dr_commit *commit, dr_error *err);
dr_sent dr_outbox_send_at_least(dr_outbox *o, const dr_commit *commit, dr_error *err);

/* --- outbox_records.c --- */

/* Whether the broker will refuse the record later too: the fault lies with the record or with its topic. */
bool dr_outbox_is_permanent(rd_kafka_resp_err_t code);

/* Checks the records before they are sent.  DR_SENT: nothing is known against them. */
dr_sent dr_outbox_check(dr_outbox *o, dr_error *err);

/* Reads the reports.  *err is the first error for which a record itself is at fault.  What the reports say
 * about topics is kept.  DR_SENT: there is no error. */
dr_sent dr_outbox_read_reports(dr_outbox *o, dr_error *err);

/* The transaction has failed with this code, and no record says why.  The code may be about a topic, but
 * does not tell its name. */
dr_sent dr_outbox_blame_topic(dr_outbox *o, rd_kafka_resp_err_t code);

/* Every report is in.  Keeps what is learnt from records that were refused for their size. */
void dr_outbox_note_sizes(dr_outbox *o);

#endif

/* outbox_parts.h - the inside of the outbox, for its two files.
 *
 *     outbox.c           the producer, its transactions, sending
 *     outbox_records.c   what is known of records before they are sent, and learnt from their reports */
#ifndef DR_WORKER_DELIVERY_OUTBOX_PARTS_H
#define DR_WORKER_DELIVERY_OUTBOX_PARTS_H

#include "worker/delivery/outbox.h"
#include "worker/kafka/topics.h"

#include <stdatomic.h>

enum { DR_LOOK_MS = 1000 }; /* one try to ask for a topic */

struct dr_outbox {
    dr_outbox_options options; /* strings and settings owned */
    rd_kafka_t *rk;
    dr_topics *topics;
    size_t batch_bytes; /* what librdkafka puts into one batch of several */
    bool compresses;    /* then nobody knows what the broker will see */
    bool prepared;
    int renewals; /* since the last success */
    atomic_bool up, canceled;
    dr_kafka_nag nag;
    /* The send that runs; reports of earlier ones are told by their number and ignored. */
    uint32_t number;
    dr_record *records;
    size_t count, outstanding;
    bool refused;             /* a report said so: the others need not be waited for */
    rd_kafka_resp_err_t code; /* of the last transactional call that failed */
};

/* What the broker says of a record, or of its topic, that it will not take in a moment either. */
bool dr_outbox_is_permanent(rd_kafka_resp_err_t code);

/* What is known of the records without sending them.  DR_SENT: nothing speaks against it. */
dr_sent dr_outbox_check(dr_outbox *o, dr_error *err);

/* The first error that is more than that of a neighbour, in *err; and what is learnt from them.  DR_SENT: there is none. */
dr_sent dr_outbox_read_reports(dr_outbox *o, dr_error *err);

/* The transaction has failed and no record says why.  A topic may be at fault, whose name is not told. */
dr_sent dr_outbox_blame_topic(dr_outbox *o, rd_kafka_resp_err_t code);

/* Once every report is in: what is learnt from records that were refused for their size. */
void dr_outbox_note_sizes(dr_outbox *o);

#endif

/* publisher_replies.h - tells of reply topics that could not be written to, for each topic once in a while.
 *
 * Every job may name the same missing topic: a line for each job would be a flood.
 * Owner: the publisher, by value; all zero at first.  Thread: the publisher's. */
#ifndef DR_WORKER_DELIVERY_PUBLISHER_REPLIES_H
#define DR_WORKER_DELIVERY_PUBLISHER_REPLIES_H

#include "worker/kafka/kafka.h"

enum {
    DR_REPLY_TOPIC_BYTES_MAX = 249, /* Kafka's own limit for a topic's name */
    DR_PUBLISHER_REPLIES_MAX = 16,  /* topics that are remembered at a time */
};

typedef struct dr_publisher_replies {
    struct {
        char topic[DR_REPLY_TOPIC_BYTES_MAX + 1]; /* "": a free place */
        dr_kafka_nag nag;
        unsigned results; /* since the last line about this topic */
    } place[DR_PUBLISHER_REPLIES_MAX];
} dr_publisher_replies;

/* Counts one more result that could not go to its reply topic.  True: it is time for a line in the log, and
 * *results is how many results this line stands for, this one included.  Where all places are taken, a new
 * topic gets the one whose last line is the oldest. */
bool dr_publisher_replies_count(dr_publisher_replies *t, const char *topic, unsigned *results);

#endif

/* topics.h - what is known of the topics that are written to: whether they can be, and how much they take.
 *
 * A broker compares `max.message.bytes` of the topic with a batch, that is one record or several with 61
 * bytes before them. It is asked for that number (DescribeConfigs) when a topic is first written to, and
 * again once in a while, since somebody may raise it.  Where it does not say, as it needs the right
 * DescribeConfigs, what it refuses is remembered for as long:
 *
 *     a batch of one record was refused     nothing as large is sent
 *     a batch of several was refused        only as many go together as were once taken as one
 *
 * Threads: one, the outbox's. */
#ifndef DR_WORKER_KAFKA_TOPICS_H
#define DR_WORKER_KAFKA_TOPICS_H

#include "base/error.h"

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct dr_topics dr_topics;

typedef struct dr_topic {
    struct dr_topic *next;
    char *name;
    rd_kafka_resp_err_t unusable; /* why nothing can be written to it; 0: it can be */
    int64_t looked_ms;            /* when that was found out; 0: never */
    int64_t asked_ms;             /* when the broker was asked for its limit; 0: never */
    size_t limit;                 /* of a batch, as the broker says; SIZE_MAX: it has not said */
    size_t refused;               /* the smallest record that was refused; SIZE_MAX: none */
    size_t together;              /* records of so many bytes may go in one batch */
    /* Of the send that runs: */
    size_t under_way; /* bytes handed over and not reported yet */
    size_t refusals;  /* records refused for their size */
} dr_topic;

/* client_bytes: the producer's message.max.bytes, above which librdkafka takes no record. NULL without
 * memory. */
dr_topics *dr_topics_create(size_t client_bytes);
void dr_topics_free(dr_topics *t); /* NULL is allowed */

/* The producer that is asked from now on; NULL before it is destroyed. */
void dr_topics_use(dr_topics *t, rd_kafka_t *rk);

/* Makes it known.  NULL without memory. */
dr_topic *dr_topics_find(dr_topics *t, const char *name);

/* Can it be written to?  Asks the broker where that is not known, or was found out more than age_ms ago, at
 * most timeout_ms: topic->unusable then says.  DR_EIO: nothing is known, and it did not answer. */
dr_status dr_topics_look(dr_topics *t, dr_topic *topic, int64_t age_ms, int timeout_ms, dr_error *err);

/* Takes what the broker has said of limits, and asks where that is due. Does not wait. */
void dr_topics_hear(dr_topics *t, dr_topic *topic);

/* The largest record that the topic takes; SIZE_MAX: nobody knows. */
size_t dr_topics_limit(const dr_topics *t, const dr_topic *topic);

/* The broker refused a batch for its size: a single record of so many bytes, or several. */
void dr_topics_refused_one(dr_topic *topic, size_t bytes);
void dr_topics_refused_several(dr_topic *topic);
/* It took these: what had been handed over for the topic. */
void dr_topics_taken(dr_topic *topic);

#endif

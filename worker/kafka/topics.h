/* topics.h - what is known of the topics that this program writes to: whether it can write to them, and how
 * much they accept.
 *
 * A broker compares `max.message.bytes` of the topic with a batch: one record or several, with 61 bytes
 * before them.  The outbox asks the broker for that number (DescribeConfigs) when a topic is first written
 * to, and again once a minute, since somebody may raise it.  The broker does not answer without the right
 * DescribeConfigs.  Then the program remembers refusals, as long as it would remember an answer:
 *
 *     A batch of one record was refused.     Nothing as large is sent.
 *     A batch of several was refused.        Only as much is sent in a batch as was once accepted as one.
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
    rd_kafka_resp_err_t unusable; /* why nothing can be written to it; 0: it can be written to */
    int64_t looked_ms;            /* when that was found out; 0: never */
    int64_t asked_ms;             /* when the broker was asked for its limit; 0: never */
    size_t limit;                 /* of a batch, as the broker says; SIZE_MAX: it has not said */
    size_t refused;               /* the smallest record that was refused; SIZE_MAX: none */
    size_t together;              /* records of so many bytes may go in one batch */
    /* Of the send that runs: */
    size_t under_way; /* bytes that were handed over and have no report yet */
    size_t refusals;  /* records that were refused for their size */
} dr_topic;

/* An empty table.  client_bytes: the producer's message.max.bytes, above which librdkafka accepts no record.
 * The caller ends it with dr_topics_free().  NULL without memory. */
dr_topics *dr_topics_create(size_t client_bytes);

/* NULL is allowed. */
void dr_topics_free(dr_topics *t);

/* The producer through which the broker is asked from now on, borrowed; NULL before that producer is
 * destroyed. */
void dr_topics_use(dr_topics *t, rd_kafka_t *rk);

/* The topic of that name, owned by the table, which adds it if it is new.  NULL without memory. */
dr_topic *dr_topics_find(dr_topics *t, const char *name);

/* Finds out whether the topic can be written to.  Afterwards topic->unusable says it.  If that is not known,
 * or was found out more than age_ms ago, it asks the broker and waits at most timeout_ms.  DR_EIO: nothing
 * is known, and the broker did not answer. */
dr_status dr_topics_look(dr_topics *t, dr_topic *topic, int64_t age_ms, int timeout_ms, dr_error *err);

/* Reads the broker's answers about limits, and asks for this topic's limit if that is due.  Does not wait. */
void dr_topics_hear(dr_topics *t, dr_topic *topic);

/* The largest record that the topic accepts, in bytes as a batch; SIZE_MAX: nobody knows. */
size_t dr_topics_limit(const dr_topics *t, const dr_topic *topic);

/* The broker refused, for its size, a batch of one record of so many bytes. */
void dr_topics_refused_one(dr_topic *topic, size_t bytes);

/* The broker refused, for its size, a batch of several records. */
void dr_topics_refused_several(dr_topic *topic);

/* The broker accepted everything that was handed over for the topic. */
void dr_topics_accepted(dr_topic *topic);

#endif

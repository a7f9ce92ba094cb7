/* kafka.h - what every Kafka client of the program has in common: its settings and its manners.
 *
 * Settings come from the user as librdkafka spells them ("bootstrap.servers", "sasl.username", ...).
 * "consumer.KEY" and "producer.KEY" reach only that kind of client.  Which ones a user may set, and within
 * what, stands in worker/kafka/kafka_settings.h; naming another is an error that says why.
 *
 * Clients log through worker/support/log.h; nothing of theirs goes to stderr by itself. */
#ifndef DR_WORKER_KAFKA_KAFKA_H
#define DR_WORKER_KAFKA_KAFKA_H

#include "worker/kafka/kafka_settings.h"

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct dr_kafka_options {
    const dr_property *settings; /* borrowed for the call that takes the options */
    size_t count;
} dr_kafka_options;

/* Copies one more setting to the end of options that own theirs.  DR_ENOMEM frees them all. */
dr_status dr_kafka_options_add(dr_kafka_options *to, const char *key, const char *value, dr_error *err);

/* For clients that make others later. */
dr_status dr_kafka_options_copy(dr_kafka_options *out, const dr_kafka_options *options, dr_error *err);
void dr_kafka_options_free(dr_kafka_options *copy);

/* The user's settings over our presets for the role.  On success *out is the caller's until a client takes
 * it; DR_EINVAL names the key that is unknown, not the user's to set (worker/kafka/kafka_settings.h) or has
 * a value that librdkafka refuses. */
dr_status dr_kafka_conf(rd_kafka_conf_t **out, dr_kafka_role role, const dr_kafka_options *options,
                        dr_error *err);

/* One more setting, on a conf of dr_kafka_conf(). */
dr_status dr_kafka_conf_set(rd_kafka_conf_t *conf, const char *key, const char *value, dr_error *err);

/* "darkroom-" + group + "-" + slot, another one for every two names: a "-" of the group's is written "%2D"
 * (and "%" is "%25"), so that the first one that is left parts it from the slot.  Malloc'ed; NULL without
 * memory. */
char *dr_kafka_transactional_id(const char *group, const char *slot);

/* Takes conf, also on failure. */
dr_status dr_kafka_create(rd_kafka_t **out, rd_kafka_type_t type, rd_kafka_conf_t *conf, dr_error *err);

/* A consumer in no group, for all of a topic; `name` stands in the broker's logs.  Not assigned yet. */
dr_status dr_kafka_reader(rd_kafka_t **out, const dr_kafka_options *options, const char *name, dr_error *err);

/* Every partition of the topic, from its start.  DR_EIO: no broker answers, or there is no such topic
 * (yet). */
dr_status dr_kafka_assign_all(rd_kafka_t *rk, const char *topic, int timeout_ms, dr_error *err);

/* librdkafka's log, to ours: the callback that dr_kafka_conf() sets. */
void dr_kafka_on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text);

/* Puts what librdkafka says of a broker that can't be used into words for whoever set the worker up: fills
 * *why with DR_EIO. False: the text is about something else, and *why is untouched.  protocol: the client's
 * security.protocol; NULL: a broker has answered this client before, so the protocol is not to be doubted.
 * text: of an error callback, or of the log's "FAIL". */
bool dr_kafka_explain(const char *protocol, rd_kafka_resp_err_t code, const char *text, dr_error *why);

/* Says something at most once in a while: a broker that is gone for an hour is not 36000 lines. */
typedef struct dr_kafka_nag {
    int64_t next_ms;
} dr_kafka_nag;

bool dr_kafka_nag_due(dr_kafka_nag *nag);

#endif

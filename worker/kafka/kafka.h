/* kafka.h - what all Kafka clients of the program have in common: their settings, their logs, and how they
 * are made.
 *
 * The user gives settings as librdkafka spells them ("bootstrap.servers", "sasl.username", ...).
 * "consumer.KEY" and "producer.KEY" reach only that kind of client.  worker/kafka/kafka_settings.h says
 * which settings a user may give, and which values; for any other there is an error that says why.
 *
 * The clients log through worker/support/log.h.  They write nothing to stderr themselves. */
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

/* Copies one more setting to the end of options that own their settings (or are empty).  DR_ENOMEM: all of
 * them are freed. */
dr_status dr_kafka_options_add(dr_kafka_options *to, const char *key, const char *value, dr_error *err);

/* Copies options, for a client that makes other clients later.  On success *out is the caller's, to be ended
 * with dr_kafka_options_free(); after DR_ENOMEM it is empty. */
dr_status dr_kafka_options_copy(dr_kafka_options *out, const dr_kafka_options *options, dr_error *err);

/* Frees the settings of such a copy, which is empty then. */
void dr_kafka_options_free(dr_kafka_options *copy);

/* Makes the configuration of a client: the presets of the role, then the user's settings.  On success *out
 * is the caller's, until dr_kafka_create() takes it.  DR_EINVAL names the key and says what is wrong: it is
 * unknown, not the user's to set, or librdkafka refuses its value. */
dr_status dr_kafka_conf(rd_kafka_conf_t **out, dr_kafka_role role, const dr_kafka_options *options,
                        dr_error *err);

/* Sets one more setting in a configuration of dr_kafka_conf().  DR_EINVAL: librdkafka refuses the key or the
 * value. */
dr_status dr_kafka_conf_set(rd_kafka_conf_t *conf, const char *key, const char *value, dr_error *err);

/* The id "darkroom-" + group + "-" + slot.  In the group "-" is written "%2D", and "%" is written "%25".  So
 * the first "-" after "darkroom-" ends the group, and no two pairs of names have the same id.  The caller
 * frees it; NULL without memory. */
char *dr_kafka_transactional_id(const char *group, const char *slot);

/* Makes the client.  Takes conf, also on failure.  On success *out is the caller's; on failure it is NULL. */
dr_status dr_kafka_create(rd_kafka_t **out, rd_kafka_type_t type, rd_kafka_conf_t *conf, dr_error *err);

/* Makes a consumer that belongs to no group and has nothing assigned yet.  `name` appears in the broker's
 * logs.  On success *out is the caller's; on failure it is NULL. */
dr_status dr_kafka_reader(rd_kafka_t **out, const dr_kafka_options *options, const char *name, dr_error *err);

/* Assigns every partition of the topic, from its start.  Waits for the broker at most timeout_ms.  DR_EIO:
 * no broker answered, or there is no such topic (yet). */
dr_status dr_kafka_assign_all(rd_kafka_t *rk, const char *topic, int timeout_ms, dr_error *err);

/* Ends a client of dr_kafka_reader(), or leaves it behind (worker/kafka/ending.h); its messages are freed
 * before. */
void dr_kafka_end_reader(rd_kafka_t *rk);

/* The log callback that dr_kafka_conf() sets: writes librdkafka's log to ours.  Any thread. */
void dr_kafka_on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text);

/* Turns what librdkafka says of a broker that can't be used into words for the person who set up the worker,
 * in *why, as DR_EIO.  protocol: the client's security.protocol; NULL: a broker has answered this client
 * before, so the protocol is not doubted.  text: from an error callback, or from the log's "FAIL". False:
 * the text is about something else; *why is as it was.  Any thread. */
bool dr_kafka_explain(const char *protocol, rd_kafka_resp_err_t code, const char *text, dr_error *why);

/* Limits how often something is logged: a broker that is away for an hour must not make 36000 lines.  Zeroed
 * at first; one thread. */
typedef struct dr_kafka_nag {
    int64_t next_ms;
} dr_kafka_nag;

/* True at the first call, and then at most once in 30 seconds. */
bool dr_kafka_nag_due(dr_kafka_nag *nag);

#endif

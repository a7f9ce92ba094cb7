/* kafka_settings.h - which of librdkafka's settings the user may give: one row for every setting that
 * librdkafka has.
 *
 *     ours        Set from the program's own settings, or needed for delivery.  If the user gives one,
 *                 the error says why that is wrong.
 *     bounded     The user's, within bounds that the worker can live with.
 *     free        The user's: where the brokers are, how to log in, sockets, timeouts, compression, logging.
 *
 * A setting that is in no row is refused as well: nobody has thought about it yet. */
#ifndef DR_WORKER_KAFKA_KAFKA_SETTINGS_H
#define DR_WORKER_KAFKA_KAFKA_SETTINGS_H

#include "base/error.h"

#include <stdbool.h>

/* A setting as the user gave it. */
typedef struct dr_property {
    char *key, *value;
} dr_property;

typedef enum dr_kafka_role {
    DR_KAFKA_GROUP_CONSUMER, /* static member of a group: the worker's input */
    DR_KAFKA_READER,         /* reads without a group, or commits what it has read: collect, demo */
    DR_KAFKA_TRANSACTIONAL,  /* results, dead letters, offsets */
    DR_KAFKA_IDEMPOTENT,     /* jobs, events; results with at_least_once */
} dr_kafka_role;

/* Clients of this role are consumers; else they are producers. */
bool dr_kafka_role_consumes(dr_kafka_role role);

/* One setting that the program gives to clients of some roles, before the user's settings. */
typedef struct dr_kafka_preset {
    unsigned roles; /* one bit for each role, 1 << role */
    const char *key, *value;
    const char *why;   /* what another value would break; NULL: the user may give another value */
    bool since_newest; /* unknown to librdkafka 2.0.2 */
} dr_kafka_preset;

extern const dr_kafka_preset dr_kafka_presets[];
extern const int dr_kafka_preset_count;

/* May the user set key to value?  DR_EINVAL names the key and says why not.  Mistakes that librdkafka itself
 * reports (an unknown choice, text in place of a number) are not looked for.  Any thread. */
dr_status dr_kafka_setting_check(const char *key, const char *value, dr_error *err);

/* There is a row for the key.  Any thread. */
bool dr_kafka_setting_known(const char *key);

/* The bounds of the key, in *min and *max.  False: it has none; they are as they were.  Any thread. */
bool dr_kafka_setting_bounds(const char *key, long *min, long *max);

#endif

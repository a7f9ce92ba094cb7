/* kafka_settings.h - which of librdkafka's settings are whose: one row each, for every one that it has.
 *
 *     ours        set from the program's own settings, or what delivery rests on: naming one is an error
 *                 with the reason
 *     bounded     the user's, within what the worker can live with
 *     free        the user's: where the brokers are, how to log in, sockets, patience, compression, what is
 *                 logged
 *
 * A setting that is in no row is refused as well: nobody has thought about it. */
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

bool dr_kafka_role_consumes(dr_kafka_role role);

/* What the program sets for a role before the user's settings. */
typedef struct dr_kafka_preset {
    unsigned roles; /* a bit for each */
    const char *key, *value;
    const char *why;   /* fixed: what breaks with another value; NULL: the user may say otherwise */
    bool since_newest; /* unknown to librdkafka 2.0.2 */
} dr_kafka_preset;

extern const dr_kafka_preset dr_kafka_presets[];
extern const int dr_kafka_preset_count;

/* May the user set key to value?  DR_EINVAL names the key and says why not.  Any thread.  What it is for
 * librdkafka to say (an unknown choice, a number that is none) it lets pass. */
dr_status dr_kafka_setting_check(const char *key, const char *value, dr_error *err);

/* Is there a row for it? */
bool dr_kafka_setting_known(const char *key);

/* The numbers that the user may give it; false: it is not bounded. */
bool dr_kafka_setting_bounds(const char *key, long *min, long *max);

#endif

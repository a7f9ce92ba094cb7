/* config.h - the values of all settings, read from three places.
 *
 *     default  <  config file  <  DARKROOM_* environment  <  flags         later wins
 *
 * A file is flat `key = value` lines (worker/settings/config_file.c), good for all commands.  A key, a
 * variable or a flag that no setting has is an error, which names it and its place.  Keys that begin with
 * `kafka.` go to librdkafka as they are: kafka.security.protocol = ssl in the file,
 * DARKROOM_KAFKA_SECURITY_PROTOCOL in the environment, -X security.protocol=ssl as a flag.
 *
 * Threads: one at a time.  Nothing changes after main has read the flags. */
#ifndef DR_WORKER_SETTINGS_CONFIG_H
#define DR_WORKER_SETTINGS_CONFIG_H

#include "base/error.h"
#include "worker/kafka/kafka_settings.h"
#include "worker/settings/settings.h"

#include <darkroom/device.h>

#include <stdbool.h>
#include <stddef.h>

/* A member for each row of worker/settings/settings.h and of darkroom/options.h, by the name of its
 * setting. */
typedef struct dr_config {
#define DR_CONFIG_TEXT(name, ...) char *name; /* owned */
#define DR_CONFIG_INT(name, ...) int name;    /* a CHOICE: the index of its name */
#define DR_CONFIG_BOOL(name, ...) bool name;
#define DR_CONFIG_DEVICE_TEXT(field, name, ...) char *name;
#define DR_CONFIG_DEVICE_INT(field, name, ...) int name;
#define DR_CONFIG_DEVICE_BOOL(field, name, ...) bool name;
    DR_DEVICE_OPTIONS(DR_CONFIG_DEVICE_TEXT, DR_CONFIG_DEVICE_INT, DR_CONFIG_DEVICE_INT, DR_CONFIG_DEVICE_INT,
                      DR_CONFIG_DEVICE_BOOL)
    DR_SETTINGS(DR_CONFIG_TEXT, DR_CONFIG_INT, DR_CONFIG_BOOL, DR_CONFIG_INT)
#undef DR_CONFIG_TEXT
#undef DR_CONFIG_INT
#undef DR_CONFIG_BOOL
#undef DR_CONFIG_DEVICE_TEXT
#undef DR_CONFIG_DEVICE_INT
#undef DR_CONFIG_DEVICE_BOOL
    dr_property *kafka; /* what was set as kafka.*, in that order; owned */
    size_t kafka_count;
} dr_config;

/* Every setting has its default.  DR_ENOMEM.  To be ended with dr_config_close() in any case. */
dr_status dr_config_open(dr_config *config, dr_error *err);
/* Frees what the config owns.  A zeroed config is allowed. */
void dr_config_close(dr_config *config);

/* Set one value, which is copied.  `where` says which setting it is and where it stands, for messages:
 * "worker.conf:3: threads", "DARKROOM_THREADS", "--threads".  DR_EINVAL: the value is not allowed, and
 * nothing has changed. */
dr_status dr_config_set(dr_config *config, const dr_setting *setting, const char *value, const char *where,
                        dr_error *err);
/* Set a property of librdkafka's.  Where key is KEY_file and KEY is secret (worker/support/secrets.h),
 * value names the file that holds KEY's value.  DR_ENOMEM, or as dr_secret_read() fails. */
dr_status dr_config_set_kafka(dr_config *config, const char *key, const char *value, const char *where,
                              dr_error *err);

/* Read a config file.  DR_EINVAL: a line is not understood; err names its number, and does not show its
 * value.  Else as dr_text_file_open() fails. */
dr_status dr_config_read_file(dr_config *config, const char *path, dr_error *err);
/* Read the DARKROOM_* variables.  environment is as environ: NULL is at its end.  DARKROOM_CONFIG is
 * passed over, because it names the config file.  DR_EINVAL: a variable is no setting, or its value is not
 * allowed. */
dr_status dr_config_read_environment(dr_config *config, char *const *environment, dr_error *err);

/* The device that the settings ask for.  Its strings are the config's, or live for ever. */
dr_device_options dr_config_device(const dr_config *config);

#endif

/* secrets.h - settings whose values nobody may see: not in a message, not in a list of processes.
 *
 *     kafka.sasl.password = ...                     in the config file; never echoed
 *     kafka.sasl.password_file = /run/secrets/kafka     the same, from a file of its own */
#ifndef DR_WORKER_SUPPORT_SECRETS_H
#define DR_WORKER_SUPPORT_SECRETS_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

/* Whether this setting of librdkafka's has such a value: passwords, client secrets, keys. */
bool dr_secret_key(const char *key);

/* The length of KEY in KEY_file or KEY.file (as the environment spells it), where KEY is a secret; else 0. */
size_t dr_secret_file_key(const char *key);

/* What the file holds, without the line end at its end; malloc'ed.  It may be a link or a pipe.  DR_EINVAL where it is
 * empty, can't be opened, or is longer than a secret is. */
dr_status dr_secret_read(char **out, const char *path, dr_error *err);

#endif

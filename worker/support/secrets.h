/* secrets.h - settings whose values nobody may see, neither in a message nor in the list of processes.
 *
 *     kafka.sasl.password = ...                     in the config file; never shown
 *     kafka.sasl.password_file = /run/secrets/kafka     the same, from a file of its own
 *
 * Threads: any. */
#ifndef DR_WORKER_SUPPORT_SECRETS_H
#define DR_WORKER_SUPPORT_SECRETS_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

/* Whether this setting of librdkafka has such a value: passwords, client secrets, keys. */
bool dr_secret_key(const char *key);

/* The key may be KEY_file, or KEY.file as the environment spells it.  Returns the length of KEY if KEY is a
 * secret, else 0. */
size_t dr_secret_file_key(const char *key);

/* Reads the secret from its file, without the line end at its end.  *out is malloc'ed and the caller's.
 * The file may be a symbolic link or a pipe.  DR_EINVAL: it is empty, can't be opened, or is longer than
 * DR_SECRET_BYTES_MAX. */
dr_status dr_secret_read(char **out, const char *path, dr_error *err);

#endif

/* json_text.h - changes the text of a JSON file so that jansson can read what Python wrote.
 *
 * Python's json module knows numbers that jansson does not.  One pass over the tokens replaces them:
 *
 *     NaN, Infinity, -Infinity           by a string of that word; a key that needs a number refuses it
 *     a real beyond double's range       by "Infinity" or "-Infinity", which Python reads it as
 *     an integer beyond 64 bits          by a real: 1000000000000000019884624838656.0
 *
 * Everything else stays as it is, also where it is no JSON: then jansson refuses it.
 * Threads: any; nothing here has a state. */
#ifndef DR_MODEL_JSON_TEXT_H
#define DR_MODEL_JSON_TEXT_H

#include "base/error.h"

#include <stddef.h>

/* Make the text that jansson can read.  The caller frees *out, which has *out_bytes bytes and no
 * terminator; on failure it is NULL.  Fails like dr_json_text_check(), and with DR_ENOMEM.  path is for
 * messages. */
dr_status dr_json_text_from_python(char **out, size_t *out_bytes, const char *text, size_t bytes,
                                   const char *path, dr_error *err);

/* Fails with DR_EFORMAT where the text has more than DR_JSON_VALUES_MAX values, so that parsing takes a
 * bounded amount of memory.  path is for messages. */
dr_status dr_json_text_check(const char *text, size_t bytes, const char *path, dr_error *err);

#endif

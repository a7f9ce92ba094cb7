/* json_text.h - the text of a JSON file, before it is parsed.
 *
 * Python's json module, which wrote the files, knows numbers that jansson does not.  One pass over the tokens
 * gives jansson what it can read:
 *
 *     NaN, Infinity, -Infinity           the string of that word: a key that wants a number refuses it
 *     a real beyond double's range       likewise "Infinity" or "-Infinity", which Python makes of it
 *     an integer beyond 64 bits          a real: 1000000000000000019884624838656.0
 *
 * Everything else is left as it is, also where it is no JSON: jansson says so. */
#ifndef DR_MODEL_JSON_TEXT_H
#define DR_MODEL_JSON_TEXT_H

#include "base/error.h"

#include <stddef.h>

/* On success *out is the caller's, to be ended with free(), and has *out_bytes; on failure NULL.  Fails as
 * dr_json_text_check() does, and with DR_ENOMEM.  path is for messages. */
dr_status dr_json_text_from_python(char **out, size_t *out_bytes, const char *text, size_t bytes,
                                   const char *path, dr_error *err);

/* DR_EFORMAT where the text has more than DR_JSON_VALUES_MAX values: what parsing takes is thus bounded. */
dr_status dr_json_text_check(const char *text, size_t bytes, const char *path, dr_error *err);

#endif

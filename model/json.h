/* json.h - JSON files that are not trusted, read with messages that name file and key. */
#ifndef DR_MODEL_JSON_H
#define DR_MODEL_JSON_H

#include "base/error.h"

#include <jansson.h>

/* Read a file that holds one object: at most DR_JSON_BYTES_MAX bytes, no key twice in an
 * object, nested at most as deep as jansson goes (2048).  *out is the caller's, to be ended with
 * json_decref(); on failure NULL. */
dr_status dr_json_read(json_t **out, const char *path, dr_error *err);

#endif

/* json.h - JSON files that are not trusted.  Errors name file, key and value.
 *
 *     dr_json j = dr_json_at(path, root, err);
 *     out->in_channels = dr_json_int(&j, "in_channels", 4, 1, 64);
 *     dr_json_only(&j, "act_fn", "\"silu\", \"swish\"");
 *     return j.status;
 *
 * A key that is missing gives `otherwise`.  null is a value like any other, and of a wrong type, except
 * for a flag: there it is false, as in Python.  Errors stick: after the first failure every getter returns
 * `otherwise` and does nothing.  A wrong type or range is DR_EFORMAT.  A value that Darkroom does not
 * support is DR_EUNSUPPORTED.
 *
 * Threads: one at a time for a dr_json and for the object that it reads. */
#ifndef DR_MODEL_JSON_H
#define DR_MODEL_JSON_H

#include "base/error.h"

#include <jansson.h>

/* Read a file that holds one object, as Python would (model/json_text.h).  It may have at most
 * DR_JSON_BYTES_MAX bytes and DR_JSON_VALUES_MAX values, nested at most 2048 deep, which is jansson's
 * limit.  Of a key that an object has twice, the last value counts.  The caller ends *out with
 * json_decref().  On failure *out is NULL: DR_ENOTFOUND, DR_EIO, DR_ENOMEM, or DR_EFORMAT, and the text
 * names the file, line and column. */
dr_status dr_json_read(json_t **out, const char *path, dr_error *err);

/* The next two are for all of Darkroom.  Where memory runs out, jansson itself may say that the text is
 * wrong, or leave characters out and say nothing. */

/* json_loadb() with its flags; the caller ends the result with json_decref().  NULL: either *lacked_memory
 * is true, or *why says what is wrong with the text. */
json_t *dr_json_load(const char *text, size_t bytes, size_t flags, bool *lacked_memory, json_error_t *why);

/* json_dumps(), compact, with as many digits as a float has.  The caller frees the result.  NULL: no
 * memory. */
char *dr_json_text(const json_t *json);

typedef struct dr_json {
    const char *path;   /* of the file, for messages; borrowed */
    json_t *object;     /* borrowed */
    const char *parent; /* the key that dr_json_enter() entered, for messages; NULL: none */
    dr_error *err;
    dr_status status; /* the first failure */
} dr_json;

/* Read from this object.  All three are borrowed. */
dr_json dr_json_at(const char *path, json_t *object, dr_error *err);

bool dr_json_is_null(const dr_json *j, const char *key); /* the value is null, or the key is missing */
bool dr_json_has(const dr_json *j, const char *key);     /* the key is there, if only with null */

/* The key's value.  min and max are allowed. */
bool dr_json_bool(dr_json *j, const char *key, bool otherwise);
int dr_json_int(dr_json *j, const char *key, int otherwise, int min, int max);
double dr_json_number(dr_json *j, const char *key, double otherwise, double min, double max);

/* Read from the object that the key holds from here on.  Does nothing where it is null or missing. */
void dr_json_enter(dr_json *j, const char *key);

/* Where in names[count] the value stands.  Fails with DR_EUNSUPPORTED for another value. */
int dr_json_choice(dr_json *j, const char *key, const char *const *names, int count, int otherwise);

/* How many values the key's list has: 1 to max. */
int dr_json_list(dr_json *j, const char *key, int otherwise, int max);

/* to[count] becomes the key's list, which must have `count` values; or `count` times the key's one value. */
void dr_json_ints(dr_json *j, const char *key, int otherwise, int min, int max, int *to, int count);
void dr_json_bools(dr_json *j, const char *key, bool otherwise, bool *to, int count);

/* The key has a list of `count` strings; to[count] becomes where in names[names_count] each stands.  The
 * key must be there. */
void dr_json_choices(dr_json *j, const char *key, const char *const *names, int names_count, int *to,
                     int count);

/* Fail with DR_EUNSUPPORTED where the key has another value than these.  values: JSON with commas,
 * "\"silu\", null".  A missing key is no failure. */
void dr_json_only(dr_json *j, const char *key, const char *values);

/* Fail, unless a failure is there already.  The text becomes "FILE: KEY is VALUE; " and the formatted
 * text. */
void dr_json_fail(dr_json *j, dr_status status, const char *key, const char *format, ...)
    __attribute__((format(printf, 4, 5), cold));

#endif

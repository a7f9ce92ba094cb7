/* json.h - JSON files that are not trusted, read with messages that name file, key and value.
 *
 *     dr_json j = dr_json_at(path, root, err);
 *     out->in_channels = dr_json_int(&j, "in_channels", 4, 1, 64);
 *     dr_json_only(&j, "act_fn", "\"silu\", \"swish\"");
 *     return j.status;
 *
 * A key that is missing gives `otherwise`; null is a value like any other and has to be asked
 * for, but for a flag, where it is false as in Python.  Errors stick: after the first, every getter gives `otherwise` and does nothing.
 * A wrong type or range is DR_EFORMAT, a value that Darkroom doesn't do DR_EUNSUPPORTED. */
#ifndef DR_MODEL_JSON_H
#define DR_MODEL_JSON_H

#include "base/error.h"

#include <jansson.h>

/* Read a file that holds one object, as Python would (model/json_text.h): at most DR_JSON_BYTES_MAX bytes
 * and DR_JSON_VALUES_MAX values, nested at most as deep as jansson goes (2048).  Of a key that an object
 * has twice, the last one counts.  *out is the caller's, to be ended with json_decref(); on failure NULL. */
dr_status dr_json_read(json_t **out, const char *path, dr_error *err);

/* jansson itself may say of a want of memory that the text is wrong, or leave characters out and say nothing. */

/* json_loadb() with its flags.  NULL: *lacked_memory, or why says what is wrong with the text. */
json_t *dr_json_load(const char *text, size_t bytes, size_t flags, bool *lacked_memory, json_error_t *why);

/* json_dumps(), compact, with as many digits as a float has.  The caller's, malloc'ed; NULL without memory. */
char *dr_json_text(const json_t *json);

typedef struct dr_json {
    const char *path;   /* of the file; borrowed */
    json_t *object;     /* borrowed */
    const char *parent; /* the key that was entered, or NULL; for messages */
    dr_error *err;
    dr_status status; /* the first failure */
} dr_json;

dr_json dr_json_at(const char *path, json_t *object, dr_error *err);

bool dr_json_is_null(const dr_json *j, const char *key); /* null, or no such key */
bool dr_json_has(const dr_json *j, const char *key);     /* null counts */
bool dr_json_bool(dr_json *j, const char *key, bool otherwise);
int dr_json_int(dr_json *j, const char *key, int otherwise, int min, int max);
double dr_json_number(dr_json *j, const char *key, double otherwise, double min, double max);

/* From here on read from the object that the key holds; nothing where it is null or missing. */
void dr_json_enter(dr_json *j, const char *key);

/* The value's place in names[count]; other values are not supported. */
int dr_json_choice(dr_json *j, const char *key, const char *const *names, int count, int otherwise);

/* How many values the list has, 1 .. max. */
int dr_json_list(dr_json *j, const char *key, int otherwise, int max);

/* One value for all, or a list of exactly count. */
void dr_json_ints(dr_json *j, const char *key, int otherwise, int min, int max, int *to, int count);
void dr_json_bools(dr_json *j, const char *key, bool otherwise, bool *to, int count);

/* A list of exactly count strings out of names[names_count]: their places. */
void dr_json_choices(dr_json *j, const char *key, const char *const *names, int names_count, int *to,
                     int count);

/* The key has no value but these (JSON, with commas), or is missing. */
void dr_json_only(dr_json *j, const char *key, const char *values);

/* Something else is wrong with the key's value: "FILE: KEY is VALUE; " and what is said here. */
void dr_json_fail(dr_json *j, dr_status status, const char *key, const char *format, ...)
    __attribute__((format(printf, 4, 5), cold));

#endif

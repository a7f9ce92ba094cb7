#include "model/json_text.h"

#include "base/limits.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The text becomes at most twice as long: the shortest real that is too large is "1e309", and its 5 bytes
 * become 10, "\"Infinity\"" with the quotes. */
enum { GROWTH = 2 };

/* --- tokens --------------------------------------------------------------------------- */

static bool is_word_letter(char c)
{
    return isalnum((unsigned char)c) || c == '+' || c == '-' || c == '.';
}

static size_t string_length(const char *text, size_t bytes)
{
    for (size_t i = 1; i < bytes; i++) {
        if (text[i] == '"')
            return i + 1;
        i += text[i] == '\\';
    }
    return bytes;
}

/* The length of the first token: a string, a word or number, or one letter of anything else. */
static size_t token_length(const char *text, size_t bytes)
{
    size_t length = 0;

    if (text[0] == '"')
        return string_length(text, bytes);
    while (length < bytes && is_word_letter(text[length]))
        length++;
    return length ? length : 1;
}

/* --- numbers -------------------------------------------------------------------------- */

static bool is_one_of(const char *const *words, const char *token, size_t length)
{
    for (; *words; words++)
        if (strlen(*words) == length && !memcmp(*words, token, length))
            return true;
    return false;
}

static bool has_only(const char *letters, const char *token, size_t length)
{
    return strspn(token, letters) >= length;
}

/* Write the token, or what replaces it, to `to`.  Returns the length that was written. */
static size_t write_number(char *to, const char *token, size_t length)
{
    static const char *const words[] = { "NaN", "Infinity", "-Infinity", NULL };
    const bool negative = token[0] == '-';
    char *end;
    double real;

    if (is_one_of(words, token, length))
        return (size_t)sprintf(to, "\"%.*s\"", (int)length, token);
    memcpy(to, token, length);
    if (!has_only("0123456789+-.eE", token, length))
        return length;
    real = strtod(token, &end);
    if (end == token + length && isinf(real))
        return (size_t)sprintf(to, "\"%sInfinity\"", negative ? "-" : "");
    errno = 0;
    if (has_only("0123456789-", token, length) && (strtoll(token, NULL, 10), errno == ERANGE)) {
        memcpy(to + length, ".0", 2);
        return length + 2;
    }
    return length;
}

/* --- the text ------------------------------------------------------------------------- */

dr_status dr_json_text_check(const char *text, size_t bytes, const char *path, dr_error *err)
{
    size_t values = 1;

    for (size_t at = 0; at < bytes; at += token_length(text + at, bytes - at))
        values += text[at] == ',' || text[at] == '[' || text[at] == '{';
    if (values > DR_JSON_VALUES_MAX)
        return dr_fail(err, DR_EFORMAT, "%s: more than %u values; no file of a model has so many", path,
                       DR_JSON_VALUES_MAX);
    return DR_OK;
}

dr_status dr_json_text_from_python(char **out, size_t *out_bytes, const char *text, size_t bytes,
                                   const char *path, dr_error *err)
{
    dr_status rc = dr_json_text_check(text, bytes, path, err);
    char *from = NULL, *to = NULL;
    size_t used = 0;

    *out = NULL;
    if (rc)
        return rc;
    from = malloc(bytes + 1); /* strtod() needs a terminator after the last number */
    to = malloc(GROWTH * bytes + 1);
    if (!from || !to) {
        rc = dr_fail(err, DR_ENOMEM, "%s: no memory for its %zu bytes", path, bytes);
        goto out;
    }
    memcpy(from, text, bytes);
    from[bytes] = '\0';
    for (size_t at = 0, length; at < bytes; at += length) {
        length = token_length(from + at, bytes - at);
        if (is_word_letter(from[at])) {
            used += write_number(to + used, from + at, length);
        } else {
            memcpy(to + used, from + at, length);
            used += length;
        }
    }
    dr_assert(used <= GROWTH * bytes);
    *out = to;
    *out_bytes = used;
    to = NULL; /* handed over */
out:
    free(from);
    free(to);
    return rc;
}

#include "worker/jobs/warnings.h"

#include "base/error.h"
#include "base/limits.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { READ_TOKENS = DR_TOKENS - 2 }; /* without the start token and the end token */

static void warn(dr_warnings *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void warn(dr_warnings *w, const char *format, ...)
{
    va_list ap;

    dr_assert(w->count < DR_WARNINGS_MAX);
    va_start(ap, format);
    vsnprintf(w->text[w->count++], DR_WARNING_BYTES_MAX, format, ap);
    va_end(ap);
}

/* The first place from `at` on whose character is not in `of`. */
static const char *skip(const char *at, const char *end, const char *of)
{
    while (at < end && *at && strchr(of, *at))
        at++;
    return at;
}

/* Is there something in brackets that ends in a colon and a number, like (word:1.3) or [from:to:0.5]? */
static bool has_number_before(const char *text, size_t bytes, char open, char close)
{
    const char *end = text + bytes, *from = memchr(text, open, bytes);

    for (const char *at = from; at && (at = memchr(at, ':', (size_t)(end - at)));) {
        const char *number = skip(++at, end, " "), *after = skip(number, end, "0123456789.");
        const char *last = skip(after, end, " ");
        if (after > number && last < end && *last == close)
            return true;
    }
    return false;
}

static bool has(const char *text, size_t bytes, const char *word)
{
    return memmem(text, bytes, word, strlen(word)) != NULL;
}

void dr_warnings_of_prompt(dr_warnings *w, const char *field, const char *text, size_t bytes, int tokens)
{
    if (tokens > READ_TOKENS)
        warn(w, "%s: %d tokens, of which the model reads the first %d", field, tokens, READ_TOKENS);
    if (has_number_before(text, bytes, '(', ')'))
        warn(w, "%s: weights like (word:1.3) are not supported, and read as text", field);
    if (has_number_before(text, bytes, '[', ']'))
        warn(w, "%s: changes like [from:to:0.5] are not supported, and read as text", field);
    if (has(text, bytes, "<lora:") || has(text, bytes, "<hypernet:"))
        warn(w, "%s: other networks like <lora:name:1> are not supported, and read as text", field);
}

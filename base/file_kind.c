#include "base/file_kind.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#define PICKLE "a pickle of Python: weights must be safetensors, so convert it"
#define PAGE "a web page: the download got it in place of the file"

#define UTF32 "text in UTF-32: save it as UTF-8"
#define UTF16 "text in UTF-16: save it as UTF-8"

static const struct kind {
    const char *begins, *is;
} KINDS[] = {
    { "version https://git-lfs", "a git-lfs pointer in place of the file: 'git lfs pull' fetches that" },
    { "<!doctype", PAGE },
    { "<html", PAGE },
    { "<?xml", PAGE },
    { "Entry not found", "a hub's answer that it has no such file" },
    { "Invalid username or password", "a hub's answer that the download needs a login" },
    { "PK\x03\x04", "a zip archive, as PyTorch writes weights: they must be safetensors, so convert it" },
    { "\x80\x02", PICKLE },
    { "\x80\x03", PICKLE },
    { "\x80\x04", PICKLE },
    { "\x80\x05", PICKLE },
    { "GGUF", "a GGUF file: weights must be safetensors" },
    { "\x89HDF", "an HDF5 file: weights must be safetensors" },
    { "\x1f\x8b", "a gzip archive: unpack it" },
    { "\x28\xb5\x2f\xfd", "a zstd archive: unpack it" },
    { "\xef\xbb\xbf", "text that begins with a byte order mark: save it as UTF-8 without one" },
    { "\xfd"
      "7zXZ",
      "an xz archive: unpack it" },
};

/* Whether these two bytes are a letter of ASCII in UTF-16: the byte at `low` is its code, and the other is
 * 0. */
static bool is_utf16_letter(const unsigned char *at, int low)
{
    return at[!low] == 0 && (isprint(at[low]) || isspace(at[low]));
}

/* The name of the encoding, if the text is in UTF-16 or UTF-32; else NULL.  A text without a byte order mark
 * must begin with two letters of ASCII. */
static const char *encoding_of(const unsigned char *first, size_t bytes)
{
    if (bytes >= 4 && (!memcmp(first, "\xff\xfe\0\0", 4) || !memcmp(first, "\0\0\xfe\xff", 4)))
        return UTF32;
    if (bytes >= 2 && (!memcmp(first, "\xff\xfe", 2) || !memcmp(first, "\xfe\xff", 2)))
        return UTF16;
    for (int low = 0; low < 2; low++)
        if (bytes >= 4 && is_utf16_letter(first, low) && is_utf16_letter(first + 2, low))
            return UTF16;
    return NULL;
}

static const char *skip_space(const char *at, const char *end)
{
    while (at < end && isspace((unsigned char)*at))
        at++;
    return at;
}

enum { ZEROS_MIN = 16 };

static bool is_zero(const char *first, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (first[i])
            return false;
    return bytes >= ZEROS_MIN;
}

const char *dr_file_kind(const void *first, size_t bytes)
{
    const char *begin = first, *text = skip_space(begin, begin + bytes);

    for (size_t i = 0; i < sizeof(KINDS) / sizeof(KINDS[0]); i++) {
        const struct kind *k = &KINDS[i];
        const char *at = *k->begins == '<' ? text : begin; /* only a web page may begin with white space */
        const size_t length = strlen(k->begins);

        if (length <= (size_t)(begin + bytes - at) && !strncasecmp(at, k->begins, length))
            return k->is;
    }
    if (encoding_of(first, bytes))
        return encoding_of(first, bytes);
    return is_zero(begin, bytes) ? "a file that begins with zeros: its download has not finished" : NULL;
}

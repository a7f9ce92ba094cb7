#include "model/unicode_text.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <utf8proc.h>

enum { CODE_POINT_BYTES_MAX = 4 };

/* --- where utf8proc and the reference differ ---------------------------------------------- */

/* The reference (the tokenizers library) has its pattern from Unicode 16, lower case from 17 and NFC from
 * 9.  utf8proc of Debian 12 has all of Unicode 15. */

typedef struct newer_class {
    int32_t first, last;
    dr_text_class class;
} newer_class;

static const newer_class newer_classes[] = {
    { 0x1c89, 0x1c8a, DR_TEXT_LETTER },   { 0xa7cb, 0xa7cd, DR_TEXT_LETTER },
    { 0xa7da, 0xa7dc, DR_TEXT_LETTER },   { 0x105c0, 0x105f3, DR_TEXT_LETTER },
    { 0x10d40, 0x10d49, DR_TEXT_NUMBER }, { 0x10d4a, 0x10d65, DR_TEXT_LETTER },
    { 0x10d6f, 0x10d85, DR_TEXT_LETTER }, { 0x10ec2, 0x10ec4, DR_TEXT_LETTER },
    { 0x11380, 0x11389, DR_TEXT_LETTER }, { 0x1138b, 0x1138b, DR_TEXT_LETTER },
    { 0x1138e, 0x1138e, DR_TEXT_LETTER }, { 0x11390, 0x113b5, DR_TEXT_LETTER },
    { 0x113b7, 0x113b7, DR_TEXT_LETTER }, { 0x113d1, 0x113d1, DR_TEXT_LETTER },
    { 0x113d3, 0x113d3, DR_TEXT_LETTER }, { 0x116d0, 0x116e3, DR_TEXT_NUMBER },
    { 0x11bc0, 0x11be0, DR_TEXT_LETTER }, { 0x11bf0, 0x11bf9, DR_TEXT_NUMBER },
    { 0x13460, 0x143fa, DR_TEXT_LETTER }, { 0x16100, 0x1611d, DR_TEXT_LETTER },
    { 0x16130, 0x16139, DR_TEXT_NUMBER }, { 0x16d40, 0x16d6c, DR_TEXT_LETTER },
    { 0x16d70, 0x16d79, DR_TEXT_NUMBER }, { 0x18cff, 0x18cff, DR_TEXT_LETTER },
    { 0x1ccf0, 0x1ccf9, DR_TEXT_NUMBER }, { 0x1e5d0, 0x1e5ed, DR_TEXT_LETTER },
    { 0x1e5f0, 0x1e5f0, DR_TEXT_LETTER }, { 0x1e5f1, 0x1e5fa, DR_TEXT_NUMBER },
    { 0x2ebf0, 0x2ee5d, DR_TEXT_LETTER },
};

typedef struct newer_capitals {
    int32_t first, last, lower; /* lower is the lower case of first; the others follow in order */
} newer_capitals;

static const newer_capitals newer_lower[] = {
    { 0x1c89, 0x1c89, 0x1c8a },    { 0xa7cb, 0xa7cb, 0x264 },  { 0xa7cc, 0xa7cc, 0xa7cd },
    { 0xa7ce, 0xa7ce, 0xa7cf },    { 0xa7d2, 0xa7d2, 0xa7d3 }, { 0xa7d4, 0xa7d4, 0xa7d5 },
    { 0xa7da, 0xa7da, 0xa7db },    { 0xa7dc, 0xa7dc, 0x19b },  { 0x10d50, 0x10d65, 0x10d70 },
    { 0x16ea0, 0x16eb8, 0x16ebb },
};

typedef struct code_range {
    int32_t first, last;
} code_range;

/* Code points that NFC must leave where they are: marks that are newer than Unicode 9, which the
 * reference's NFC does not know; U+11A7, which utf8proc drops after a syllable of Hangul; and the second
 * half of the only composition of Unicode 13. */
static const code_range inert[] = {
    { 0x7fd, 0x7fd },     { 0x898, 0x89f },     { 0x8ca, 0x8d3 },     { 0x9fe, 0x9fe },
    { 0xc3c, 0xc3c },     { 0xd3b, 0xd3c },     { 0xeba, 0xeba },     { 0x11a7, 0x11a7 },
    { 0x1715, 0x1715 },   { 0x1abf, 0x1ace },   { 0x1df6, 0x1dfa },   { 0xa82c, 0xa82c },
    { 0x10d24, 0x10d27 }, { 0x10eab, 0x10eac }, { 0x10efd, 0x10eff }, { 0x10f46, 0x10f50 },
    { 0x10f82, 0x10f85 }, { 0x11070, 0x11070 }, { 0x1133b, 0x1133b }, { 0x1145e, 0x1145e },
    { 0x11839, 0x1183a }, { 0x11930, 0x11930 }, { 0x1193d, 0x1193e }, { 0x11943, 0x11943 },
    { 0x119e0, 0x119e0 }, { 0x11a34, 0x11a34 }, { 0x11a47, 0x11a47 }, { 0x11a99, 0x11a99 },
    { 0x11d42, 0x11d42 }, { 0x11d44, 0x11d45 }, { 0x11d97, 0x11d97 }, { 0x11f41, 0x11f42 },
    { 0x16ff0, 0x16ff1 }, { 0x1e08f, 0x1e08f }, { 0x1e130, 0x1e136 }, { 0x1e2ae, 0x1e2ae },
    { 0x1e2ec, 0x1e2ef }, { 0x1e4ec, 0x1e4ef },
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static int32_t to_lower(int32_t code)
{
    for (size_t i = 0; i < COUNT(newer_lower); i++)
        if (code >= newer_lower[i].first && code <= newer_lower[i].last)
            return newer_lower[i].lower + (code - newer_lower[i].first);
    return utf8proc_tolower(code);
}

static dr_text_class class_by_newer_unicode(int32_t code)
{
    for (size_t i = 0; i < COUNT(newer_classes); i++)
        if (code >= newer_classes[i].first && code <= newer_classes[i].last)
            return newer_classes[i].class;
    return DR_TEXT_OTHER;
}

static bool is_inert(int32_t code)
{
    for (size_t i = 0; i < COUNT(inert) && code >= inert[i].first; i++)
        if (code <= inert[i].last)
            return true;
    return false;
}

/* --- UTF-8 ------------------------------------------------------------------------------ */

size_t dr_utf8_valid_bytes(const char *text, size_t bytes)
{
    const utf8proc_uint8_t *at = (const utf8proc_uint8_t *)text;
    size_t done = 0;

    while (done < bytes) {
        utf8proc_int32_t code;
        const utf8proc_ssize_t length = utf8proc_iterate(at + done, (utf8proc_ssize_t)(bytes - done), &code);

        if (length <= 0)
            return done;
        done += (size_t)length;
    }
    return bytes;
}

/* --- classes and forms ------------------------------------------------------------------ */

/* Unicode's White_Space: the separators, and six controls. */
static bool is_space(int32_t code)
{
    switch (utf8proc_category(code)) {
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
        return true;
    default:
        return (code >= '\t' && code <= '\r') || code == 0x85;
    }
}

static size_t encode(int32_t code, char *to)
{
    return (size_t)utf8proc_encode_char(code, (utf8proc_uint8_t *)to);
}

/* Only İ has a lower case of two code points. */
static size_t encode_lower(int32_t code, char *to)
{
    const size_t length = encode(to_lower(code), to);

    return code == 0x130 ? length + encode(0x307, to + length) : length;
}

/* The first inert code point, or -1.  *before becomes the number of bytes before it, *length the number of
 * its own. */
static int32_t find_inert(const utf8proc_uint8_t *text, size_t bytes, size_t *before, size_t *length)
{
    utf8proc_int32_t code;

    for (*before = *length = 0; *before < bytes; *before += *length) {
        *length = (size_t)utf8proc_iterate(text + *before, (utf8proc_ssize_t)(bytes - *before), &code);
        if (is_inert(code))
            return code;
    }
    *length = 0;
    return -1;
}

/* The text in NFC, as code points.  The caller frees *out; NULL: no memory. */
static size_t compose(int32_t **out, const char *valid, size_t bytes)
{
    const utf8proc_option_t options = UTF8PROC_STABLE | UTF8PROC_COMPOSE;
    const utf8proc_uint8_t *text = (const utf8proc_uint8_t *)valid;
    const utf8proc_ssize_t room = utf8proc_decompose(text, (utf8proc_ssize_t)bytes, NULL, 0, options);
    utf8proc_ssize_t count = 0;

    dr_assert(room >= 0);
    *out = malloc(((size_t)room + 1) * sizeof(**out));
    if (!*out)
        return 0;
    for (size_t at = 0, before, length; at < bytes; at += before + length) {
        const int32_t code = find_inert(text + at, bytes - at, &before, &length);
        int32_t *to = *out + count;
        utf8proc_ssize_t added;

        added = utf8proc_decompose(text + at, (utf8proc_ssize_t)before, to, room - count, options);
        dr_assert(added >= 0 && added <= room - count);
        added = utf8proc_normalize_utf32(to, added, options);
        count += added;
        if (code >= 0)
            (*out)[count++] = code;
    }
    return (size_t)count;
}

dr_status dr_text_normalize(char **out, size_t *out_bytes, const char *text, size_t bytes, dr_error *err)
{
    int32_t *codes;
    const size_t count = compose(&codes, text, bytes);
    size_t length = 0;

    *out = codes ? malloc(count * CODE_POINT_BYTES_MAX + 1) : NULL;
    *out_bytes = 0;
    if (!*out) {
        free(codes);
        return dr_fail(err, DR_ENOMEM, "no memory to normalize a text of %zu bytes", bytes);
    }
    for (size_t i = 0; i < count; i++) {
        if (!is_space(codes[i]))
            length += encode_lower(codes[i], *out + length);
        else if (i == 0 || !is_space(codes[i - 1]))
            (*out)[length++] = ' ';
    }
    free(codes);
    *out_bytes = length;
    return DR_OK;
}

dr_text_class dr_text_class_at(const char *text, size_t bytes, size_t *length)
{
    utf8proc_int32_t code;

    *length = (size_t)utf8proc_iterate((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)bytes, &code);
    if (is_space(code))
        return DR_TEXT_SPACE;
    switch (utf8proc_category(code)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
        return DR_TEXT_LETTER;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
        return DR_TEXT_NUMBER;
    case UTF8PROC_CATEGORY_CN: /* not assigned, as far as utf8proc knows */
        return class_by_newer_unicode(code);
    default:
        return DR_TEXT_OTHER;
    }
}

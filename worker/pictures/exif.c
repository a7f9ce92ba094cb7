#include "worker/pictures/exif.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

enum {
    TYPE_LONG = 4,
    TYPE_UNDEFINED = 7,
    TAG_EXIF_IFD = 0x8769,
    TAG_EXIF_VERSION = 0x9000,
    TAG_USER_COMMENT = 0x9286,
    IFD0_AT = 8,
    ENTRY_BYTES = 12,
    EXIF_AT = IFD0_AT + 2 + ENTRY_BYTES + 4,
    COMMENT_AT = EXIF_AT + 2 + 2 * ENTRY_BYTES + 4,
    CHARSET_BYTES = 8,
    HEAD_BYTES = COMMENT_AT + CHARSET_BYTES,
};

static uint8_t *put16(uint8_t *at, unsigned value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
    return at + 2;
}

static uint8_t *put32(uint8_t *at, uint32_t value)
{
    return put16(put16(at, value >> 16), value & 0xffff);
}

static uint8_t *put_entry(uint8_t *at, unsigned tag, unsigned type, uint32_t count, uint32_t value)
{
    return put32(put32(put16(put16(at, tag), type), count), value);
}

static uint8_t *put_character(uint8_t *at, utf8proc_int32_t c)
{
    if (c < 0x10000)
        return put16(at, (unsigned)c);
    c -= 0x10000;
    return put16(put16(at, 0xd800 + ((unsigned)c >> 10)), 0xdc00 + ((unsigned)c & 0x3ff));
}

/* Stops before a character that does not fit, and before bytes that are no character.  Returns the place
 * behind the text. */
static uint8_t *put_text(uint8_t *at, const uint8_t *end, const char *text)
{
    const utf8proc_uint8_t *from = (const utf8proc_uint8_t *)text;
    utf8proc_int32_t c;

    while (*from) {
        const utf8proc_ssize_t n = utf8proc_iterate(from, -1, &c);
        if (n <= 0 || at + (c < 0x10000 ? 2 : 4) > end)
            break;
        at = put_character(at, c);
        from += n;
    }
    return at;
}

dr_status dr_exif_make(uint8_t **out, size_t *size, const char *text, size_t size_max, dr_error *err)
{
    const size_t most = HEAD_BYTES + 2 * strlen(text); /* a byte of UTF-8 is two of UTF-16 at most */
    const size_t room = most < size_max ? most : size_max;
    uint8_t *bytes = malloc(most), *at = bytes, *end;

    dr_assert(size_max >= HEAD_BYTES);
    if (!bytes)
        return dr_fail(err, DR_ENOMEM, "no memory for a text of %zu bytes", most);
    end = put_text(bytes + HEAD_BYTES, bytes + room, text);
    memcpy(at, "MM\0*", 4);
    at = put32(at + 4, IFD0_AT);
    at = put_entry(put16(at, 1), TAG_EXIF_IFD, TYPE_LONG, 1, EXIF_AT);
    at = put32(at, 0);
    at = put_entry(put16(at, 2), TAG_EXIF_VERSION, TYPE_UNDEFINED, 4, 0x30323332 /* "0232" */);
    at = put_entry(at, TAG_USER_COMMENT, TYPE_UNDEFINED, (uint32_t)(end - bytes - COMMENT_AT), COMMENT_AT);
    at = put32(at, 0);
    dr_assert(at == bytes + COMMENT_AT);
    memcpy(at, "UNICODE", CHARSET_BYTES); /* with its 0 */
    *out = bytes;
    *size = (size_t)(end - bytes);
    return DR_OK;
}

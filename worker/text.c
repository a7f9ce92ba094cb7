#include "worker/text.h"

#include "base/limits.h"

#include <string.h>
#include <utf8proc.h>

const char dr_name_rule[] = "1 to 128 characters of A-Z a-z 0-9 . _ : - not starting with . or -";
_Static_assert(DR_NAME_BYTES_MAX == 128, "dr_name_rule says 128");

bool dr_text_valid(const char *text, size_t size)
{
    const utf8proc_uint8_t *at = (const utf8proc_uint8_t *)text;
    utf8proc_int32_t character;

    if (memchr(text, 0, size))
        return false;
    while (size > 0) {
        const utf8proc_ssize_t n = utf8proc_iterate(at, (utf8proc_ssize_t)size, &character);
        if (n <= 0)
            return false;
        at += n;
        size -= (size_t)n;
    }
    return true;
}

void dr_text_copy(char *to, size_t room, const char *text, size_t size)
{
    const utf8proc_uint8_t *at = (const utf8proc_uint8_t *)text;
    utf8proc_int32_t character;
    size_t used = 0;

    while (size > 0) {
        const utf8proc_ssize_t valid = utf8proc_iterate(at, (utf8proc_ssize_t)size, &character);
        const size_t n = valid > 0 ? (size_t)valid : 1;
        if (used + n + 1 > room)
            break;
        if (valid <= 0)
            to[used] = '?';
        else if (character < 0x20 || character == 0x7f)
            to[used] = ' ';
        else
            memcpy(to + used, at, n);
        used += n;
        at += n;
        size -= n;
    }
    to[used] = 0;
}

bool dr_name_valid(const char *name, size_t size)
{
    if (size == 0 || size > DR_NAME_BYTES_MAX || name[0] == '.' || name[0] == '-')
        return false;
    for (size_t i = 0; i < size; i++) {
        const char c = name[i];
        const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && !(c >= '0' && c <= '9') && c != '.' && c != '_' && c != ':' && c != '-')
            return false;
    }
    return true;
}

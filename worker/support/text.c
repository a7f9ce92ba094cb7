#include "worker/support/text.h"

#include "base/limits.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

enum {
    EXPONENT_MAX = 10000,  /* far more than 64 bits hold; no sum with it overflows */
    LINE_BYTES_MAX = 4096, /* room for a path and the text of an error */
};

const char dr_name_rule[] = "1 to 128 characters of A-Z a-z 0-9 . _ : - not starting with . or -";
_Static_assert(DR_NAME_BYTES_MAX == 128, "dr_name_rule says 128");

const char dr_folder_name_rule[] = "1 to 255 bytes of UTF-8 without / and controls, not starting with .";
_Static_assert(DR_FOLDER_NAME_BYTES_MAX == 255, "dr_folder_name_rule says 255");

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

/* Whether a terminal obeys the character instead of showing it: C0, C1, ends of lines, marks of the writing
 * direction. */
static bool is_control(utf8proc_int32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x61c || c == 0x200e || c == 0x200f ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
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
        if (valid <= 0) {
            to[used++] = '?';
        } else if (is_control(character)) {
            to[used++] = ' ';
        } else {
            memcpy(to + used, at, n);
            used += n;
        }
        at += n;
        size -= n;
    }
    to[used] = 0;
}

void dr_text_vprint(FILE *to, const char *format, va_list ap)
{
    char text[LINE_BYTES_MAX], clean[LINE_BYTES_MAX];

    vsnprintf(text, sizeof(text), format, ap);
    dr_text_copy(clean, sizeof(clean), text, strlen(text));
    fprintf(to, "%s\n", clean);
}

void dr_text_print(FILE *to, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    dr_text_vprint(to, format, ap);
    va_end(ap);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool append_digit(uint64_t *number, int digit)
{
    return !__builtin_mul_overflow(*number, 10, number) && !__builtin_add_overflow(*number, digit, number);
}

/* Reads an exponent, as in "e-3", up to the end of the text.  Without one it is 0. */
static bool read_exponent(const char *text, long *exponent)
{
    char *end;

    *exponent = 0;
    if (!*text)
        return true;
    if ((*text != 'e' && *text != 'E') || !is_digit(text[1 + (text[1] == '+' || text[1] == '-')]))
        return false;
    *exponent = strtol(text + 1, &end, 10);
    return !*end && *exponent >= -EXPONENT_MAX && *exponent <= EXPONENT_MAX;
}

bool dr_text_whole(const char *text, bool *negative, uint64_t *magnitude)
{
    const char *digits = text + (*text == '-'), *point, *end;
    long exponent, whole;
    uint64_t number = 0;

    *negative = *text == '-';
    point = digits + strspn(digits, "0123456789");
    end = *point == '.' ? point + 1 + strspn(point + 1, "0123456789") : point;
    if (point == digits || (*point == '.' && end == point + 1) || !read_exponent(end, &exponent))
        return false;
    whole = point - digits + exponent; /* so many digits are before the point when the exponent is applied */
    for (const char *c = digits; c < end; c++) {
        if (*c == '.')
            continue;
        if (whole-- > 0 ? !append_digit(&number, *c - '0') : *c != '0')
            return false;
    }
    for (; whole > 0 && number > 0; whole--)
        if (!append_digit(&number, 0))
            return false;
    *magnitude = number;
    return true;
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

bool dr_folder_name_valid(const char *name, size_t size)
{
    const utf8proc_uint8_t *at = (const utf8proc_uint8_t *)name, *end = at + size;
    utf8proc_int32_t character;

    if (size == 0 || size > DR_FOLDER_NAME_BYTES_MAX || name[0] == '.')
        return false;
    for (utf8proc_ssize_t n; at < end; at += n) {
        n = utf8proc_iterate(at, end - at, &character);
        if (n <= 0 || character == '/' || is_control(character))
            return false;
    }
    return true;
}

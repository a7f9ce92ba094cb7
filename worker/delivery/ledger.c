#include "worker/delivery/ledger.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BITMAP_BYTES = DR_LEDGER_WINDOW / 8, BASE64_MAX = (BITMAP_BYTES + 2) / 3 * 4 };

static const char prefix[] = "dr1:";

_Static_assert(DR_LEDGER_WINDOW % 64 == 0 && (DR_LEDGER_WINDOW & (DR_LEDGER_WINDOW - 1)) == 0,
               "offsets map to bits by their low bits");
_Static_assert((int)DR_LEDGER_TEXT_MAX <= 4096, "a broker takes that much as a commit's metadata");
_Static_assert((int)DR_DEVICE_LOSSES_MAX <= 3, "a number of two bits");

static bool get(const uint64_t *bits, int64_t offset)
{
    const uint64_t bit = (uint64_t)offset % DR_LEDGER_WINDOW;

    return bits[bit / 64] >> (bit % 64) & 1;
}

static void put(uint64_t *bits, int64_t offset, bool value)
{
    const uint64_t bit = (uint64_t)offset % DR_LEDGER_WINDOW;
    const uint64_t mask = (uint64_t)1 << (bit % 64);

    if (value)
        bits[bit / 64] |= mask;
    else
        bits[bit / 64] &= ~mask;
}

static void set_losses(dr_ledger *l, int64_t offset, int losses)
{
    put(l->lost_bits[0], offset, losses & 1);
    put(l->lost_bits[1], offset, losses & 2);
}

static bool in_window(const dr_ledger *l, int64_t offset)
{
    return offset >= l->next && offset - l->next < DR_LEDGER_WINDOW;
}

/* Checks what takes little time, after every change of the ledger. */
static void check(const dr_ledger *l)
{
    dr_assert(0 <= l->next && l->next <= l->read && l->read - l->next <= DR_LEDGER_WINDOW);
    dr_assert(0 <= l->running && l->running <= DR_LEDGER_WINDOW);
    dr_assert(!get(l->settled_bits, l->next));
}

/* Checks the whole window, once a commit: no offset is both running and settled, and the number of running
 * offsets is right. */
static void check_bits(const dr_ledger *l)
{
    int running = 0;

    for (int i = 0; i < DR_LEDGER_WINDOW / 64; i++) {
        dr_assert(!(l->running_bits[i] & l->settled_bits[i]));
        running += l->running_bits[i] ? __builtin_popcountll(l->running_bits[i]) : 0;
    }
    dr_assert(running == l->running);
}

/* Moves `next` to the first offset that is not settled. */
static void advance(dr_ledger *l)
{
    while (get(l->settled_bits, l->next)) {
        put(l->settled_bits, l->next, false);
        set_losses(l, l->next, 0);
        l->next++;
    }
    if (l->read < l->next)
        l->read = l->next;
    check(l);
}

void dr_ledger_reset(dr_ledger *l, int64_t next)
{
    dr_assert(next >= 0);
    memset(l, 0, sizeof(*l));
    l->next = l->read = next;
}

/* Decodes base64 strictly.  EVP_DecodeBlock() alone is not strict: it trims white space and takes '='
 * anywhere. */
static int decode_base64(const char *text, size_t length, uint8_t bytes[BITMAP_BYTES + 2])
{
    size_t padding = 0;
    int n;

    if (length == 0 || length % 4 != 0 || length > BASE64_MAX)
        return -1;
    while (padding < 2 && text[length - 1 - padding] == '=')
        padding++;
    if (strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") != length - padding)
        return -1;
    n = EVP_DecodeBlock(bytes, (const unsigned char *)text, (int)length);
    n = n < 0 ? -1 : n - (int)padding;
    return n > BITMAP_BYTES ? -1 : n;
}

/* Reads at most `count` bits, from offset `first` on.  Later bits would be outside of the window.  False:
 * the text is damaged. */
static bool read_bits(const char *text, size_t length, uint64_t *bits, int64_t first, int64_t count)
{
    uint8_t bytes[BITMAP_BYTES + 2] = { 0 };
    const int n = length > 0 ? decode_base64(text, length, bytes) : 0;

    for (int64_t i = 0; i < (int64_t)n * 8 && i < count; i++)
        if (bytes[i / 8] >> (i % 8) & 1)
            put(bits, first + i, true);
    return n >= 0;
}

/* Reads "SETTLED", or "SETTLED:LOST0:LOST1", where some of the three parts are empty.  False: the text is
 * damaged. */
static bool read_text(dr_ledger *l, const char *text)
{
    const size_t settled = strcspn(text, ":");
    const char *low = text + settled + 1, *high;
    size_t length;

    if (!read_bits(text, settled, l->settled_bits, l->next + 1, DR_LEDGER_WINDOW - 1))
        return false;
    if (!text[settled])
        return settled > 0;
    length = strcspn(low, ":");
    high = low + length + 1;
    return low[length] && read_bits(low, length, l->lost_bits[0], l->next, DR_LEDGER_WINDOW) &&
           read_bits(high, strlen(high), l->lost_bits[1], l->next, DR_LEDGER_WINDOW);
}

dr_status dr_ledger_restore(dr_ledger *l, int64_t next, const char *text, dr_error *err)
{
    char *end;
    long long base;

    dr_ledger_reset(l, next);
    if (!text || !*text)
        return DR_OK;
    if (strncmp(text, prefix, strlen(prefix)) != 0)
        return dr_fail(err, DR_EFORMAT,
                       "offset %" PRId64 ": the commit's metadata was not written by Darkroom", next);
    errno = 0;
    base = strtoll(text + strlen(prefix), &end, 10);
    if (errno || *end != ':' || base != next)
        return dr_fail(err, DR_EFORMAT, "offset %" PRId64 ": the commit's metadata belongs to another offset",
                       next);
    if (read_text(l, end + 1))
        return DR_OK;
    dr_ledger_reset(l, next);
    return dr_fail(err, DR_EFORMAT, "offset %" PRId64 ": the commit's metadata is damaged", next);
}

void dr_ledger_reach(dr_ledger *l, int64_t end)
{
    if (l->running == 0 && l->next == l->read && end > l->read) {
        /* Nothing holds `next` back, however far the log jumps. */
        for (int64_t o = l->next; o < end && in_window(l, o); o++) {
            put(l->settled_bits, o, false);
            set_losses(l, o, 0);
        }
        l->next = l->read = end;
    }
    while (l->read < end && in_window(l, l->read)) {
        if (!get(l->running_bits, l->read))
            put(l->settled_bits, l->read, true);
        l->read++;
        advance(l);
    }
    advance(l);
}

dr_ledger_answer dr_ledger_admit(dr_ledger *l, int64_t offset)
{
    dr_ledger_reach(l, offset);
    if (offset < l->next)
        return DR_LEDGER_KNOWN;
    if (!in_window(l, offset))
        return DR_LEDGER_FULL;
    if (l->read <= offset)
        l->read = offset + 1;
    if (get(l->settled_bits, offset) || get(l->running_bits, offset))
        return DR_LEDGER_KNOWN;
    put(l->running_bits, offset, true);
    l->running++;
    check(l);
    return DR_LEDGER_ADMITTED;
}

bool dr_ledger_is_running(const dr_ledger *l, int64_t offset)
{
    return in_window(l, offset) && get(l->running_bits, offset);
}

bool dr_ledger_is_settled(const dr_ledger *l, int64_t offset)
{
    return offset < l->next || (in_window(l, offset) && get(l->settled_bits, offset));
}

void dr_ledger_settle(dr_ledger *l, int64_t offset)
{
    if (!dr_ledger_is_running(l, offset))
        return;
    dr_assert(!get(l->settled_bits, offset)); /* an offset is settled once */
    put(l->running_bits, offset, false);
    put(l->settled_bits, offset, true);
    set_losses(l, offset, 0);
    l->running--;
    advance(l);
}

void dr_ledger_drop(dr_ledger *l, int64_t offset)
{
    if (!dr_ledger_is_running(l, offset))
        return;
    put(l->running_bits, offset, false);
    l->running--;
    check(l);
}

void dr_ledger_resume(dr_ledger *l, int64_t offset)
{
    if (!in_window(l, offset) || get(l->settled_bits, offset) || get(l->running_bits, offset))
        return;
    put(l->running_bits, offset, true);
    l->running++;
    check(l);
}

int dr_ledger_losses(const dr_ledger *l, int64_t offset)
{
    return in_window(l, offset) ? get(l->lost_bits[0], offset) + 2 * get(l->lost_bits[1], offset) : 0;
}

void dr_ledger_lose(dr_ledger *l, int64_t offset)
{
    const int losses = dr_ledger_losses(l, offset);

    if (!dr_ledger_is_running(l, offset))
        return;
    dr_ledger_drop(l, offset);
    set_losses(l, offset, losses < DR_DEVICE_LOSSES_MAX ? losses + 1 : losses);
}

void dr_ledger_adopt(dr_ledger *l, const dr_ledger *old)
{
    dr_assert(l->running == 0);
    for (int64_t o = old->next; o < old->next + DR_LEDGER_WINDOW; o++)
        if (get(old->running_bits, o) && in_window(l, o) && !get(l->settled_bits, o)) {
            put(l->running_bits, o, true);
            l->running++;
        }
    check(l); /* `read` stays: the offsets from `next` on are read again, and gaps are found then */
    check_bits(l);
}

/* Writes base64 of the bits of `count` offsets from `first` on, up to the last that is set.  Returns its
 * length. */
static int write_bits(const uint64_t *bits, int64_t first, int64_t count, char *text)
{
    uint8_t bytes[BITMAP_BYTES] = { 0 };
    int used = 0;

    for (int64_t i = 0; i < count; i++)
        if (get(bits, first + i)) {
            bytes[i / 8] |= (uint8_t)(1u << (i % 8));
            used = (int)(i / 8) + 1;
        }
    return used > 0 ? EVP_EncodeBlock((unsigned char *)text, bytes, used) : 0;
}

void dr_ledger_text(const dr_ledger *l, char text[DR_LEDGER_TEXT_MAX])
{
    const int head = snprintf(text, DR_LEDGER_TEXT_MAX, "%s%" PRId64 ":", prefix, l->next);
    char *const begin = text + head;
    char *low, *high, *end;

    check_bits(l);
    low = begin + write_bits(l->settled_bits, l->next + 1, DR_LEDGER_WINDOW - 1, begin);
    *low = ':';
    high = low + 1 + write_bits(l->lost_bits[0], l->next, DR_LEDGER_WINDOW, low + 1);
    *high = ':';
    end = high + 1 + write_bits(l->lost_bits[1], l->next, DR_LEDGER_WINDOW, high + 1);
    *end = '\0';
    if (end == low + 2) /* no device was lost */
        *low = '\0';
    if (*begin == '\0')
        text[0] = '\0';
}

#include "worker/support/text_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utf8proc.h>

enum {
    BLOCK_BYTES = 1 << 16,
    NO_TEXT = 0xff, /* a byte that UTF-8 never has */
};

struct dr_text_file {
    const char *path; /* borrowed */
    int fd;
    int failed;            /* errno of the read that failed; 0: no read has failed */
    bool wide, big_endian; /* UTF-16 */
    uint8_t ready[4];      /* the bytes of a character in UTF-8 that are not given yet */
    int ready_at, ready_end;
    size_t at, end; /* the part of block that is not given yet */
    uint8_t block[BLOCK_BYTES];
};

/* --- bytes of the file ---------------------------------------------------------------------- */

/* Reads until the block has `want` bytes, or the file has no more. */
static void fill(dr_text_file *f, size_t want)
{
    memmove(f->block, f->block + f->at, f->end - f->at);
    f->end -= f->at;
    f->at = 0;
    while (f->end < want && !f->failed) {
        const ssize_t n = read(f->fd, f->block + f->end, sizeof(f->block) - f->end);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            f->failed = errno;
        if (n <= 0)
            return;
        f->end += (size_t)n;
    }
}

static int raw_byte(dr_text_file *f)
{
    if (f->at == f->end)
        fill(f, 1);
    return f->at < f->end ? f->block[f->at++] : -1;
}

/* --- UTF-16 ------------------------------------------------------------------------------------ */

/* The next unit of 16 bits; -1: the end of the file; a number of more than 16 bits: half a unit is left. */
static int32_t unit(dr_text_file *f)
{
    const int first = raw_byte(f), second = first < 0 ? -1 : raw_byte(f);

    if (first < 0)
        return -1;
    if (second < 0)
        return NO_TEXT << 16;
    return f->big_endian ? first << 8 | second : second << 8 | first;
}

static bool low_surrogate_follows(dr_text_file *f)
{
    if (f->end - f->at < 2)
        fill(f, 2);
    return f->end - f->at >= 2 && (f->block[f->at + !f->big_endian] & 0xfc) == 0xdc;
}

/* Puts the next character into ready[]; nothing at the end of the file. */
static void decode(dr_text_file *f)
{
    int32_t character = unit(f);

    f->ready_at = f->ready_end = 0;
    if (character < 0)
        return;
    if (character >= 0xd800 && character < 0xdc00 && low_surrogate_follows(f))
        character = 0x10000 + ((character - 0xd800) << 10) + (unit(f) - 0xdc00);
    if (character < 0xd800 || character >= 0xe000)
        f->ready_end = (int)utf8proc_encode_char(character, f->ready); /* 0: not a character */
    if (f->ready_end <= 0) {
        f->ready[0] = NO_TEXT;
        f->ready_end = 1;
    }
}

int dr_text_file_peek(dr_text_file *f)
{
    if (!f->wide) {
        if (f->at == f->end)
            fill(f, 1);
        return f->at < f->end ? f->block[f->at] : -1;
    }
    if (f->ready_at == f->ready_end)
        decode(f);
    return f->ready_at < f->ready_end ? f->ready[f->ready_at] : -1;
}

int dr_text_file_next(dr_text_file *f)
{
    const int byte = dr_text_file_peek(f);

    if (byte >= 0 && f->wide)
        f->ready_at++;
    else if (byte >= 0)
        f->at++;
    return byte;
}

void dr_text_file_skip_mark(dr_text_file *f)
{
    static const char mark[] = { '\xef', '\xbb', '\xbf' };

    if (dr_text_file_peek(f) != 0xef) /* this makes the whole character ready, for UTF-16, too */
        return;
    if (f->wide) {
        if (f->ready_at == 0 && f->ready_end == sizeof(mark) && memcmp(f->ready, mark, sizeof(mark)) == 0)
            f->ready_at = f->ready_end;
        return;
    }
    if (f->end - f->at < sizeof(mark))
        fill(f, sizeof(mark));
    if (f->end - f->at >= sizeof(mark) && memcmp(f->block + f->at, mark, sizeof(mark)) == 0)
        f->at += sizeof(mark);
}

bool dr_text_file_line(dr_text_file *f, char *text, size_t room, size_t *size)
{
    int c = dr_text_file_next(f);

    dr_assert(room > 0);
    *size = 0;
    *text = 0;
    if (c < 0)
        return false;
    for (; c >= 0 && c != '\n' && c != '\r'; c = dr_text_file_next(f)) {
        if (*size + 1 < room) {
            text[*size] = (char)c;
            text[*size + 1] = 0;
        }
        ++*size;
    }
    if (c == '\r' && dr_text_file_peek(f) == '\n')
        dr_text_file_next(f);
    return true;
}

/* --- the file ------------------------------------------------------------------------------------ */

/* Whether a file without a mark is UTF-16: one byte of each of its first two pairs is 0.  A file
 * with a single NUL is not UTF-16. */
static bool looks_wide(const uint8_t *b, size_t n)
{
    return n >= 2 && !b[0] != !b[1] && (n < 4 || (!b[0] == !b[2] && !b[1] == !b[3]));
}

/* Finds out from the first bytes how the file is encoded. */
static dr_status read_mark(dr_text_file *f, dr_error *err)
{
    const uint8_t *b = f->block;

    fill(f, 4);
    if (f->failed == EISDIR)
        return dr_fail(err, DR_EINVAL, "%s: a folder, not a file", f->path);
    if (f->failed)
        return dr_text_file_status(f, err);
    if (f->end >= 4 && ((b[0] == 0xff && b[1] == 0xfe && !b[2] && !b[3]) ||
                        (!b[0] && !b[1] && b[2] == 0xfe && b[3] == 0xff)))
        return dr_fail(err, DR_EFORMAT, "%s: UTF-32; save it as UTF-8", f->path);
    if (f->end >= 3 && memcmp(b, "\xef\xbb\xbf", 3) == 0) {
        f->at = 3;
    } else if (f->end >= 2 && ((b[0] == 0xff && b[1] == 0xfe) || (b[0] == 0xfe && b[1] == 0xff))) {
        f->wide = true;
        f->big_endian = b[0] == 0xfe;
        f->at = 2;
    } else if (looks_wide(b, f->end)) {
        f->wide = true;
        f->big_endian = b[0] == 0;
    }
    return DR_OK;
}

dr_status dr_text_file_open(dr_text_file **out, const char *path, dr_error *err)
{
    dr_text_file *f = calloc(1, sizeof(*f));
    dr_status rc;

    *out = NULL;
    if (!f)
        return dr_fail(err, DR_ENOMEM, "%s: no memory", path);
    f->path = path;
    f->fd = strcmp(path, "-") == 0 ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (f->fd < 0)
        rc = dr_fail_errno(err, errno == ENOENT || errno == ENOTDIR ? DR_ENOTFOUND : DR_EIO, "%s", path);
    else
        rc = read_mark(f, err);
    if (rc) {
        dr_text_file_close(f);
        return rc;
    }
    *out = f;
    return DR_OK;
}

void dr_text_file_close(dr_text_file *f)
{
    if (!f)
        return;
    if (f->fd > STDIN_FILENO)
        close(f->fd);
    free(f);
}

bool dr_text_file_rewind(dr_text_file *f)
{
    if (lseek(f->fd, 0, SEEK_SET) < 0)
        return false;
    f->failed = 0;
    f->at = f->end = 0;
    f->ready_at = f->ready_end = 0;
    return read_mark(f, NULL) == DR_OK;
}

dr_status dr_text_file_status(const dr_text_file *f, dr_error *err)
{
    if (!f->failed)
        return DR_OK;
    errno = f->failed;
    return dr_fail_errno(err, DR_EIO, "%s", f->path);
}

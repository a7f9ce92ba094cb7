#include "worker/render/results_file.h"

#include "worker/support/files.h"
#include "worker/support/log.h"

#include "base/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

typedef struct line_at {
    off_t at;
    size_t size; /* without the newline */
    bool succeeded;
} line_at;

struct dr_results_file {
    char *path;
    int folder; /* locked while it is open */
    int fd;
    bool looks; /* it may only be looked at */
    off_t end;
    long lines;
    size_t failures;  /* ids whose last line says that they have not succeeded */
    GHashTable *last; /* from ids to the places of their last lines */
};

static void remember(dr_results_file *f, const char *id, off_t at, size_t size, bool succeeded)
{
    const line_at *earlier = g_hash_table_lookup(f->last, id);
    line_at *p = g_new(line_at, 1);

    f->failures -= earlier && !earlier->succeeded;
    f->failures += !succeeded;
    *p = (line_at){ at, size, succeeded };
    g_hash_table_replace(f->last, g_strdup(id), p);
    f->lines++;
    dr_assert(f->failures <= dr_results_count(f) && dr_results_count(f) <= (size_t)f->lines);
}

/* --- reading what is there -------------------------------------------------------------------- */

/* Take a line that stands in the file.  False: neither render nor collect wrote it. */
static bool take_line(dr_results_file *f, const char *line, size_t size, off_t at)
{
    json_t *json = json_loadb(line, size, 0, NULL);
    const char *id = json_string_value(json_object_get(json, "id"));
    const char *state = json_string_value(json_object_get(json, "state"));
    const bool ours = id && state;

    if (ours)
        remember(f, id, at, size, strcmp(state, "succeeded") == 0);
    json_decref(json);
    return ours;
}

static dr_status refuse_foreign(const dr_results_file *f, dr_error *err)
{
    return dr_fail(err, DR_EINVAL,
                   "%s:%ld: not a line that Darkroom writes; move the file away, or name another folder",
                   f->path, f->lines + 1);
}

/* Whether this may be the start of one of our lines, which a killed process has left.  Any other text is
 * somebody's. */
static bool is_start_of_line(const char *text, size_t size)
{
    static const char start[] = "{\"id\":\"";
    const size_t n = sizeof(start) - 1;

    return memcmp(text, start, size < n ? size : n) == 0;
}

/* Take all whole lines of block[0, size), which stands at offset `at` of the file.  Returns the bytes of
 * these lines; or -1 where one is not ours. */
static ssize_t take_lines(dr_results_file *f, const char *block, size_t size, off_t at)
{
    size_t done = 0;
    const char *end;

    while ((end = memchr(block + done, '\n', size - done))) {
        const size_t n = (size_t)(end - block) - done;
        if (!take_line(f, block + done, n, at + (off_t)done))
            return -1;
        done += n + 1;
    }
    return (ssize_t)done;
}

static dr_status read_lines(dr_results_file *f, char *block, size_t room, dr_error *err)
{
    size_t have = 0;

    for (;;) {
        const ssize_t n = pread(f->fd, block + have, room - have, f->end + (off_t)have);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return dr_fail_errno(err, DR_EIO, "%s", f->path);
        have += (size_t)n;
        const ssize_t done = take_lines(f, block, have, f->end);
        if (done < 0 || (done == 0 && have == room))
            return refuse_foreign(f, err);
        memmove(block, block + done, have - (size_t)done);
        have -= (size_t)done;
        f->end += done;
        if (n == 0)
            break;
    }
    if (have == 0)
        return DR_OK;
    if (!is_start_of_line(block, have))
        return refuse_foreign(f, err);
    if (!f->looks && ftruncate(f->fd, f->end))
        return dr_fail_errno(err, DR_EIO, "%s", f->path);
    return DR_OK;
}

static dr_status read_file(dr_results_file *f, dr_error *err)
{
    const size_t room = 2 * DR_RESULT_LINE_BYTES_MAX;
    char *block = malloc(room);
    dr_status rc;

    if (!block)
        return dr_fail(err, DR_ENOMEM, "%s: no memory", f->path);
    rc = dr_file_open(&f->fd, f->path, f->looks ? O_RDONLY : O_RDWR | O_CREAT | O_APPEND, err);
    if (rc == DR_ENOTFOUND && f->looks)
        rc = DR_OK;
    else if (!rc)
        rc = read_lines(f, block, room, err);
    free(block);
    return rc;
}

/* Lock the folder itself.  Then there is no lock file, and the lock ends with the process, however that
 * ends. */
static dr_status lock_folder(dr_results_file *f, const char *folder, dr_error *err)
{
    dr_status rc = dr_folder_make(folder, err);

    if (rc)
        return rc;
    f->folder = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (f->folder < 0)
        return dr_fail_errno(err, DR_EIO, "%s", folder);
    if (flock(f->folder, LOCK_EX | LOCK_NB) == 0)
        return DR_OK;
    if (errno == EWOULDBLOCK)
        return dr_fail(err, DR_EIO, "%s: another darkroom is writing into this folder", folder);
    dr_log_warn("files", "%s: can't be locked (%s): make sure that no other darkroom writes into it", folder,
                strerror(errno));
    return DR_OK;
}

static dr_status open_results(dr_results_file **out, const char *folder, bool looks, dr_error *err)
{
    dr_results_file *f = calloc(1, sizeof(*f));
    dr_status rc = DR_OK;

    *out = NULL;
    if (!f)
        return dr_fail(err, DR_ENOMEM, "%s: no memory", folder);
    f->fd = f->folder = -1;
    f->looks = looks;
    f->path = g_build_filename(folder, "results.jsonl", NULL);
    f->last = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    if (!looks)
        rc = lock_folder(f, folder, err);
    if (!rc)
        rc = read_file(f, err);
    if (rc) {
        dr_results_close(f);
        return rc;
    }
    *out = f;
    return DR_OK;
}

dr_status dr_results_open(dr_results_file **out, const char *folder, dr_error *err)
{
    return open_results(out, folder, false, err);
}

dr_status dr_results_look(dr_results_file **out, const char *folder, dr_error *err)
{
    return open_results(out, folder, true, err);
}

void dr_results_close(dr_results_file *f)
{
    if (!f)
        return;
    if (f->fd >= 0)
        close(f->fd);
    if (f->folder >= 0)
        close(f->folder); /* this ends the lock */
    g_hash_table_unref(f->last);
    g_free(f->path);
    free(f);
}

/* --- what it says -------------------------------------------------------------------------------- */

bool dr_results_has(const dr_results_file *f, const char *id)
{
    return g_hash_table_contains(f->last, id);
}

bool dr_results_succeeded(const dr_results_file *f, const char *id)
{
    const line_at *p = g_hash_table_lookup(f->last, id);
    return p && p->succeeded;
}

size_t dr_results_failures(const dr_results_file *f)
{
    return f->failures;
}

size_t dr_results_count(const dr_results_file *f)
{
    return g_hash_table_size(f->last);
}

json_t *dr_results_get(const dr_results_file *f, const char *id)
{
    const line_at *p = g_hash_table_lookup(f->last, id);
    char *line = p ? malloc(p->size + 1) : NULL;
    json_t *json = NULL;

    if (line && pread(f->fd, line, p->size, p->at) == (ssize_t)p->size)
        json = json_loadb(line, p->size, 0, NULL);
    free(line);
    return json;
}

/* --- writing ---------------------------------------------------------------------------------------- */

dr_status dr_results_append(dr_results_file *f, const char *id, bool succeeded, const char *line,
                            dr_error *err)
{
    const size_t size = strlen(line);
    char *whole = malloc(size + 2);
    dr_status rc;

    dr_assert(!f->looks);
    if (!whole)
        return dr_fail(err, DR_ENOMEM, "%s: no memory", f->path);
    memcpy(whole, line, size);
    memcpy(whole + size, "\n", 2);
    rc = dr_fd_write(f->fd, whole, size + 1, f->path, err);
    if (rc && ftruncate(f->fd, f->end)) /* half of it may be there, on a full disk */
        dr_fail_within(err, "half a line is left");
    free(whole);
    if (rc)
        return rc;
    remember(f, id, f->end, size, succeeded);
    f->end += (off_t)size + 1;
    return DR_OK;
}

/* Whether the line of this size at this place is the last one of its id. */
static bool is_last_line(const dr_results_file *f, const char *line, size_t size, off_t at)
{
    json_t *json = json_loadb(line, size, 0, NULL);
    const char *id = json_string_value(json_object_get(json, "id"));
    const line_at *last = id ? g_hash_table_lookup(f->last, id) : NULL;
    const bool yes = last && last->at == at;

    json_decref(json);
    return yes;
}

static char *copy_last_lines(const dr_results_file *f, const char *text, size_t size, size_t *kept_size)
{
    char *kept = malloc(size + 1);
    size_t used = 0, at = 0;
    const char *end;

    while (kept && at < size && (end = memchr(text + at, '\n', size - at))) {
        const size_t n = (size_t)(end - text) - at;
        if (is_last_line(f, text + at, n, (off_t)at)) {
            memcpy(kept + used, text + at, n + 1);
            used += n + 1;
        }
        at += n + 1;
    }
    *kept_size = used;
    return kept;
}

dr_status dr_results_compact(dr_results_file *f, dr_error *err)
{
    char *kept = NULL;
    void *text;
    size_t size, kept_size;
    dr_status rc;

    dr_assert(!f->looks);
    if ((size_t)f->lines == dr_results_count(f))
        return DR_OK;
    rc = dr_file_read(f->path, SIZE_MAX, &text, &size, err);
    if (rc)
        return rc;
    kept = copy_last_lines(f, text, size, &kept_size);
    rc = kept ? dr_file_write(f->path, kept, kept_size, err)
              : dr_fail(err, DR_ENOMEM, "%s: no memory for %zu bytes", f->path, size);
    free(kept);
    free(text);
    return rc;
}

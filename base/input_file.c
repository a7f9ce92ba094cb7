#include "base/input_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static dr_status check_kind_and_size(dr_input_file *out, size_t bytes_max, dr_error *err)
{
    struct stat st;

    if (fstat(out->fd, &st))
        return dr_fail_errno(err, DR_EIO, "%s", out->path);
    if (!S_ISREG(st.st_mode))
        return dr_fail(err, DR_EFORMAT, "%s: not a regular file", out->path);
    if (st.st_size <= 0)
        return dr_fail(err, DR_EFORMAT, "%s: the file is empty", out->path);
    if ((unsigned long long)st.st_size > bytes_max)
        return dr_fail(err, DR_EFORMAT, "%s: %lld bytes; at most %zu are allowed", out->path,
                       (long long)st.st_size, bytes_max);
    out->bytes = (size_t)st.st_size;
    out->changed = st.st_mtim;
    return DR_OK;
}

dr_status dr_input_file_open(dr_input_file *out, const char *path, size_t bytes_max, dr_error *err)
{
    dr_status rc;

    memset(out, 0, sizeof(*out));
    /* Without O_NONBLOCK, opening a named pipe would wait until somebody writes to it. */
    out->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (out->fd < 0) {
        rc = dr_fail_errno(err, errno == ENOENT || errno == ENOTDIR ? DR_ENOTFOUND : DR_EIO, "%s", path);
        out->fd = 0;
        return rc;
    }
    out->path = strdup(path);
    if (!out->path) {
        close(out->fd);
        out->fd = 0;
        return dr_fail(err, DR_ENOMEM, "%s: no memory for its name", path);
    }
    rc = check_kind_and_size(out, bytes_max, err);
    if (rc)
        dr_input_file_close(out);
    return rc;
}

void dr_input_file_close(dr_input_file *file)
{
    if (file->path)
        close(file->fd);
    free(file->path);
    memset(file, 0, sizeof(*file));
}

dr_status dr_input_file_read(const dr_input_file *file, size_t offset, void *to, size_t bytes, dr_error *err)
{
    dr_assert(offset <= file->bytes && bytes <= file->bytes - offset);
    while (bytes > 0) {
        const ssize_t n = pread(file->fd, to, bytes, (off_t)offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return dr_fail_errno(err, DR_EIO, "%s: reading %zu bytes from byte %zu on", file->path, bytes,
                                 offset);
        if (n == 0)
            return dr_fail(
                err, DR_EIO,
                "%s: the file had %zu bytes and ends at byte %zu now: it was cut while it was read",
                file->path, file->bytes, offset);
        to = (char *)to + n;
        offset += (size_t)n;
        bytes -= (size_t)n;
    }
    return DR_OK;
}

dr_status dr_input_file_check_unchanged(const dr_input_file *file, dr_error *err)
{
    struct stat st;

    if (fstat(file->fd, &st))
        return dr_fail_errno(err, DR_EIO, "%s", file->path);
    if ((size_t)st.st_size == file->bytes && st.st_mtim.tv_sec == file->changed.tv_sec &&
        st.st_mtim.tv_nsec == file->changed.tv_nsec)
        return DR_OK;
    return dr_fail(err, DR_EIO, "%s: the file was written while it was read", file->path);
}

dr_status dr_input_content_read(dr_input_content *out, const char *path, size_t bytes_max, dr_error *err)
{
    dr_input_file file;
    dr_status rc = dr_input_file_open(&file, path, bytes_max, err);

    memset(out, 0, sizeof(*out));
    if (rc)
        return rc;
    out->data = malloc(file.bytes);
    out->bytes = file.bytes;
    if (out->data)
        rc = dr_input_file_read(&file, 0, out->data, file.bytes, err);
    else
        rc = dr_fail(err, DR_ENOMEM, "%s: no memory for its %zu bytes", path, file.bytes);
    dr_input_file_close(&file);
    if (rc)
        dr_input_content_free(out);
    return rc;
}

void dr_input_content_free(dr_input_content *content)
{
    free(content->data);
    memset(content, 0, sizeof(*content));
}

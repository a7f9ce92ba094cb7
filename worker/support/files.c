#include "worker/support/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool dr_folder_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

dr_status dr_folder_make(const char *path, dr_error *err)
{
    char *copy = strdup(path);
    dr_status rc = DR_OK;

    if (!copy)
        return dr_fail(err, DR_ENOMEM, "%s: no memory", path);
    for (char *c = copy + 1; !rc; c++) {
        if (*c && *c != '/')
            continue;
        const char end = *c;
        *c = 0;
        if (mkdir(copy, 0777) && errno != EEXIST)
            rc = dr_fail_errno(err, DR_EIO, "%s", copy);
        *c = end;
        if (!end)
            break;
    }
    free(copy);
    if (!rc && !dr_folder_exists(path))
        rc = dr_fail(err, DR_EIO, "%s: not a folder", path);
    return rc;
}

dr_status dr_file_open(int *fd, const char *path, int flags, dr_error *err)
{
    struct stat st;

    *fd = open(path, flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0666);
    if (*fd < 0 && errno == ELOOP)
        return dr_fail(err, DR_EIO, "%s: a symbolic link, which is not followed", path);
    if (*fd < 0)
        return dr_fail_errno(err, errno == ENOENT ? DR_ENOTFOUND : DR_EIO, "%s", path);
    if (fstat(*fd, &st) == 0 && S_ISREG(st.st_mode))
        return DR_OK;
    close(*fd);
    *fd = -1;
    return dr_fail(err, DR_EIO, "%s: not a regular file", path);
}

dr_status dr_fd_write(int fd, const void *bytes, size_t size, const char *path, dr_error *err)
{
    const char *from = bytes;

    while (size > 0) {
        const ssize_t n = write(fd, from, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n == 0)
            errno = ENOSPC; /* for a file, 0 bytes written can mean nothing else */
        if (n <= 0)
            return dr_fail_errno(err, DR_EIO, "%s", path);
        from += n;
        size -= (size_t)n;
    }
    return fsync(fd) ? dr_fail_errno(err, DR_EIO, "%s", path) : DR_OK;
}

dr_status dr_file_write(const char *path, const void *bytes, size_t size, dr_error *err)
{
    char *part = NULL;
    dr_status rc;
    int fd;

    if (asprintf(&part, "%s.part", path) < 0)
        return dr_fail(err, DR_ENOMEM, "%s: no memory", path);
    unlink(part); /* left by a process that was ended, or a link that somebody put there */
    rc = dr_file_open(&fd, part, O_WRONLY | O_CREAT | O_EXCL, err);
    if (!rc) {
        rc = dr_fd_write(fd, bytes, size, part, err);
        if (close(fd) && !rc)
            rc = dr_fail_errno(err, DR_EIO, "%s", part);
        if (!rc && rename(part, path))
            rc = dr_fail_errno(err, DR_EIO, "%s", path);
        if (rc)
            unlink(part);
    }
    free(part);
    return rc;
}

/* Reads all of a file of this size.  DR_EIO: the file has become shorter. */
static dr_status read_all(int fd, char *bytes, size_t size, const char *path, dr_error *err)
{
    size_t done = 0;

    while (done < size) {
        const ssize_t n = read(fd, bytes + done, size - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return dr_fail_errno(err, DR_EIO, "%s", path);
        if (n == 0)
            return dr_fail(err, DR_EIO, "%s: the file became shorter while it was read: %zu of %zu bytes",
                           path, done, size);
        done += (size_t)n;
    }
    return DR_OK;
}

dr_status dr_file_read(const char *path, size_t size_max, void **bytes, size_t *size, dr_error *err)
{
    struct stat st;
    dr_status rc;
    int fd;

    *bytes = NULL;
    rc = dr_file_open(&fd, path, O_RDONLY, err);
    if (rc)
        return rc;
    if (fstat(fd, &st))
        rc = dr_fail_errno(err, DR_EIO, "%s", path);
    else if ((uint64_t)st.st_size > size_max)
        rc = dr_fail(err, DR_EINVAL, "%s: %lld bytes; at most %zu", path, (long long)st.st_size, size_max);
    else if (!(*bytes = malloc((size_t)st.st_size + 1)))
        rc = dr_fail(err, DR_ENOMEM, "%s: no memory for %lld bytes", path, (long long)st.st_size);
    else
        rc = read_all(fd, *bytes, (size_t)st.st_size, path, err);
    if (rc) {
        free(*bytes);
        *bytes = NULL;
    } else {
        *size = (size_t)st.st_size;
        ((char *)*bytes)[*size] = 0;
    }
    close(fd);
    return rc;
}

#include "worker/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
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

static bool write_all(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        const ssize_t n = write(fd, bytes, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        bytes += n;
        size -= (size_t)n;
    }
    return true;
}

dr_status dr_file_write(const char *path, const void *bytes, size_t size, dr_error *err)
{
    char *part = NULL;
    dr_status rc = DR_OK;
    int fd;

    if (asprintf(&part, "%s.part", path) < 0)
        return dr_fail(err, DR_ENOMEM, "%s: no memory", path);
    fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0 || !write_all(fd, bytes, size) || fsync(fd))
        rc = dr_fail_errno(err, DR_EIO, "%s", part);
    if (fd >= 0 && close(fd) && !rc)
        rc = dr_fail_errno(err, DR_EIO, "%s", part);
    if (!rc && rename(part, path))
        rc = dr_fail_errno(err, DR_EIO, "%s", path);
    if (rc && fd >= 0)
        unlink(part);
    free(part);
    return rc;
}

dr_status dr_file_read(const char *path, size_t size_max, void **bytes, size_t *size, dr_error *err)
{
    FILE *file = fopen(path, "rb");
    struct stat st;
    dr_status rc = DR_OK;

    *bytes = NULL;
    if (!file)
        return dr_fail_errno(err, errno == ENOENT ? DR_ENOTFOUND : DR_EIO, "%s", path);
    if (fstat(fileno(file), &st))
        rc = dr_fail_errno(err, DR_EIO, "%s", path);
    else if ((uint64_t)st.st_size > size_max)
        rc = dr_fail(err, DR_EINVAL, "%s: %lld bytes; at most %zu", path, (long long)st.st_size, size_max);
    else if (!(*bytes = malloc((size_t)st.st_size + 1)))
        rc = dr_fail(err, DR_ENOMEM, "%s: no memory for %lld bytes", path, (long long)st.st_size);
    if (!rc) {
        *size = fread(*bytes, 1, (size_t)st.st_size, file);
        ((char *)*bytes)[*size] = 0;
        if (ferror(file))
            rc = dr_fail_errno(err, DR_EIO, "%s", path);
    }
    if (rc) {
        free(*bytes);
        *bytes = NULL;
    }
    fclose(file);
    return rc;
}

/* Bytes up to and with the last newline. */
static off_t whole_lines(int fd, off_t size)
{
    char block[4096];

    while (size > 0) {
        const size_t n = size > (off_t)sizeof(block) ? sizeof(block) : (size_t)size;
        if (pread(fd, block, n, size - (off_t)n) != (ssize_t)n)
            return -1;
        for (size_t i = n; i > 0; i--)
            if (block[i - 1] == '\n')
                return size - (off_t)(n - i);
        size -= (off_t)n;
    }
    return 0;
}

dr_status dr_lines_open(int *fd, const char *path, dr_error *err)
{
    struct stat st;
    off_t whole;

    *fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (*fd < 0)
        return dr_fail_errno(err, DR_EIO, "%s", path);
    if (fstat(*fd, &st) == 0) {
        whole = whole_lines(*fd, st.st_size);
        if (whole >= 0 && (whole == st.st_size || ftruncate(*fd, whole) == 0))
            return DR_OK;
    }
    dr_fail_errno(err, DR_EIO, "%s", path);
    close(*fd);
    *fd = -1;
    return DR_EIO;
}

dr_status dr_lines_append(int fd, const char *path, const char *line, dr_error *err)
{
    const size_t size = strlen(line);
    struct iovec parts[] = { { (void *)(uintptr_t)line, size }, { (void *)(uintptr_t) "\n", 1 } };

    if (writev(fd, parts, 2) != (ssize_t)size + 1 || fsync(fd))
        return dr_fail_errno(err, DR_EIO, "%s", path);
    return DR_OK;
}

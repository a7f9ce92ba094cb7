#include "base/mapped_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static dr_status map(dr_mapped_file *out, int fd, const char *path, size_t bytes_max, dr_error *err)
{
    struct stat st;
    void *data;

    if (fstat(fd, &st))
        return dr_fail_errno(err, DR_EIO, "%s", path);
    if (!S_ISREG(st.st_mode))
        return dr_fail(err, DR_EFORMAT, "%s: not a regular file", path);
    if (st.st_size <= 0)
        return dr_fail(err, DR_EFORMAT, "%s: the file is empty", path);
    if ((unsigned long long)st.st_size > bytes_max)
        return dr_fail(err, DR_EFORMAT, "%s: %lld bytes; at most %zu are allowed", path,
                       (long long)st.st_size, bytes_max);
    data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED)
        return dr_fail_errno(err, errno == ENOMEM ? DR_ENOMEM : DR_EIO, "%s: mapping the file", path);
    out->data = data;
    out->bytes = (size_t)st.st_size;
    return DR_OK;
}

dr_status dr_mapped_file_open(dr_mapped_file *out, const char *path, size_t bytes_max, dr_error *err)
{
    dr_status rc;
    int fd;

    memset(out, 0, sizeof(*out));
    /* Without O_NONBLOCK a named pipe would keep us here until somebody writes to it. */
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return dr_fail_errno(err, errno == ENOENT || errno == ENOTDIR ? DR_ENOTFOUND : DR_EIO, "%s", path);
    rc = map(out, fd, path, bytes_max, err);
    close(fd); /* the mapping stays */
    return rc;
}

void dr_mapped_file_close(dr_mapped_file *file)
{
    if (file->data)
        munmap((void *)file->data, file->bytes);
    memset(file, 0, sizeof(*file));
}

void dr_mapped_file_forget_pages(const dr_mapped_file *file)
{
    if (file->data)
        madvise((void *)file->data, file->bytes, MADV_DONTNEED);
}

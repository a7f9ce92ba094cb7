#include "base/error.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

const char *fuzz_file(const uint8_t *data, size_t size)
{
    static char path[32];
    static int fd = -1;

    if (fd < 0) {
        fd = memfd_create("fuzz", MFD_CLOEXEC);
        dr_assert(fd >= 0);
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    }
    dr_assert(ftruncate(fd, (off_t)size) == 0);
    dr_assert(size == 0 || pwrite(fd, data, size, 0) == (ssize_t)size);
    return path;
}

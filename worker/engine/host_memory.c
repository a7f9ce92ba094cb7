#include "worker/engine/host_memory.h"

#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

/* The limit of the container; SIZE_MAX: there is none. */
static size_t container_limit_bytes(void)
{
    static const char *const paths[] = { "/sys/fs/cgroup/memory.max",
                                         "/sys/fs/cgroup/memory/memory.limit_in_bytes" };
    size_t limit = SIZE_MAX;

    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]) && limit == SIZE_MAX; i++) {
        FILE *file = fopen(paths[i], "r");
        if (!file)
            continue;
        if (fscanf(file, "%zu", &limit) != 1) /* "max" */
            limit = SIZE_MAX;
        fclose(file);
    }
    return limit;
}

size_t dr_host_memory_bytes(void)
{
    const size_t machine = (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE);
    const size_t limit = container_limit_bytes();

    return limit < machine ? limit : machine;
}

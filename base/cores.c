#include "base/cores.h"

#include "base/error.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Read up to two numbers from a file; the first may be "max", which is read as -1.  Returns how many were
 * read. */
static int read_numbers(const char *folder, const char *name, long long number[2])
{
    char path[PATH_MAX], text[64], *at = text, *end;
    FILE *file;
    int n = 0;

    if (snprintf(path, sizeof(path), "%s/%s", folder, name) >= (int)sizeof(path))
        return 0;
    file = fopen(path, "re");
    if (!file)
        return 0;
    if (!fgets(text, sizeof(text), file))
        text[0] = 0;
    fclose(file);
    if (strncmp(text, "max", 3) == 0) {
        number[n++] = -1;
        at += 3;
    }
    for (; n < 2; n++, at = end) {
        errno = 0;
        number[n] = strtoll(at, &end, 10);
        if (end == at || errno)
            break;
    }
    return n;
}

/* How many cores a quota pays for, rounded up; INT_MAX if there is no quota. */
static int cores_paid(long long quota, long long period)
{
    if (quota <= 0 || period <= 0 || quota / period >= INT_MAX)
        return INT_MAX;
    return (int)(quota / period + (quota % period > 0));
}

static int quota_of(const char *folder)
{
    long long pair[2], quota[2], period[2];
    int cores = INT_MAX;

    if (read_numbers(folder, "cpu.max", pair) == 2)
        cores = cores_paid(pair[0], pair[1]);
    else if (read_numbers(folder, "cpu.cfs_quota_us", quota) >= 1 &&
             read_numbers(folder, "cpu.cfs_period_us", period) >= 1)
        cores = cores_paid(quota[0], period[0]);
    return cores;
}

/* The smallest quota of `group` and of the groups above it.  A container may see the path that its group has
 * outside the container, but only its own files at the top.  Then nothing is found at that path, and the
 * result is the quota of the top. */
static int least_quota(const char *root, const char *hierarchy, const char *group)
{
    char folder[PATH_MAX];
    int least = INT_MAX, top;

    top = snprintf(folder, sizeof(folder), "%s/sys/fs/cgroup%s", root, hierarchy);
    if (top >= (int)sizeof(folder) || strlen(group) >= sizeof(folder) - (size_t)top)
        return INT_MAX;
    strcpy(folder + top, group);
    for (;;) {
        const int cores = quota_of(folder);
        char *slash = strrchr(folder + top, '/');
        if (cores < least)
            least = cores;
        if (!slash)
            return least;
        *slash = 0;
    }
}

/* Is "cpu" one of these names, which are separated by commas? */
static bool has_cpu(const char *controllers)
{
    for (const char *at = controllers; (at = strstr(at, "cpu")); at += 3)
        if ((at == controllers || at[-1] == ',') && (at[3] == 0 || at[3] == ','))
            return true;
    return false;
}

/* The quota from one line of a process's cgroup file.  "0::/a/b" is a line of version 2,
 * "4:cpu,cpuacct:/a/b" of version 1.  A machine may have both. */
static int quota_of_line(const char *root, char *line)
{
    char *controllers = strchr(line, ':'), *group = controllers ? strchr(controllers + 1, ':') : NULL;
    char hierarchy[128];
    int named, plain;

    if (!group)
        return INT_MAX;
    *controllers++ = 0;
    *group++ = 0;
    group[strcspn(group, "\n")] = 0;
    if (!*controllers)
        return least_quota(root, "", group);
    if (!has_cpu(controllers))
        return INT_MAX;
    snprintf(hierarchy, sizeof(hierarchy), "/%s", controllers);
    named = least_quota(root, hierarchy, group);
    plain = least_quota(root, "/cpu", group);
    return named < plain ? named : plain;
}

int dr_cores_of(const char *root, int scheduled)
{
    char path[PATH_MAX], *line = NULL;
    FILE *file = NULL;
    size_t room = 0;
    int cores = scheduled;

    dr_assert(scheduled >= 1);
    if (snprintf(path, sizeof(path), "%s/proc/self/cgroup", root) < (int)sizeof(path))
        file = fopen(path, "re");
    while (file && getline(&line, &room, file) > 0) {
        const int quota = quota_of_line(root, line);
        if (quota < cores)
            cores = quota;
    }
    free(line);
    if (file)
        fclose(file);
    return cores;
}

int dr_cores(void)
{
    const long online = sysconf(_SC_NPROCESSORS_ONLN);
    cpu_set_t set;
    int scheduled;

    /* This fails if the machine has more cores than the set has room for. */
    if (sched_getaffinity(0, sizeof(set), &set) == 0)
        scheduled = CPU_COUNT(&set);
    else
        scheduled = online > 0 && online < INT_MAX ? (int)online : 1;
    return dr_cores_of("", scheduled > 0 ? scheduled : 1);
}

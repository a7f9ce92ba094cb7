/* cores.h - how many threads may compute at once here: a container's share, not the machine's cores.
 *
 *     cores on which the scheduler may run this process (taskset, cpusets)   4
 *     quota of its control group and of the groups above, rounded up         250000 / 100000 us -> 3
 *     the result is the smaller one                                          3
 *
 * A quota does not take cores away.  If more threads run than it pays for, all of them run for a while,
 * and then all stand still until the next period.  Both versions of control groups are read: cpu.max, and
 * cpu.cfs_quota_us with cpu.cfs_period_us. */
#ifndef DR_BASE_CORES_H
#define DR_BASE_CORES_H

/* How many threads may compute at once: at least 1.  If a file can't be read, it sets no limit.  Any thread
 * may call. */
int dr_cores(void);

/* For tests: the same for a machine whose files are below `root` (ROOT/proc/self/cgroup,
 * ROOT/sys/fs/cgroup/...; "" is this machine) and whose scheduler allows so many cores. */
int dr_cores_of(const char *root, int scheduled);

#endif

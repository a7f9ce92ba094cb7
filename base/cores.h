/* cores.h - how many threads may compute at once here: a container's share, not the machine's cores.
 *
 *     cores that the scheduler may put us on (taskset, cpusets)              4
 *     quota of our control group and of those above it, rounded up           250000 / 100000 us -> 3
 *     the smaller one                                                        3
 *
 * A quota does not take cores away: more threads than it pays for all run, and then all stand still until the
 * next period.  Both versions of control groups are read: cpu.max, and cpu.cfs_quota_us with cpu.cfs_period_us. */
#ifndef DR_BASE_CORES_H
#define DR_BASE_CORES_H

/* At least 1.  What can't be read counts as no limit.  Any thread. */
int dr_cores(void);

/* The same for a machine whose files stand below root ("" for this one: ROOT/proc/self/cgroup, ROOT/sys/fs/cgroup/...) and
 * whose scheduler allows so many cores.  Apart for tests. */
int dr_cores_of(const char *root, int scheduled);

#endif

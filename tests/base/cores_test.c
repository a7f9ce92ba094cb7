/* How many threads may compute, as the scheduler and the quotas of control groups of both versions allow. */
#include "base/cores.h"
#include "base/limits.h"
#include "ops/device.h"
#include "tests/support/temp_folder.h"

#include <sched.h>

static temp_folder machine;

static int begin(void **state)
{
    (void)state;
    temp_open(&machine);
    return 0;
}

static int end(void **state)
{
    (void)state;
    temp_close(&machine);
    return 0;
}

static void has(const char *name, const char *text)
{
    temp_write(&machine, name, text, strlen(text));
}

static void without_control_groups_the_scheduler_decides(void **state)
{
    (void)state;
    assert_int_equal(dr_cores_of(machine.path, 7), 7);
    has("proc/self/cgroup", "0::/\n");
    assert_int_equal(dr_cores_of(machine.path, 7), 7); /* no file with a quota */
}

static void a_quota_of_version_2_is_rounded_up(void **state)
{
    static const struct {
        const char *max;
        int cores;
    } cases[] = {
        { "max 100000\n", 16 },
        { "200000 100000\n", 2 },
        { "250000 100000\n", 3 },
        { "50000 100000\n", 1 },
        { "1000 100000\n", 1 },
        { "9900000 100000\n", 16 },
        { "20000 10000\n", 2 },
        { "nonsense\n", 16 },
        { "", 16 },
        { "0 100000\n", 16 },
        { "100000\n", 16 },
        { "200000 0\n", 16 },
        { "-1 100000\n", 16 },
        { "99999999999999999999 100000\n", 16 },
        { "9223372036854775807 1\n", 16 },
    };

    (void)state;
    has("proc/self/cgroup", "0::/\n");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        has("sys/fs/cgroup/cpu.max", cases[i].max);
        if (dr_cores_of(machine.path, 16) != cases[i].cores)
            fail_msg("cpu.max %s: %d cores", cases[i].max, dr_cores_of(machine.path, 16));
    }
}

static void the_least_of_all_groups_above_counts(void **state)
{
    (void)state;
    has("proc/self/cgroup", "0::/kubepods.slice/pod.slice/one.scope\n");
    has("sys/fs/cgroup/kubepods.slice/cpu.max", "800000 100000\n");
    has("sys/fs/cgroup/kubepods.slice/pod.slice/cpu.max", "300000 100000\n");
    has("sys/fs/cgroup/kubepods.slice/pod.slice/one.scope/cpu.max", "max 100000\n");
    assert_int_equal(dr_cores_of(machine.path, 16), 3);
    assert_int_equal(dr_cores_of(machine.path, 2), 2);
    has("sys/fs/cgroup/kubepods.slice/pod.slice/one.scope/cpu.max",
        "500000 100000\n"); /* more than is above it */
    assert_int_equal(dr_cores_of(machine.path, 16), 3);
    has("sys/fs/cgroup/kubepods.slice/pod.slice/one.scope/cpu.max", "200000 100000\n");
    assert_int_equal(dr_cores_of(machine.path, 16), 2);
}

/* A container sees only its own files, at the top. */
static void a_container_that_sees_its_path_outside(void **state)
{
    (void)state;
    has("proc/self/cgroup", "5:memory:/docker/1f\n4:cpu,cpuacct:/docker/1f\n3:cpuset:/docker/1f\n");
    has("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "150000\n");
    has("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
    assert_int_equal(dr_cores_of(machine.path, 16), 2);
}

static void version_1_has_two_files(void **state)
{
    (void)state;
    has("proc/self/cgroup", "4:cpuacct,cpu:/a/b\n0::/a/b\n");
    has("sys/fs/cgroup/cpu/a/b/cpu.cfs_quota_us", "400000\n");
    assert_int_equal(dr_cores_of(machine.path, 16), 16); /* no period */
    has("sys/fs/cgroup/cpu/a/b/cpu.cfs_period_us", "100000\n");
    assert_int_equal(dr_cores_of(machine.path, 16), 4);
    has("sys/fs/cgroup/cpu/a/b/cpu.cfs_quota_us", "-1\n");
    assert_int_equal(dr_cores_of(machine.path, 16), 16);
    has("sys/fs/cgroup/cpu/a/cpu.cfs_quota_us", "600000\n");
    has("sys/fs/cgroup/cpu/a/cpu.cfs_period_us", "100000\n");
    assert_int_equal(dr_cores_of(machine.path, 16), 6);
}

static void groups_of_other_controllers_say_nothing(void **state)
{
    (void)state;
    has("proc/self/cgroup", "4:cpuset:/a\n3:name=systemd:/a\nnonsense\n2:cpuacct:/a\n");
    has("sys/fs/cgroup/cpuset/a/cpu.cfs_quota_us", "100000\n");
    has("sys/fs/cgroup/cpuset/a/cpu.cfs_period_us", "100000\n");
    has("sys/fs/cgroup/cpu/a/cpu.cfs_quota_us", "100000\n");
    has("sys/fs/cgroup/cpu/a/cpu.cfs_period_us", "100000\n");
    assert_int_equal(dr_cores_of(machine.path, 16), 16);
}

/* This program is linked so that other code that asks for the cores gets this number (Makefile). */
static int told;
int __wrap_dr_cores(void);
int __wrap_dr_cores(void)
{
    return told;
}
int __real_dr_cores(void);

static void one_core_that_the_scheduler_allows_is_one_thread(void **state)
{
    cpu_set_t before, one;
    (void)state;

    assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
    assert_true(__real_dr_cores() >= 1 && __real_dr_cores() <= CPU_COUNT(&before));
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++)
        if (CPU_ISSET(i, &before))
            CPU_SET(i, &one);
    assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
    assert_int_equal(__real_dr_cores(), 1);
    assert_int_equal(sched_setaffinity(0, sizeof(before), &before), 0);
}

static void the_cpu_takes_them_unless_told_otherwise(void **state)
{
    static const struct {
        int told, threads;
        const char *description;
    } cases[] = { { 3, 0, "cpu: 3 threads" },
                  { 3, 2, "cpu: 2 threads" },
                  { DR_THREADS_MAX + 1, 0, "cpu: 256 threads" } };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const dr_device_options options = { .name = "cpu", .threads = cases[i].threads };
        dr_device *device;
        dr_error err;
        told = cases[i].told;
        if (dr_device_open(&device, &options, &err))
            fail_msg("%s", err.text);
        assert_non_null(strstr(dr_device_description(device), cases[i].description));
        dr_device_close(device);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(without_control_groups_the_scheduler_decides, begin, end),
        cmocka_unit_test_setup_teardown(a_quota_of_version_2_is_rounded_up, begin, end),
        cmocka_unit_test_setup_teardown(the_least_of_all_groups_above_counts, begin, end),
        cmocka_unit_test_setup_teardown(a_container_that_sees_its_path_outside, begin, end),
        cmocka_unit_test_setup_teardown(version_1_has_two_files, begin, end),
        cmocka_unit_test_setup_teardown(groups_of_other_controllers_say_nothing, begin, end),
        cmocka_unit_test(the_cpu_takes_them_unless_told_otherwise),
        cmocka_unit_test(one_core_that_the_scheduler_allows_is_one_thread),
    };
    return cmocka_run_group_tests_name("cores", tests, NULL, NULL);
}

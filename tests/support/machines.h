/* machines.h - the machines that the CPU backend can be on, as far as this one can play them.
 *
 * Layouts, kernels and scratch follow the instruction set and the number of threads.  A test of what depends on
 * them runs on each, so that no machine's own is tested there alone:
 *
 *     static int run(const machine *m) { device = m->device; ... return cmocka_run_group_tests_name(m->name, ...); }
 *     int main(void) { return on_each_machine(run); }
 *
 * Everything asserts; on one thread. */
#ifndef DR_TESTS_SUPPORT_MACHINES_H
#define DR_TESTS_SUPPORT_MACHINES_H

#include "kernels/isa.h"
#include "ops/device.h"

enum { MACHINE_THREADS = 3 };
extern const int machine_threads[MACHINE_THREADS]; /* 1, 2, 8 */

typedef struct machine {
    const char *name; /* "avx2, 8 threads" */
    dr_isa isa;
    int threads;
    dr_device *device; /* open; the caller closes it */
} machine;

/* run() on each instruction set that this processor has, with each number of threads: the sum of what it returns.
 * A line that begins with "machines: " says which those were, and what this processor has not; tests/run.sh shows
 * it beside the test's name. */
int on_each_machine(int (*run)(const machine *m));

#endif

/* machines.h - runs a test on every kind of machine for the CPU backend that this processor can act as.
 *
 * Layouts, kernels and scratch depend on the instruction set and on the number of threads.  So a test of
 * these runs with each:
 *
 *     static int run(const machine *m)
 *     {
 *         device = m->device;
 *         ...
 *         return cmocka_run_group_tests_name(m->name, ...);
 *     }
 *     int main(void) { return on_each_machine(run); }
 *
 * Everything asserts.  Threads: one. */
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

/* Call run() with each instruction set that this processor has and each number of threads.  Returns the
 * sum of its results.  Prints a line that begins with "machines: " and says which these were, and which
 * instruction sets this processor does not have; tests/run.sh shows the line beside the test's name. */
int on_each_machine(int (*run)(const machine *m));

#endif

/* machine.h - the machine on which this folder's tests run.  Each source is built as two programs:
 *
 *     make test        links tests/cuda/fake/machine.c     a device that is made up, our kernels on the host
 *     make test-gpu    links tests/gpu/machine.c           the real one
 *
 * Small and few cases run on both.  A real device can do more in the same time. */
#ifndef DR_TESTS_GPU_MACHINE_H
#define DR_TESTS_GPU_MACHINE_H

#include <stdbool.h>
#include <stddef.h>

/* To be called at the beginning of main().  Returns MACHINE_OK, or the code that main() then returns: there
 * is no such machine, and the last line of output says why. */
enum { MACHINE_OK = 0, MACHINE_ABSENT = 77 };
int machine_begin(void);

/* Is there time for larger pictures and more of everything? Only on a real device, and not under
 * compute-sanitizer, which makes everything fifty times slower (then the environment has GPU_TESTS_SHORT). */
bool machine_has_time(void);

int machine_graphs_launched(void); /* so far; -1: nobody counts */

/* The free bytes of the device's memory, whoever has the rest.  The made-up device subtracts something for
 * each object that has no size. */
size_t machine_free_bytes(void);

/* To be called when every device is closed.  Asserts that nothing of them is left. */
void machine_assert_clean(void);

#endif

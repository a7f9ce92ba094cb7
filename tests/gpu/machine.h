/* machine.h - the machine under the tests of this folder, which are one source and two programs:
 *
 *     make test        links tests/cuda/fake/machine.c     a device that is made up, our kernels on the host
 *     make test-gpu    links tests/gpu/machine.c           the real one
 *
 * Small and few cases are for both; a real device can do more in the time. */
#ifndef DR_TESTS_GPU_MACHINE_H
#define DR_TESTS_GPU_MACHINE_H

#include <stdbool.h>
#include <stddef.h>

/* At the begin of main().  MACHINE_OK, or what main() returns: there is no such machine, and the last line
 * says why. */
enum { MACHINE_OK = 0, MACHINE_ABSENT = 77 };
int machine_begin(void);

/* For larger pictures and more of everything: a real device, and not under compute-sanitizer (GPU_TESTS_SHORT
 * is set in the environment), where everything takes fifty times as long. */
bool machine_has_time(void);

int machine_graphs_launched(void); /* so far; -1: nobody counts */

/* Of the device's memory, whoever has the rest; on a made-up one, less what has no size. */
size_t machine_free_bytes(void);

/* Asserts, when every device is closed, that nothing of them is left. */
void machine_assert_clean(void);

#endif

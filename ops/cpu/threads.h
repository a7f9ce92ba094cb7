/* threads.h - the CPU backend's threads: one loop at a time, cut into pieces that whoever is free takes.
 *
 *     cpu_for(threads, n, grain, body, arg)
 *
 *     [0, grain) [grain, 2 grain) ...        body(arg, begin, end, thread)
 *
 * The caller works along and waits only for pieces that somebody has begun: a thread that the kernel
 * keeps from running holds nobody up, which is what makes a small batch bearable on a busy machine (with
 * OpenMP's barriers it took twenty times as long).  Idle threads spin for some microseconds, as the next
 * operator is never far, and then sleep.
 *
 * Who computes a piece is left to chance; what is in a piece is not.  One loop at a time, and only from the
 * thread that owns the device; bodies start no loops. */
#ifndef DR_OPS_CPU_THREADS_H
#define DR_OPS_CPU_THREADS_H

#include "base/error.h"

#include <stddef.h>

typedef struct cpu_threads cpu_threads;

/* begin < end; thread is in [0, count) and no two pieces run at a time with the same one. */
typedef void cpu_body(void *arg, size_t begin, size_t end, int thread);

/* count includes the caller; it is started with count - 1 threads of its own. */
dr_status cpu_threads_start(cpu_threads **out, int count, dr_error *err);
void cpu_threads_stop(cpu_threads *t); /* NULL is allowed */

/* body over [0, n) in pieces of grain, the last one of what is left; n 0 is none.  A single thread takes
 * all of it as one piece. */
void cpu_for(cpu_threads *t, size_t n, size_t grain, cpu_body *body, void *arg);

#endif

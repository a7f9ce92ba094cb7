/* threads.h - the CPU backend's threads: one loop at a time, in pieces.  Each free thread takes the next
 * piece.
 *
 *     cpu_for(threads, n, grain, body, arg)
 *
 *     [0, grain) [grain, 2 grain) ...        body(arg, begin, end, thread)
 *
 * The caller takes pieces too, and waits only for pieces that another thread has begun.  So a thread that
 * the system keeps from running holds nobody up.  That keeps a small batch fast on a busy machine: with
 * OpenMP's barriers it took twenty times as long.  Idle threads spin for some microseconds, because the
 * next operator follows soon, and then sleep.
 *
 * Chance decides which thread computes a piece, and never what is in a piece.  Loops are started one at a
 * time, by the thread that owns the device.  A body starts no loop. */
#ifndef DR_OPS_CPU_THREADS_H
#define DR_OPS_CPU_THREADS_H

#include "base/error.h"

#include <stddef.h>

typedef struct cpu_threads cpu_threads;

/* begin < end.  thread is in [0, count), and no two pieces with the same number run at the same time. */
typedef void cpu_body(void *arg, size_t begin, size_t end, int thread);

/* Starts count - 1 threads: count includes the caller.  *out is the caller's; NULL on failure. */
dr_status cpu_threads_start(cpu_threads **out, int count, dr_error *err);
void cpu_threads_stop(cpu_threads *t); /* NULL is allowed */

/* Runs body over [0, n) in pieces of `grain`; the last piece may be shorter, and n may be 0.  Returns when
 * all are done.  With a single thread everything is one piece. */
void cpu_for(cpu_threads *t, size_t n, size_t grain, cpu_body *body, void *arg);

#endif

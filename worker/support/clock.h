/* clock.h - what time it is, and waiting until a time.
 *
 * Two clocks.  The monotonic clock counts from an unknown moment and nobody can set it: it is for measuring
 * and for waiting, and its values mean something in this process only.  Unix time is the calendar's: it is
 * for what others read, and it can jump.
 *
 * All of worker/ reads the time here.  Any thread may call. */
#ifndef DR_WORKER_SUPPORT_CLOCK_H
#define DR_WORKER_SUPPORT_CLOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* The monotonic clock, in nanoseconds, in milliseconds and in seconds.  They cannot fail. */
int64_t dr_clock_ns(void);
int64_t dr_clock_ms(void);
double dr_clock_s(void);

/* Unix time: milliseconds since the beginning of 1970, UTC. */
int64_t dr_unix_ms(void);

/* Initialise a condition for dr_cond_wait_until().  The caller ends it with pthread_cond_destroy(). */
void dr_cond_init(pthread_cond_t *cond);

/* Wait for a signal, with the lock held as for pthread_cond_wait().  False: dr_clock_ms() has reached
 * until_ms.  True: there was a signal, or a wakeup without one; the caller looks whether what it waits for
 * is there. */
bool dr_cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t until_ms);

#endif

/* clock.h - time for waiting: monotonic, so that nobody waits longer because a clock was set. */
#ifndef DR_WORKER_SUPPORT_CLOCK_H
#define DR_WORKER_SUPPORT_CLOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

int64_t dr_clock_ms(void);

/* Monotonic: seconds, for measuring how long something took. */
double dr_clock_s(void);

/* A condition for dr_cond_wait_until(). */
void dr_cond_init(pthread_cond_t *cond);

/* False once it is until_ms or later, by dr_clock_ms(). */
bool dr_cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t until_ms);

#endif

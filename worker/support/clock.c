#include "worker/support/clock.h"

#include <errno.h>
#include <time.h>

static int64_t now_ns(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t dr_clock_ns(void)
{
    return now_ns(CLOCK_MONOTONIC);
}

int64_t dr_clock_ms(void)
{
    return dr_clock_ns() / 1000000;
}

double dr_clock_s(void)
{
    return (double)dr_clock_ns() * 1e-9;
}

int64_t dr_unix_ms(void)
{
    return now_ns(CLOCK_REALTIME) / 1000000;
}

void dr_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attr;

    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
}

bool dr_cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t until_ms)
{
    const struct timespec until = { .tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000 };

    return pthread_cond_timedwait(cond, lock, &until) != ETIMEDOUT;
}

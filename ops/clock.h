/* clock.h - the host's monotonic clock, for devices that have none of their own. */
#ifndef DR_OPS_CLOCK_H
#define DR_OPS_CLOCK_H

#include <time.h>

/* Seconds since an unknown moment.  Any thread may call it. */
static inline double dr_host_clock_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

#endif

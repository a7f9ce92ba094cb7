/* mock_clock.h - time passes faster for librdkafka's mock broker, and for nobody else.
 *
 * The mock lets the first member of a group wait 3 s for others.  Each later rebalance waits for the session
 * timeout less one second.  Nothing in its interface shortens that.  Here its thread reads a clock that runs
 * MOCK_CLOCK_FACTOR times as fast, and its poll() waits that much shorter:
 *
 *                                    by the mock's clock         really
 *     the first member waits         3 s                         1 s
 *     each later rebalance waits     session.timeout.ms - 1 s    a third of that
 *     a dead member stays            session.timeout.ms          a third of that
 *
 * session.timeout.ms must be more than 3 s, or a member that waits for others would be taken for dead.
 *
 * The program's clock_gettime() and poll() stand before the C library's, for librdkafka's calls too.  To be
 * included by one file of a program. */
#ifndef DR_TESTS_WORKER_MOCK_CLOCK_H
#define DR_TESTS_WORKER_MOCK_CLOCK_H

#include <dlfcn.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

enum { MOCK_CLOCK_FACTOR = 3 };

/* The mock's thread gives itself this name before all else. */
static inline bool mock_clock_is_its_thread(void)
{
    static _Thread_local enum { UNKNOWN, MOCK, OTHER } whose;
    char name[16] = "";

    if (whose == UNKNOWN) {
        pthread_getname_np(pthread_self(), name, sizeof(name));
        whose = strcmp(name, "rdk:mock") == 0 ? MOCK : OTHER;
    }
    return whose == MOCK;
}

int clock_gettime(clockid_t clock, struct timespec *t)
{
    static int (*_Atomic real)(clockid_t, struct timespec *);
    int code;

    if (!real)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    code = real(clock, t);
    if (code == 0 && clock == CLOCK_MONOTONIC && mock_clock_is_its_thread()) {
        const int64_t ns = (t->tv_sec * INT64_C(1000000000) + t->tv_nsec) * MOCK_CLOCK_FACTOR;
        *t = (struct timespec){ .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };
    }
    return code;
}

int poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
    static int (*_Atomic real)(struct pollfd *, nfds_t, int);

    if (!real)
        real = (int (*)(struct pollfd *, nfds_t, int))dlsym(RTLD_NEXT, "poll");
    if (timeout_ms > 0 && mock_clock_is_its_thread())
        timeout_ms = (timeout_ms + MOCK_CLOCK_FACTOR - 1) / MOCK_CLOCK_FACTOR;
    return real(fds, count, timeout_ms);
}

#endif

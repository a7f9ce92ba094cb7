/* C11's threads, mutexes and conditions made of POSIX's, for programs under ThreadSanitizer.
 *
 * librdkafka uses <threads.h>, which gcc 12's ThreadSanitizer does not intercept: it does not know threads
 * that thrd_create() made, and crashes in them.  In glibc both families have the same types. */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <threads.h>

_Static_assert(sizeof(mtx_t) == sizeof(pthread_mutex_t) && sizeof(cnd_t) == sizeof(pthread_cond_t),
               "glibc's are the same");

typedef struct start {
    thrd_start_t function;
    void *arg;
} start;

static void *run(void *arg)
{
    const start s = *(start *)arg;

    free(arg);
    return (void *)(intptr_t)s.function(s.arg);
}

static int code(int error)
{
    return error == 0           ? thrd_success
           : error == ETIMEDOUT ? thrd_timedout
           : error == EBUSY     ? thrd_busy
                                : thrd_error;
}

int thrd_create(thrd_t *thread, thrd_start_t function, void *arg)
{
    start *s = malloc(sizeof(*s));

    if (!s)
        return thrd_nomem;
    *s = (start){ function, arg };
    return code(pthread_create(thread, NULL, run, s));
}

int thrd_join(thrd_t thread, int *result)
{
    void *value;
    const int error = pthread_join(thread, &value);

    if (!error && result)
        *result = (int)(intptr_t)value;
    return code(error);
}

int thrd_detach(thrd_t thread)
{
    return code(pthread_detach(thread));
}

int mtx_init(mtx_t *m, int type)
{
    pthread_mutexattr_t attr;
    int error;

    pthread_mutexattr_init(&attr);
    if (type & mtx_recursive)
        pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
    error = pthread_mutex_init((pthread_mutex_t *)m, &attr);
    pthread_mutexattr_destroy(&attr);
    return code(error);
}

void mtx_destroy(mtx_t *m)
{
    pthread_mutex_destroy((pthread_mutex_t *)m);
}

int mtx_lock(mtx_t *m)
{
    return code(pthread_mutex_lock((pthread_mutex_t *)m));
}

int mtx_trylock(mtx_t *m)
{
    return code(pthread_mutex_trylock((pthread_mutex_t *)m));
}

int mtx_unlock(mtx_t *m)
{
    return code(pthread_mutex_unlock((pthread_mutex_t *)m));
}

int cnd_init(cnd_t *c)
{
    return code(pthread_cond_init((pthread_cond_t *)c, NULL));
}

void cnd_destroy(cnd_t *c)
{
    pthread_cond_destroy((pthread_cond_t *)c);
}

int cnd_signal(cnd_t *c)
{
    return code(pthread_cond_signal((pthread_cond_t *)c));
}

int cnd_broadcast(cnd_t *c)
{
    return code(pthread_cond_broadcast((pthread_cond_t *)c));
}

int cnd_wait(cnd_t *c, mtx_t *m)
{
    return code(pthread_cond_wait((pthread_cond_t *)c, (pthread_mutex_t *)m));
}

int cnd_timedwait(cnd_t *restrict c, mtx_t *restrict m, const struct timespec *restrict until)
{
    return code(pthread_cond_timedwait((pthread_cond_t *)c, (pthread_mutex_t *)m, until));
}

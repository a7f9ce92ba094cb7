#include "worker/support/thread.h"

#include <signal.h>

bool dr_thread_start(pthread_t *thread, void *(*body)(void *), void *arg)
{
    sigset_t all, before;

    /* A signal goes to any thread that does not block it.  The new thread inherits a full mask, so signals
     * still reach the thread that waits for them. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int rc = pthread_create(thread, NULL, body, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc == 0;
}

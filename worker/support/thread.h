/* thread.h - starting a thread. */
#ifndef DR_WORKER_SUPPORT_THREAD_H
#define DR_WORKER_SUPPORT_THREAD_H

#include <pthread.h>
#include <stdbool.h>

/* Start a thread with all signals blocked: a signal is for the thread that waits for it.  The caller joins
 * the new thread.  False: there is no memory for it. */
bool dr_thread_start(pthread_t *thread, void *(*body)(void *), void *arg);

#endif

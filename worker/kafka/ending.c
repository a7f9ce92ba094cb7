#include "worker/kafka/ending.h"

#include "base/error.h"
#include "worker/support/clock.h"
#include "worker/support/log.h"
#include "worker/support/thread.h"

#include <pthread.h>
#include <stdlib.h>

enum { END_MS = 3000 }; /* a client ends in a tenth of a second */

struct dr_endings {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int references; /* the owner's, and one for each client that has not ended */
};

/* One client, for its thread. */
typedef struct ending {
    dr_endings *endings; /* one reference */
    void (*end)(void *client);
    void *client;
} ending;

dr_endings *dr_endings_create(void)
{
    dr_endings *e = calloc(1, sizeof(*e));

    if (!e)
        return NULL;
    pthread_mutex_init(&e->lock, NULL);
    dr_cond_init(&e->changed);
    e->references = 1;
    return e;
}

static void add_reference(dr_endings *e)
{
    pthread_mutex_lock(&e->lock);
    e->references++;
    pthread_mutex_unlock(&e->lock);
}

/* The last reference frees e. */
static void release(dr_endings *e)
{
    bool last;

    pthread_mutex_lock(&e->lock);
    dr_assert(e->references > 0);
    last = --e->references == 0;
    pthread_cond_broadcast(&e->changed);
    pthread_mutex_unlock(&e->lock);
    if (!last)
        return;
    pthread_cond_destroy(&e->changed);
    pthread_mutex_destroy(&e->lock);
    free(e);
}

static void *run(void *arg)
{
    const ending one = *(ending *)arg;

    free(arg);
    one.end(one.client);
    release(one.endings);
    return NULL;
}

bool dr_endings_begin(dr_endings *e, void (*end)(void *client), void *client)
{
    ending *one = malloc(sizeof(*one));
    pthread_t thread;

    if (!one)
        return false;
    *one = (ending){ .endings = e, .end = end, .client = client };
    add_reference(e);
    if (dr_thread_start(&thread, run, one)) {
        pthread_detach(thread);
        return true;
    }
    release(e);
    free(one);
    return false;
}

void dr_endings_wait(dr_endings *e)
{
    const int64_t until_ms = dr_clock_ms() + END_MS;
    bool left;

    if (!e)
        return;
    pthread_mutex_lock(&e->lock);
    while (e->references > 1 && dr_cond_wait_until(&e->changed, &e->lock, until_ms))
        ;
    left = e->references > 1;
    pthread_mutex_unlock(&e->lock);
    if (left)
        dr_log_warn(
            "kafka",
            "librdkafka has not ended a client within %d s; this program ends without it (nothing is lost)",
            END_MS / 1000);
    release(e);
}

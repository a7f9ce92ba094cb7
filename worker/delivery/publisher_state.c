/* publisher_state.c - whether the publisher is to end, what it is doing, and why it can't go on. */
#include "worker/delivery/publisher_parts.h"
#include "worker/support/clock.h"

bool dr_publisher_is_stopped(dr_publisher *p)
{
    bool yes;

    pthread_mutex_lock(&p->lock);
    yes = p->stopped;
    pthread_mutex_unlock(&p->lock);
    return yes;
}

void dr_publisher_pause(dr_publisher *p, int ms)
{
    const int64_t until_ms = dr_clock_ms() + ms;

    pthread_mutex_lock(&p->lock);
    while (!p->stopped && dr_cond_wait_until(&p->changed, &p->lock, until_ms))
        ;
    pthread_mutex_unlock(&p->lock);
}

void dr_publisher_set_fatal(dr_publisher *p, const dr_error *err)
{
    pthread_mutex_lock(&p->lock);
    p->fatal = *err;
    pthread_mutex_unlock(&p->lock);
}

void dr_publisher_state_get(dr_publisher *p, dr_publisher_state *state)
{
    pthread_mutex_lock(&p->lock);
    state->waiting = dr_publisher_queue_count(&p->queue);
    state->aside = p->queue.aside_count;
    state->trouble = p->trouble.status ? p->trouble : p->topics;
    state->busy_ms = p->busy_since_ms ? dr_clock_ms() - p->busy_since_ms : 0;
    pthread_mutex_unlock(&p->lock);
    state->up = dr_outbox_is_up(p->outbox);
}

dr_status dr_publisher_fatal(dr_publisher *p, dr_error *err)
{
    dr_status rc;

    pthread_mutex_lock(&p->lock);
    rc = p->fatal.status;
    if (rc)
        *err = p->fatal;
    pthread_mutex_unlock(&p->lock);
    return rc;
}

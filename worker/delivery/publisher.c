/* publisher.c - puts parcels into the queue; the thread; start and stop. */
#include "worker/delivery/publisher_parts.h"
#include "worker/support/clock.h"
#include "worker/support/log.h"

#include <stdlib.h>
#include <string.h>

enum {
    LOOK_MS = 5000,         /* between two looks at the topics while there is something to do */
    MEMORY_TRIES_MAX = 200, /* DR_PUBLISHER_PAUSE_MIN_MS apart; then the result loses its pictures */
};

/* --- putting ------------------------------------------------------------------------------------ */

/* Takes the parcel; waits for room.  After the publisher has stopped it is freed. */
static void enqueue(dr_publisher *p, dr_parcel *parcel)
{
    pthread_mutex_lock(&p->lock);
    while (!dr_publisher_queue_has_room(&p->queue, parcel) && !p->stopped)
        pthread_cond_wait(&p->changed, &p->lock);
    if (!p->stopped) {
        dr_publisher_queue_push(&p->queue, parcel);
        parcel = NULL;
        pthread_cond_broadcast(&p->changed);
    }
    pthread_mutex_unlock(&p->lock);
    dr_parcel_free(parcel);
}

/* There is no memory for a parcel.  Waits, since parcels that are sent give memory back.  False: the
 * publisher is to end.  Then the message without a parcel stays uncommitted, and its job is done again. */
static bool wait_for_memory(dr_publisher *p, int tries, const dr_job_origin *origin)
{
    if (tries == 1)
        dr_log_warn("publisher", "partition %d offset %lld: no memory for its answer; still trying",
                    (int)origin->partition, (long long)origin->offset);
    dr_publisher_pause(p, DR_PUBLISHER_PAUSE_MIN_MS);
    return !dr_publisher_is_stopped(p);
}

void dr_publisher_put(dr_publisher *p, dr_result *result)
{
    const dr_job_origin origin = result->job->origin;
    dr_parcel *parcel;
    dr_error why;

    for (int tries = 1; !(parcel = dr_parcel_of_result(result, p->worker, p->results_topic)); tries++) {
        if (tries == MEMORY_TRIES_MAX && result->pictures > 0) {
            dr_fail(&why, DR_ENOMEM, "no memory to send the result with its pictures");
            dr_parcel_fail_result(result, &why);
        }
        if (!wait_for_memory(p, tries, &origin)) {
            dr_result_free(result);
            return;
        }
    }
    enqueue(p, parcel);
}

void dr_publisher_put_dead(dr_publisher *p, rd_kafka_message_t *message, const dr_error *why)
{
    const dr_job_origin origin = dr_books_origin(message);
    dr_parcel *parcel;

    for (int tries = 1; !(parcel = dr_parcel_of_dead(message, why, p->dead_letters_topic)); tries++)
        if (!wait_for_memory(p, tries, &origin)) {
            rd_kafka_message_destroy(message);
            return;
        }
    enqueue(p, parcel);
}

void dr_publisher_put_lost(dr_publisher *p, const dr_job_origin *origin)
{
    dr_parcel *parcel;

    for (int tries = 1; !(parcel = dr_parcel_of_lost(origin)); tries++)
        if (!wait_for_memory(p, tries, origin))
            return;
    enqueue(p, parcel);
}

/* --- the thread ---------------------------------------------------------------------------------- */

/* Fills the group of the next transaction.  Waits for a parcel, at most DR_PUBLISHER_IDLE_MS.  False: the
 * publisher is to end. */
static bool begin_group(dr_publisher *p, dr_parcel_group *group)
{
    const int64_t until_ms = dr_clock_ms() + DR_PUBLISHER_IDLE_MS;
    bool go_on;

    group->count = 0;
    pthread_mutex_lock(&p->lock);
    while (!p->queue.first && !p->stopped && dr_cond_wait_until(&p->changed, &p->lock, until_ms))
        ;
    go_on = !p->stopped;
    if (go_on)
        dr_publisher_queue_begin_group(&p->queue, group, dr_clock_ms());
    p->busy_since_ms = group->count > 0 ? dr_clock_ms() : 0;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    return go_on;
}

static void end_group(dr_publisher *p, int freed)
{
    pthread_mutex_lock(&p->lock);
    dr_publisher_queue_end_group(&p->queue, freed);
    p->busy_since_ms = 0;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

static bool can_go_on(dr_publisher *p)
{
    bool yes;

    pthread_mutex_lock(&p->lock);
    yes = p->fatal.status == DR_OK;
    pthread_mutex_unlock(&p->lock);
    return yes;
}

/* Looks at the topics, each time when idle and otherwise every LOOK_MS.  So what is wrong with a topic is
 * known before something is to be written to it. */
static void look_at_topics(dr_publisher *p, bool idle)
{
    dr_error err = { .status = DR_OK };

    if (!idle && dr_clock_ms() < p->look_ms)
        return;
    p->look_ms = dr_clock_ms() + LOOK_MS;
    const bool bad = dr_outbox_look(p->outbox, p->results_topic, &err) ||
                     dr_outbox_look(p->outbox, p->dead_letters_topic, &err) ||
                     dr_outbox_look(p->outbox, dr_books_topic(p->books), &err); /* a group joins without it */

    if (bad && dr_kafka_nag_due(&p->nag))
        dr_log_warn("publisher", "%s; still trying", err.text);
    pthread_mutex_lock(&p->lock);
    p->topics = err;
    pthread_mutex_unlock(&p->lock);
}

static void *publisher_thread(void *arg)
{
    dr_publisher *p = arg;
    dr_parcel_group group;
    dr_error err;
    dr_sent sent;

    while (!dr_publisher_is_stopped(p) && (sent = dr_outbox_prepare(p->outbox, &err)) != DR_SENT)
        if (sent == DR_SENT_NEVER) {
            dr_publisher_set_fatal(p, &err);
            return NULL;
        }
    look_at_topics(p, true);
    while (can_go_on(p) && begin_group(p, &group)) {
        int freed = 0;
        dr_outbox_idle(p->outbox);
        look_at_topics(p, group.count == 0);
        if (group.count > 0 || dr_books_wait_lease(p->books, 0))
            freed = dr_publisher_send_group(p, &group); /* an empty group commits the offsets of markers */
        end_group(p, freed);
    }
    return NULL;
}

/* --- start, drain, stop -------------------------------------------------------------------------- */

dr_status dr_publisher_start(dr_publisher **out, const dr_publisher_options *options, dr_error *err)
{
    dr_publisher *p = calloc(1, sizeof(*p));
    dr_status rc;

    *out = NULL;
    if (!p)
        return dr_fail(err, DR_ENOMEM, "publisher: no memory");
    pthread_mutex_init(&p->lock, NULL);
    dr_cond_init(&p->changed);
    dr_publisher_queue_init(&p->queue);
    p->books = options->books;
    dr_fail(&p->topics, DR_EIO, "the output topics have not been checked yet");
    p->results_topic = strdup(options->results_topic);
    p->dead_letters_topic = strdup(options->dead_letters_topic);
    p->worker = strdup(options->worker);
    dr_publisher_series_make(&p->series, options->metrics);
    rc = p->results_topic && p->dead_letters_topic && p->worker
             ? dr_outbox_open(&p->outbox, &options->outbox, err)
             : dr_fail(err, DR_ENOMEM, "publisher: no memory");
    if (rc)
        goto out;
    if (pthread_create(&p->thread, NULL, publisher_thread, p)) {
        rc = dr_fail(err, DR_ENOMEM, "publisher: no thread");
        goto out;
    }
    p->started = true;
    *out = p;
    p = NULL;
out:
    dr_publisher_stop(p);
    return rc;
}

bool dr_publisher_drain(dr_publisher *p, int timeout_ms)
{
    const int64_t until_ms = dr_clock_ms() + timeout_ms;
    bool empty;

    pthread_mutex_lock(&p->lock);
    while (dr_publisher_queue_count(&p->queue) > 0 && !p->fatal.status &&
           dr_cond_wait_until(&p->changed, &p->lock, until_ms))
        ;
    empty = dr_publisher_queue_count(&p->queue) == 0;
    pthread_mutex_unlock(&p->lock);
    return empty;
}

void dr_publisher_cancel(dr_publisher *p)
{
    if (!p || !p->outbox)
        return;
    dr_outbox_cancel(p->outbox);
    pthread_mutex_lock(&p->lock);
    p->stopped = true;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

void dr_publisher_stop(dr_publisher *p)
{
    if (!p)
        return;
    dr_publisher_cancel(p);
    if (p->started)
        pthread_join(p->thread, NULL);
    dr_publisher_queue_clear(&p->queue);
    dr_outbox_close(p->outbox);
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->lock);
    free(p->results_topic);
    free(p->dead_letters_topic);
    free(p->worker);
    free(p);
}

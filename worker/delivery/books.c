/* books.c - leases begin and end, messages are admitted and handed out. */
#include "worker/delivery/books_parts.h"
#include "worker/support/clock.h"
#include "worker/support/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

dr_status dr_books_open(dr_books **out, const char *topic, const char *group, dr_error *err)
{
    dr_books *b = calloc(1, sizeof(*b));
    dr_status rc;

    *out = NULL;
    if (!b)
        return dr_fail(err, DR_ENOMEM, "books: no memory");
    pthread_mutex_init(&b->lock, NULL);
    dr_cond_init(&b->changed);
    b->topic = strdup(topic);
    b->group = strdup(group);
    b->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (b->topic && b->group && b->wake >= 0) {
        *out = b;
        return DR_OK;
    }
    rc = dr_fail_errno(err, DR_ENOMEM, "books");
    dr_books_close(b);
    return rc;
}

void dr_books_close(dr_books *b)
{
    if (!b)
        return;
    dr_assert(!b->lease);
    dr_books_stop(b);
    dr_partitions_clear(&b->partitions);
    if (b->wake >= 0)
        close(b->wake);
    pthread_cond_destroy(&b->changed);
    pthread_mutex_destroy(&b->lock);
    free(b->topic);
    free(b->group);
    free(b);
}

const char *dr_books_topic(const dr_books *b)
{
    return b->topic;
}

const char *dr_books_group(const dr_books *b)
{
    return b->group;
}

dr_partition *dr_books_find(const dr_books *b, const dr_job_origin *origin)
{
    return origin->incarnation == b->incarnation ? dr_partitions_find(&b->partitions, origin->partition)
                                                 : NULL;
}

/* --- waking the polling thread ------------------------------------------------------------ */

int dr_books_wake_fd(const dr_books *b)
{
    return b->wake;
}

void dr_books_wake(dr_books *b)
{
    const uint64_t one = 1;

    if (write(b->wake, &one, sizeof(one)) < 0)
        dr_assert(errno == EAGAIN); /* then it is awake already */
}

/* --- leases -------------------------------------------------------------------------------- */

/* Asserts that each message of the inbox belongs to a job that runs. */
static void check_inbox(const dr_books *b)
{
    size_t running = 0;

    for (size_t i = 0; i < b->partitions.count; i++)
        running += (size_t)b->partitions.list[i]->ledger.running;
    dr_assert(b->inbox.count <= running);
}

void dr_books_sift_inbox(dr_books *b)
{
    for (size_t n = b->inbox.count; n > 0; n--) {
        rd_kafka_message_t *m = dr_inbox_pop(&b->inbox);
        const dr_partition *p = dr_partitions_find(&b->partitions, m->partition);
        if (p && dr_ledger_is_running(&p->ledger, m->offset))
            dr_inbox_push(&b->inbox, m);
        else
            rd_kafka_message_destroy(m);
    }
    check_inbox(b);
}

void dr_books_begin_lease(dr_books *b, dr_partitions *partitions, dr_lease *lease)
{
    const size_t count = partitions->count;
    char jobs[80] = "";
    dr_partitions old;
    int kept = 0, ran = 0;

    pthread_mutex_lock(&b->lock);
    dr_assert(!b->lease);
    old = b->partitions;
    b->partitions = *partitions;
    *partitions = (dr_partitions){ 0 };
    for (size_t i = 0; i < old.count; i++) {
        dr_partition *p = dr_partitions_find(&b->partitions, old.list[i]->id);
        ran += old.list[i]->ledger.running;
        if (p) {
            dr_partition_adopt(p, old.list[i]);
            kept += p->ledger.running;
        }
    }
    dr_books_sift_inbox(b);
    b->lease = lease;
    b->rebalances++;
    pthread_cond_broadcast(&b->changed);
    pthread_mutex_unlock(&b->lock);
    dr_partitions_clear(&old);
    if (ran > 0)
        snprintf(jobs, sizeof(jobs), "; %d running jobs go on, %d are left to other workers", kept,
                 ran - kept);
    dr_log_info("books", "%zu partitions of topic %s are assigned to this worker%s", count, b->topic, jobs);
}

void dr_books_end_lease(dr_books *b)
{
    pthread_mutex_lock(&b->lock);
    dr_lease_release(b->lease);
    b->lease = NULL;
    pthread_cond_broadcast(&b->changed);
    pthread_mutex_unlock(&b->lock);
}

bool dr_books_has_partitions(dr_books *b)
{
    bool yes;

    pthread_mutex_lock(&b->lock);
    yes = b->partitions.count > 0;
    pthread_mutex_unlock(&b->lock);
    return yes;
}

/* --- messages -------------------------------------------------------------------------------- */

/* Under the lock. */
static bool admit(dr_books *b, rd_kafka_message_t *m)
{
    dr_partition *p = dr_partitions_find(&b->partitions, m->partition);

    dr_assert(p);
    if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        dr_ledger_reach(&p->ledger, m->offset);
        p->end = m->offset;
        rd_kafka_message_destroy(m);
        return true;
    }
    if (dr_inbox_is_full(&b->inbox))
        return false;
    switch (dr_partition_admit(p, m)) {
    case DR_LEDGER_ADMITTED:
        dr_inbox_push(&b->inbox, m);
        check_inbox(b);
        pthread_cond_broadcast(&b->changed);
        return true;
    case DR_LEDGER_KNOWN:
        rd_kafka_message_destroy(m);
        return true;
    case DR_LEDGER_FULL:
        break;
    }
    return false;
}

bool dr_books_admit(dr_books *b, rd_kafka_message_t *message)
{
    bool admitted;

    pthread_mutex_lock(&b->lock);
    admitted = !b->stopped && admit(b, message);
    pthread_mutex_unlock(&b->lock);
    return admitted;
}

void dr_books_note_end(dr_books *b, int32_t partition, int64_t end)
{
    dr_partition *p;

    pthread_mutex_lock(&b->lock);
    p = dr_partitions_find(&b->partitions, partition);
    if (p && end > p->end)
        p->end = end;
    pthread_mutex_unlock(&b->lock);
}

rd_kafka_message_t *dr_books_next(dr_books *b, int timeout_ms)
{
    const int64_t until_ms = dr_clock_ms() + timeout_ms;
    rd_kafka_message_t *m = NULL;

    pthread_mutex_lock(&b->lock);
    while (!b->stopped && (b->inbox.count == 0 || !b->lease) &&
           dr_cond_wait_until(&b->changed, &b->lock, until_ms))
        ;
    if (!b->stopped && b->inbox.count > 0 && b->lease)
        m = dr_inbox_pop(&b->inbox);
    pthread_mutex_unlock(&b->lock);
    if (m)
        dr_books_wake(b);
    return m;
}

dr_job_origin dr_books_origin(const rd_kafka_message_t *m)
{
    return (dr_job_origin){
        .partition = m->partition,
        .offset = m->offset,
        .incarnation = m->rkt ? (int)(intptr_t)rd_kafka_topic_opaque(m->rkt) : 0,
    };
}

int dr_books_losses(dr_books *b, const dr_job_origin *origin)
{
    const dr_partition *p;
    int losses;

    pthread_mutex_lock(&b->lock);
    p = dr_books_find(b, origin);
    losses = p ? dr_ledger_losses(&p->ledger, origin->offset) : 0;
    pthread_mutex_unlock(&b->lock);
    return losses;
}

void dr_books_drop(dr_books *b, const dr_job_origin *origin)
{
    dr_partition *p;

    pthread_mutex_lock(&b->lock);
    p = dr_books_find(b, origin);
    if (p)
        dr_partition_drop(p, origin->offset);
    dr_books_sift_inbox(b);
    pthread_mutex_unlock(&b->lock);
}

void dr_books_stop(dr_books *b)
{
    pthread_mutex_lock(&b->lock);
    b->stopped = true;
    while (b->inbox.count > 0) {
        rd_kafka_message_t *m = dr_inbox_pop(&b->inbox);
        dr_partition *p = dr_partitions_find(&b->partitions, m->partition);
        if (p)
            dr_partition_drop(p, m->offset);
        rd_kafka_message_destroy(m);
    }
    pthread_cond_broadcast(&b->changed);
    pthread_mutex_unlock(&b->lock);
}

/* --- a topic that was deleted ------------------------------------------------------------------ */

void dr_books_forget(dr_books *b)
{
    pthread_mutex_lock(&b->lock);
    if (b->partitions.count > 0)
        b->incarnation++;
    while (b->inbox.count > 0)
        rd_kafka_message_destroy(dr_inbox_pop(&b->inbox));
    dr_partitions_clear(&b->partitions);
    pthread_mutex_unlock(&b->lock);
}

int dr_books_incarnation(dr_books *b)
{
    int number;

    pthread_mutex_lock(&b->lock);
    number = b->incarnation;
    pthread_mutex_unlock(&b->lock);
    return number;
}

void dr_books_set_topic_gone(dr_books *b, bool gone)
{
    b->topic_gone = gone;
    dr_books_wake(b);
}

bool dr_books_is_topic_gone(dr_books *b)
{
    return b->topic_gone;
}

/* --- state ---------------------------------------------------------------------------------------- */

void dr_books_fail(dr_books *b, const dr_error *err)
{
    pthread_mutex_lock(&b->lock);
    if (!b->fatal.status)
        b->fatal = *err;
    b->fatal.retriable = false;
    pthread_cond_broadcast(&b->changed);
    pthread_mutex_unlock(&b->lock);
}

dr_status dr_books_fatal(dr_books *b, dr_error *err)
{
    dr_status rc;

    pthread_mutex_lock(&b->lock);
    rc = b->fatal.status;
    if (rc)
        *err = b->fatal;
    pthread_mutex_unlock(&b->lock);
    return rc;
}

void dr_books_state_get(dr_books *b, dr_books_state *state)
{
    *state = (dr_books_state){ 0 };
    pthread_mutex_lock(&b->lock);
    state->leased = b->lease != NULL;
    state->partitions = (int)b->partitions.count;
    state->rebalances = b->rebalances;
    for (size_t i = 0; i < b->partitions.count; i++) {
        const dr_partition *p = b->partitions.list[i];
        const int64_t window = p->ledger.read - p->ledger.next;
        state->running += p->ledger.running;
        state->lag += p->end > p->ledger.next ? p->end - p->ledger.next : 0;
        state->window_used = window > state->window_used ? window : state->window_used;
    }
    pthread_mutex_unlock(&b->lock);
}

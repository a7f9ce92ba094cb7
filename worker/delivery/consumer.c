/* consumer.c - the polling thread; open and close. */
#include "worker/delivery/consumer_parts.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

enum { POLL_MS = 100 }; /* the polling thread looks around at least this often */

/* --- the polling thread ------------------------------------------------------------------- */

/* The next message of the feed's queue, or the note that the end of the partition is reached; NULL: there is
 * none. *again: look again. */
static rd_kafka_message_t *read_queue(dr_consumer *c, dr_feed *f, bool *again)
{
    rd_kafka_message_t *m = rd_kafka_consume_queue(f->queue, 0);

    *again = false;
    if (!m)
        return NULL;
    if (m->err && m->err != RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        dr_consumer_complain(c, m);
        rd_kafka_message_destroy(m);
        *again = true;
        return NULL;
    }
    /* librdkafka has lost its place in the log and begun again at the log's start. */
    if (m->offset < f->position) {
        dr_books_set_topic_gone(c->books, true);
        rd_kafka_message_destroy(m);
        return NULL;
    }
    f->position = m->err ? m->offset : m->offset + 1;
    return m;
}

/* Moves one message from the feed to the books.  False: there is none, or no room for it. */
static bool read_one(dr_consumer *c, dr_feed *f)
{
    rd_kafka_message_t *m = f->held;
    bool again;

    f->held = NULL;
    if (!m) {
        m = read_queue(c, f, &again);
        if (!m)
            return again;
    }
    if (dr_books_admit(c->books, m))
        return true;
    f->held = m;
    return false;
}

/* One message from each partition in turn, so that a long backlog in one does not keep the others waiting. */
static void read_partitions(dr_consumer *c)
{
    bool more;

    do {
        more = false;
        for (size_t i = 0; i < c->feeds_count; i++)
            more |= read_one(c, &c->feeds[i]);
    } while (more);
}

static void wait_for_work(dr_consumer *c)
{
    struct pollfd fd = { .fd = dr_books_wake_fd(c->books), .events = POLLIN };
    uint64_t count;

    if (poll(&fd, 1, POLL_MS) > 0 && read(fd.fd, &count, sizeof(count)) < 0)
        dr_assert(errno == EAGAIN);
}

static void *polling_thread(void *arg)
{
    dr_consumer *c = arg;

    while (!dr_consumer_is_closing(c)) {
        rd_kafka_message_t *m;
        wait_for_work(c);
        while ((m = rd_kafka_consumer_poll(c->client->rk, 0))) {
            dr_consumer_complain(c, m);
            rd_kafka_message_destroy(m);
        }
        if (c->fenced)
            dr_consumer_rejoin(c);
        else if (dr_books_is_topic_gone(c->books))
            dr_consumer_start_over(c);
        else if (dr_consumer_topic_is_back(c))
            dr_consumer_subscribe_again(c);
        else
            read_partitions(c);
    }
    rd_kafka_consumer_close(c->client->rk);
    return NULL;
}

/* --- open and close ---------------------------------------------------------------------- */

dr_status dr_consumer_open(dr_consumer **out, const dr_consumer_options *options, dr_error *err)
{
    dr_consumer *c;
    dr_status rc = dr_consumer_create(&c, options, err);

    *out = NULL;
    if (rc)
        return rc;
    rc = dr_consumer_join(c, err);
    if (rc)
        goto out;
    if (pthread_create(&c->thread, NULL, polling_thread, c)) {
        rc = dr_fail(err, DR_ENOMEM, "consumer: no thread");
        goto out;
    }
    c->started = true;
    *out = c;
    c = NULL;
out:
    dr_consumer_close(c);
    return rc;
}

void dr_consumer_close(dr_consumer *c)
{
    if (!c)
        return;
    if (c->started) {
        dr_books_stop(c->books);
        pthread_mutex_lock(&c->lock);
        c->closing = true;
        pthread_mutex_unlock(&c->lock);
        dr_books_wake(c->books);
        pthread_join(c->thread, NULL);
    }
    dr_consumer_end_lease(c);
    dr_consumer_end_clients(c);
    dr_consumer_release(c);
}

/* consumer_client.c - the client in the group: made, and replaced when it was fenced. */
#include "worker/delivery/consumer_parts.h"
#include "worker/support/clock.h"
#include "worker/support/log.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    REJOINS_MAX = 5, /* in a row; if there are more, another worker has the same name and joins again too */
    PAUSE_MIN_MS = 300,    /* the pause before joining again is drawn between these two, */
    PAUSE_MAX_MS = 1200,   /* so that two namesakes do not join at the same moments */
    HEARTBEATS_STEADY = 3, /* a membership that lasted so many heartbeats and so long */
    STEADY_MS = 6000, /* was not ended by a worker of the same name: that one would have come back earlier */
};

/* --- one client ------------------------------------------------------------------------------- */

static dr_status configure(dr_consumer *c, dr_client *client, dr_error *err)
{
    const uint64_t one = 1;
    rd_kafka_conf_t *conf;
    rd_kafka_t *rk;
    dr_status rc;

    rc = dr_kafka_conf(&conf, DR_KAFKA_GROUP_CONSUMER, &c->kafka, err);
    if (rc)
        return rc;
    rc = dr_kafka_conf_set(conf, "group.id", dr_books_group(c->books), err);
    if (!rc)
        rc = dr_kafka_conf_set(conf, "group.instance.id", c->slot, err);
    if (rc) {
        rd_kafka_conf_destroy(conf);
        return rc;
    }
    rd_kafka_conf_set_opaque(conf, c);
    rd_kafka_topic_conf_set_opaque(rd_kafka_conf_get_default_topic_conf(conf),
                                   (void *)(intptr_t)dr_books_incarnation(c->books));
    rd_kafka_conf_set_rebalance_cb(conf, dr_consumer_on_rebalance);
    rd_kafka_conf_set_log_cb(conf, dr_consumer_on_log);
    rd_kafka_conf_set_error_cb(conf, dr_consumer_on_error);
    rd_kafka_conf_set_stats_cb(conf, dr_consumer_on_statistics);
    rc = dr_kafka_create(&rk, RD_KAFKA_CONSUMER, conf, err);
    if (rc)
        return rc;
    client->member = dr_member_create(rk);
    if (!client->member) {
        rd_kafka_destroy_flags(rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
        return dr_fail(err, DR_ENOMEM, "consumer: no memory for a client");
    }
    client->rk = rk;
    rd_kafka_poll_set_consumer(rk);
    client->events = rd_kafka_queue_get_consumer(rk);
    rd_kafka_queue_io_event_enable(client->events, dr_books_wake_fd(c->books), &one, sizeof(one));
    return DR_OK;
}

static dr_status subscribe(dr_consumer *c, rd_kafka_t *rk, dr_error *err)
{
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_resp_err_t code;

    rd_kafka_topic_partition_list_add(topics, dr_books_topic(c->books), RD_KAFKA_PARTITION_UA);
    code = rd_kafka_subscribe(rk, topics);
    rd_kafka_topic_partition_list_destroy(topics);
    if (code)
        return dr_fail(err, DR_EINVAL, "subscribing to %s: %s", dr_books_topic(c->books),
                       rd_kafka_err2str(code));
    return DR_OK;
}

static void let_events_go(dr_client *c)
{
    if (!c->events)
        return;
    rd_kafka_queue_io_event_enable(c->events, -1, NULL, 0);
    rd_kafka_queue_destroy(c->events);
    c->events = NULL;
}

/* Waits for the leases of the client, and for librdkafka to free the client's last message. */
static void end_client(void *arg)
{
    dr_client *client = arg;
    dr_consumer *c = client->consumer;

    let_events_go(client);
    dr_member_end(client->member, client->end_flags);
    free(client);
    dr_consumer_release(c);
}

dr_status dr_consumer_join(dr_consumer *c, dr_error *err)
{
    dr_client *client = calloc(1, sizeof(*client));
    dr_status rc;

    if (!client)
        return dr_fail(err, DR_ENOMEM, "consumer: no memory for a client");
    client->consumer = c;
    client->end_flags =
        RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE; /* the membership is ended elsewhere, or there is none */
    pthread_mutex_lock(&c->lock);
    c->references++;
    pthread_mutex_unlock(&c->lock);
    rc = configure(c, client, err);
    if (!rc)
        rc = subscribe(c, client->rk, err);
    if (rc) {
        end_client(client);
        return rc;
    }
    c->client = client;
    return DR_OK;
}

void dr_consumer_end_clients(dr_consumer *c)
{
    if (c->client)
        let_events_go(c->client);
    if (c->client && !dr_endings_begin(c->endings, end_client, c->client))
        end_client(c->client);
    c->client = NULL;
    dr_endings_wait(c->endings);
    c->endings = NULL;
}

/* --- a client that was fenced ------------------------------------------------------------------- */

static int draw_pause_ms(const dr_consumer *c)
{
    unsigned seed = (unsigned)dr_clock_ms() ^ (unsigned)(uintptr_t)c ^ (unsigned)getpid() << 16;

    return PAUSE_MIN_MS + rand_r(&seed) % (PAUSE_MAX_MS - PAUSE_MIN_MS);
}

/* False: the consumer is to be closed. */
static bool pause_before_joining(dr_consumer *c)
{
    const int64_t until_ms = dr_clock_ms() + draw_pause_ms(c);

    while (dr_clock_ms() < until_ms) {
        if (dr_consumer_is_closing(c))
            return false;
        poll(NULL, 0, 50);
    }
    return true;
}

static bool was_steady(const dr_consumer *c)
{
    char text[32] = "";
    size_t size = sizeof(text);

    rd_kafka_conf_get(rd_kafka_conf(c->client->rk), "heartbeat.interval.ms", text, &size);
    return c->leased_ms > 0 &&
           dr_clock_ms() - c->leased_ms > HEARTBEATS_STEADY * strtol(text, NULL, 10) + STEADY_MS;
}

/* Puts another client in the place of c->client.  False: that is not possible now. */
static bool replace_client(dr_consumer *c)
{
    dr_client *old = c->client;
    dr_error err;

    if (!pause_before_joining(c))
        return false;
    c->leased_ms = 0;
    if (dr_consumer_join(c, &err)) { /* c->client is still the old one */
        dr_log_warn("consumer", "%s; still trying", err.text);
        return false;
    }
    let_events_go(old);
    if (!dr_endings_begin(c->endings, end_client, old)) /* it is never ended */
        dr_log_warn("consumer", "no memory to end the client that was replaced");
    return true;
}

void dr_consumer_rejoin(dr_consumer *c)
{
    const char *group = dr_books_group(c->books);
    dr_error err;

    dr_consumer_end_lease(c);
    if (was_steady(c))
        c->rejoins = 0;
    if (++c->rejoins > REJOINS_MAX) {
        dr_fail(
            &err, DR_EIO,
            "group %s: another worker runs under the name %s: it has taken this worker's place %d times in "
            "a row",
            group, c->slot, c->rejoins);
        dr_books_fail(c->books, &err);
        c->fenced = false;
        return;
    }
    dr_log_warn("consumer",
                "group %s has another member with the name %s: either another worker, or a late request of "
                "this worker; joining the group again (attempt %d of %d)",
                group, c->slot, c->rejoins, REJOINS_MAX);
    if (replace_client(c))
        c->fenced = false;
    else
        c->rejoins--;
}

void dr_consumer_start_over(dr_consumer *c)
{
    dr_consumer_end_lease(c);
    dr_books_forget(c->books);
    dr_log_warn(
        "consumer",
        "topic %s was deleted, or deleted and created again: the messages read from it are forgotten; "
        "joining group %s again",
        dr_books_topic(c->books), dr_books_group(c->books));
    if (replace_client(c))
        dr_books_set_topic_gone(c->books, false); /* the old client saw this; the new one is not polled yet */
}

void dr_consumer_subscribe_again(dr_consumer *c)
{
    dr_error err;

    dr_log_warn("consumer", "topic %s is there again; asking group %s for partitions",
                dr_books_topic(c->books), dr_books_group(c->books));
    if (subscribe(c, c->client->rk, &err))
        dr_log_warn("consumer", "%s", err.text);
}

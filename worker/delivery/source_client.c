/* source_client.c - the member of the group: made, lent to the publisher's calls, replaced when it was fenced. */
#include "worker/delivery/source_parts.h"
#include "worker/support/clock.h"
#include "worker/support/log.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    REJOINS_MAX = 5,       /* in a row; then there is a namesake, which does the same */
    PAUSE_MIN_MS = 300,    /* before joining again: */
    PAUSE_MAX_MS = 1200,   /* drawn, so that two namesakes do not go on in step */
    HEARTBEATS_STEADY = 3, /* and this: a membership that lasted so long was not ended by a namesake, */
    STEADY_MS = 6000,      /* who would have come back after a heartbeat and a pause */
};

/* --- one client ------------------------------------------------------------------------------- */

static dr_status configure(dr_source *s, dr_client *c, dr_error *err)
{
    const uint64_t one = 1;
    rd_kafka_conf_t *conf;
    dr_status rc;

    rc = dr_kafka_conf(&conf, DR_KAFKA_GROUP_CONSUMER, &s->kafka, err);
    if (rc)
        return rc;
    rc = dr_kafka_conf_set(conf, "group.id", s->group, err);
    if (!rc)
        rc = dr_kafka_conf_set(conf, "group.instance.id", s->slot, err);
    if (rc) {
        rd_kafka_conf_destroy(conf);
        return rc;
    }
    rd_kafka_conf_set_opaque(conf, s);
    rd_kafka_topic_conf_set_opaque(rd_kafka_conf_get_default_topic_conf(conf), (void *)(intptr_t)s->making);
    rd_kafka_conf_set_rebalance_cb(conf, dr_source_on_rebalance);
    rd_kafka_conf_set_log_cb(conf, dr_source_on_log);
    rd_kafka_conf_set_error_cb(conf, dr_source_on_error);
    rd_kafka_conf_set_stats_cb(conf, dr_source_on_statistics);
    rc = dr_kafka_create(&c->rk, RD_KAFKA_CONSUMER, conf, err);
    if (rc)
        return rc;
    rd_kafka_poll_set_consumer(c->rk);
    c->events = rd_kafka_queue_get_consumer(c->rk);
    rd_kafka_queue_io_event_enable(c->events, s->wake, &one, sizeof(one));
    return DR_OK;
}

static dr_status subscribe(dr_source *s, rd_kafka_t *rk, dr_error *err)
{
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_resp_err_t code;

    rd_kafka_topic_partition_list_add(topics, s->topic, RD_KAFKA_PARTITION_UA);
    code = rd_kafka_subscribe(rk, topics);
    rd_kafka_topic_partition_list_destroy(topics);
    if (code)
        return dr_fail(err, DR_EINVAL, "subscribing to %s: %s", s->topic, rd_kafka_err2str(code));
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

static void client_free(dr_client *c, int flags)
{
    if (!c)
        return;
    let_events_go(c);
    if (c->rk)
        rd_kafka_destroy_flags(c->rk, flags);
    free(c);
}

dr_status dr_source_join(dr_source *s, dr_error *err)
{
    dr_client *c = calloc(1, sizeof(*c));
    dr_status rc;

    if (!c)
        return dr_fail(err, DR_ENOMEM, "source: no memory for a client");
    c->references = 1;
    c->source = s;
    rc = configure(s, c, err);
    if (!rc)
        rc = subscribe(s, c->rk, err);
    if (rc) {
        client_free(c, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
        return rc;
    }
    pthread_mutex_lock(&s->lock);
    s->client = c;
    pthread_mutex_unlock(&s->lock);
    return DR_OK;
}

dr_client *dr_client_hold(dr_source *s)
{
    dr_client *c;

    pthread_mutex_lock(&s->lock);
    c = s->client;
    c->references++;
    pthread_mutex_unlock(&s->lock);
    return c;
}

void dr_client_release(dr_client *c)
{
    dr_source *s = c->source;

    pthread_mutex_lock(&s->lock);
    dr_assert(c->references > 0);
    c->references--;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

/* --- the one that was fenced -------------------------------------------------------------------- */

/* librdkafka waits here until the last message of the client is destroyed. */
static void *reap(void *arg)
{
    dr_client *c = arg;
    dr_source *s = c->source;

    pthread_mutex_lock(&s->lock);
    while (c->references > 0)
        pthread_cond_wait(&s->changed, &s->lock);
    pthread_mutex_unlock(&s->lock);
    rd_kafka_destroy_flags(c->rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    c->rk = NULL;
    return NULL;
}

/* Frees those that are gone; all: waits for them. */
static void collect_retired(dr_source *s, bool all)
{
    for (dr_client **at = &s->retired; *at;) {
        dr_client *c = *at;
        if (all ? pthread_join(c->reaper, NULL) : pthread_tryjoin_np(c->reaper, NULL)) {
            at = &c->next;
            continue;
        }
        *at = c->next;
        free(c);
    }
}

/* Not waited for: it may have messages that are on their way, and calls. */
static dr_status retire(dr_source *s, dr_client *c, dr_error *err)
{
    let_events_go(c);
    dr_client_release(c);
    if (pthread_create(&c->reaper, NULL, reap, c))
        return dr_fail(err, DR_ENOMEM, "source: no thread to end the client that was fenced");
    c->next = s->retired;
    s->retired = c;
    return DR_OK;
}

static int draw_pause_ms(const dr_source *s)
{
    unsigned seed = (unsigned)dr_clock_ms() ^ (unsigned)(uintptr_t)s ^ (unsigned)getpid() << 16;

    return PAUSE_MIN_MS + rand_r(&seed) % (PAUSE_MAX_MS - PAUSE_MIN_MS);
}

/* False: the source is to be closed. */
static bool pause_before_joining(dr_source *s)
{
    const int64_t until_ms = dr_clock_ms() + draw_pause_ms(s);

    while (dr_clock_ms() < until_ms) {
        if (dr_source_is_closing(s))
            return false;
        poll(NULL, 0, 50);
    }
    return true;
}

static bool was_steady(const dr_source *s)
{
    char text[32] = "";
    size_t size = sizeof(text);

    rd_kafka_conf_get(rd_kafka_conf(s->client->rk), "heartbeat.interval.ms", text, &size);
    return s->leased_ms > 0 &&
           dr_clock_ms() - s->leased_ms > HEARTBEATS_STEADY * strtol(text, NULL, 10) + STEADY_MS;
}

/* Another client in its place; False: not now. */
static bool replace_client(dr_source *s)
{
    dr_client *old = s->client;
    dr_error err;

    if (!pause_before_joining(s))
        return false;
    s->leased_ms = 0;
    if (dr_source_join(s, &err)) { /* s->client is still the old one */
        dr_log_warn("source", "%s; still trying", err.text);
        return false;
    }
    if (retire(s, old, &err))
        dr_log_warn("source", "%s", err.text); /* it is left behind */
    return true;
}

void dr_source_rejoin(dr_source *s)
{
    dr_error err;

    collect_retired(s, false);
    dr_source_end_lease(s);
    if (was_steady(s))
        s->rejoins = 0;
    if (++s->rejoins > REJOINS_MAX) {
        dr_fail(&err, DR_EIO,
                "group %s: another worker runs under the name %s: it has taken this one's place %d times in "
                "a row",
                s->group, s->slot, s->rejoins);
        dr_source_set_fatal(s, &err);
        s->fenced = false;
        return;
    }
    dr_log_warn("source",
                "group %s has another member of the name %s: a request of this worker that came late, or "
                "another worker; "
                "joining again, %d of at most %d times",
                s->group, s->slot, s->rejoins, REJOINS_MAX);
    if (replace_client(s))
        s->fenced = false;
    else
        s->rejoins--;
}

void dr_source_start_over(dr_source *s)
{
    collect_retired(s, false);
    dr_source_end_lease(s);
    pthread_mutex_lock(&s->lock);
    if (s->partitions.count > 0)
        s->making++;
    while (s->ready_count > 0)
        rd_kafka_message_destroy(dr_source_ready_pop(s));
    dr_partitions_clear(&s->partitions);
    pthread_mutex_unlock(&s->lock);
    dr_log_warn("source",
                "%s was deleted, or made anew: what was read of it is forgotten; joining group %s again",
                s->topic, s->group);
    if (replace_client(s))
        s->made_anew = false; /* said of the one before; this one is not polled yet */
}

void dr_source_end_clients(dr_source *s)
{
    collect_retired(s, true);
    client_free(s->client, 0);
    s->client = NULL;
}

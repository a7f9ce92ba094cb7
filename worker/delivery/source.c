#include "worker/delivery/source_parts.h"
#include "worker/support/clock.h"
#include "worker/support/log.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { POLL_MS = 100 }; /* the poll thread looks around this often, whatever wakes it or not */

/* --- the ring of ready messages: under the lock ---------------------------------------- */

void dr_source_wake(dr_source *s)
{
    const uint64_t one = 1;

    if (write(s->wake, &one, sizeof(one)) < 0)
        dr_assert(errno == EAGAIN); /* then it is awake already */
}

rd_kafka_message_t *dr_source_ready_pop(dr_source *s)
{
    rd_kafka_message_t *m = s->ready[s->ready_first];

    dr_assert(s->ready_count > 0);
    s->ready_first = (s->ready_first + 1) % DR_SOURCE_READY_MAX;
    s->ready_count--;
    return m;
}

void dr_source_ready_push(dr_source *s, rd_kafka_message_t *m)
{
    dr_assert(s->ready_count < DR_SOURCE_READY_MAX);
    s->ready[(s->ready_first + s->ready_count++) % DR_SOURCE_READY_MAX] = m;
}

bool dr_source_is_closing(dr_source *s)
{
    bool yes;

    pthread_mutex_lock(&s->lock);
    yes = s->closing;
    s->polled_ms = dr_clock_ms();
    pthread_mutex_unlock(&s->lock);
    return yes;
}

/* --- other callbacks: the polling thread ------------------------------------------------- */

void dr_source_set_fatal(dr_source *s, const dr_error *err)
{
    pthread_mutex_lock(&s->lock);
    if (!s->fatal.status)
        s->fatal = *err;
    s->fatal.retriable = false;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

static void keep_fatal(dr_source *s)
{
    char why[256];
    const rd_kafka_resp_err_t code = rd_kafka_fatal_error(s->client->rk, why, sizeof(why));
    dr_error err;

    if (code == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID) {
        s->fenced = true;
    } else if (code) {
        dr_fail(&err, DR_EIO, "group %s: %s: %s", s->group, rd_kafka_err2name(code), why);
        dr_source_set_fatal(s, &err);
    }
}

/* True: the text says why a broker can't be used; it is kept for whoever asks.  Any thread. */
static bool keep_reason(dr_source *s, const rd_kafka_t *rk, rd_kafka_resp_err_t code, const char *text)
{
    dr_error reason = { 0 };
    char protocol[32] = "";
    size_t size = sizeof(protocol);

    rd_kafka_conf_get(rd_kafka_conf((rd_kafka_t *)rk), "security.protocol", protocol, &size);
    if (!dr_kafka_explain(protocol, code, text, &reason))
        return false;
    pthread_mutex_lock(&s->lock);
    s->reason = reason;
    pthread_mutex_unlock(&s->lock);
    return true;
}

/* librdkafka tells error callbacks nothing of a connection that a broker closes. */
void dr_source_on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
    dr_source *s = rd_kafka_opaque(rk);

    dr_kafka_on_log(rk, level, facility, text);
    if (s && strcmp(facility, "FAIL") == 0 && strstr(text, "Disconnected"))
        keep_reason(s, rk, RD_KAFKA_RESP_ERR__TRANSPORT, text);
}

void dr_source_on_error(rd_kafka_t *rk, int code, const char *reason, void *opaque)
{
    dr_source *s = opaque;
    dr_error why;

    if (code == RD_KAFKA_RESP_ERR__FATAL) {
        keep_fatal(s);
    } else if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) {
        pthread_mutex_lock(&s->lock);
        s->broker_up = false;
        why = s->reason;
        pthread_mutex_unlock(&s->lock);
        if (dr_kafka_nag_due(&s->broker_nag))
            dr_log_warn("source", "no broker can be reached (%s); still trying",
                        why.status ? why.text : reason);
    } else if (!keep_reason(s, rk, (rd_kafka_resp_err_t)code, reason) && dr_kafka_nag_due(&s->error_nag)) {
        dr_log_warn("source", "%s: %s", rd_kafka_err2name((rd_kafka_resp_err_t)code), reason);
    }
}

/* Which brokers answer, and where the partitions end, stand only in librdkafka's statistics. */
int dr_source_on_statistics(rd_kafka_t *rk, char *json, size_t size, void *opaque)
{
    dr_source *s = opaque;
    json_t *root = json_loadb(json, size, 0, NULL), *broker, *partitions;
    const char *key;
    bool up = false;

    (void)rk;
    json_object_foreach(json_object_get(root, "brokers"), key, broker)
    {
        const char *state = json_string_value(json_object_get(broker, "state"));
        up |= state && strcmp(state, "UP") == 0;
    }
    partitions = json_object_get(json_object_get(json_object_get(root, "topics"), s->topic), "partitions");
    pthread_mutex_lock(&s->lock);
    s->broker_up = up;
    if (up)
        s->reason = (dr_error){ 0 };
    for (size_t i = 0; i < s->partitions.count; i++) {
        dr_partition *p = s->partitions.list[i];
        char name[16];
        json_int_t end;
        snprintf(name, sizeof(name), "%d", (int)p->id);
        end = json_integer_value(json_object_get(json_object_get(partitions, name), "ls_offset"));
        if (end > p->end)
            p->end = end;
    }
    pthread_mutex_unlock(&s->lock);
    json_decref(root);
    return 0; /* librdkafka frees json */
}

/* --- the polling thread ------------------------------------------------------------------- */

static bool says_that_topic_is_gone(const rd_kafka_message_t *m)
{
    return m->err == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION || m->err == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC ||
           m->err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
}

static void complain(dr_source *s, const rd_kafka_message_t *m)
{
    if (says_that_topic_is_gone(m) && s->partitions.count > 0)
        s->made_anew = true;
    if (m->err != RD_KAFKA_RESP_ERR__FATAL) {
        pthread_mutex_lock(&s->lock);
        dr_fail(&s->complaint, DR_EIO, "%s", rd_kafka_message_errstr(m));
        pthread_mutex_unlock(&s->lock);
    }
    if (m->err == RD_KAFKA_RESP_ERR__FATAL)
        keep_fatal(s);
    else if (dr_kafka_nag_due(&s->error_nag))
        dr_log_warn("source", "%s: %s: %s", s->topic, rd_kafka_err2name(m->err), rd_kafka_message_errstr(m));
}

/* Under the lock.  True: m was dealt with; false: there is no room for it. */
static bool place(dr_source *s, dr_partition *p, rd_kafka_message_t *m)
{
    if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        dr_ledger_reach(&p->ledger, m->offset);
        p->end = m->offset;
        rd_kafka_message_destroy(m);
        return true;
    }
    if (s->ready_count == DR_SOURCE_READY_MAX)
        return false;
    switch (dr_partition_take(p, m)) {
    case DR_LEDGER_RUN:
        dr_source_ready_push(s, m);
        pthread_cond_broadcast(&s->changed);
        return true;
    case DR_LEDGER_SKIP:
        rd_kafka_message_destroy(m);
        return true;
    case DR_LEDGER_FULL:
        break;
    }
    return false;
}

/* Move one message of p's queue to `ready`.  False: there is none, or no room for it. */
static bool read_one(dr_source *s, dr_partition *p)
{
    rd_kafka_message_t *m = p->held;
    bool placed;

    p->held = NULL;
    if (!m) {
        m = rd_kafka_consume_queue(p->queue, 0);
        if (!m)
            return false;
        if (m->err && m->err != RD_KAFKA_RESP_ERR__PARTITION_EOF) {
            complain(s, m);
            rd_kafka_message_destroy(m);
            return true;
        }
        if (m->offset < p->position) { /* librdkafka's place is gone: it has begun at the start */
            s->made_anew = true;
            rd_kafka_message_destroy(m);
            return false;
        }
        p->position = m->err ? m->offset : m->offset + 1;
    }
    pthread_mutex_lock(&s->lock);
    placed = !s->stopped && place(s, p, m);
    pthread_mutex_unlock(&s->lock);
    if (!placed)
        p->held = m;
    return placed;
}

/* One from each in turn, so that a long backlog in one does not keep the others waiting.  The table itself is
 * changed by this thread only. */
static void read_partitions(dr_source *s)
{
    bool more;

    do {
        more = false;
        for (size_t i = 0; i < s->partitions.count; i++)
            if (s->partitions.list[i]->queue)
                more |= read_one(s, s->partitions.list[i]);
    } while (more);
}

static void wait_for_work(dr_source *s)
{
    struct pollfd fd = { .fd = s->wake, .events = POLLIN };
    uint64_t count;

    if (poll(&fd, 1, POLL_MS) > 0 && read(s->wake, &count, sizeof(count)) < 0)
        dr_assert(errno == EAGAIN);
}

static void *poll_thread(void *arg)
{
    dr_source *s = arg;

    while (!dr_source_is_closing(s)) {
        rd_kafka_message_t *m;
        wait_for_work(s);
        while ((m = rd_kafka_consumer_poll(s->client->rk, 0))) {
            complain(s, m);
            rd_kafka_message_destroy(m);
        }
        if (s->fenced)
            dr_source_rejoin(s);
        else if (s->made_anew)
            dr_source_start_over(s);
        else
            read_partitions(s);
    }
    rd_kafka_consumer_close(s->client->rk);
    return NULL;
}

/* --- open, take, close ---------------------------------------------------------------------- */

dr_status dr_source_open(dr_source **out, const dr_source_options *options, dr_error *err)
{
    dr_source *s = calloc(1, sizeof(*s));
    dr_status rc;

    *out = NULL;
    if (!s)
        return dr_fail(err, DR_ENOMEM, "source: no memory");
    pthread_mutex_init(&s->lock, NULL);
    dr_cond_init(&s->changed);
    s->polled_ms = dr_clock_ms();
    s->topic = strdup(options->topic);
    s->group = strdup(options->group);
    s->slot = strdup(options->slot);
    s->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (!s->topic || !s->group || !s->slot || s->wake < 0) {
        rc = dr_fail_errno(err, DR_ENOMEM, "source");
        goto out;
    }
    rc = dr_kafka_options_copy(&s->kafka, &options->kafka, err);
    if (!rc)
        rc = dr_source_join(s, err);
    if (rc)
        goto out;
    if (pthread_create(&s->thread, NULL, poll_thread, s)) {
        rc = dr_fail(err, DR_ENOMEM, "source: no thread");
        goto out;
    }
    s->started = true;
    *out = s;
    s = NULL;
out:
    dr_source_close(s);
    return rc;
}

rd_kafka_message_t *dr_source_take(dr_source *s, int timeout_ms)
{
    const int64_t until_ms = dr_clock_ms() + timeout_ms;
    rd_kafka_message_t *m = NULL;

    pthread_mutex_lock(&s->lock);
    while (!s->stopped && (s->ready_count == 0 || !s->lease) &&
           dr_cond_wait_until(&s->changed, &s->lock, until_ms))
        ;
    if (!s->stopped && s->ready_count > 0 && s->lease)
        m = dr_source_ready_pop(s);
    pthread_mutex_unlock(&s->lock);
    if (m)
        dr_source_wake(s);
    return m;
}

dr_job_origin dr_source_origin(const rd_kafka_message_t *m)
{
    return (dr_job_origin){
        .partition = m->partition,
        .offset = m->offset,
        .making = m->rkt ? (int)(intptr_t)rd_kafka_topic_opaque(m->rkt) : 0,
    };
}

void dr_source_topic_is_gone(dr_source *s)
{
    s->made_anew = true;
    dr_source_wake(s);
}

void dr_source_stop(dr_source *s)
{
    pthread_mutex_lock(&s->lock);
    s->stopped = true;
    while (s->ready_count > 0) {
        rd_kafka_message_t *m = dr_source_ready_pop(s);
        dr_partition *p = dr_partitions_find(&s->partitions, m->partition);
        if (p)
            dr_partition_drop(p, m->offset);
        rd_kafka_message_destroy(m);
    }
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

void dr_source_close(dr_source *s)
{
    if (!s)
        return;
    if (s->started) {
        dr_source_stop(s);
        pthread_mutex_lock(&s->lock);
        s->closing = true;
        pthread_mutex_unlock(&s->lock);
        dr_source_wake(s);
        pthread_join(s->thread, NULL);
    }
    dr_partitions_clear(&s->partitions);
    dr_lease_unref(s->lease);
    dr_source_end_clients(s);
    if (s->wake >= 0)
        close(s->wake);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    dr_kafka_options_free(&s->kafka);
    free(s->topic);
    free(s->group);
    free(s->slot);
    free(s);
}

/* --- state --------------------------------------------------------------------------------------- */

void dr_source_state_get(dr_source *s, dr_source_state *state)
{
    *state = (dr_source_state){ 0 };
    pthread_mutex_lock(&s->lock);
    state->leased = s->lease != NULL;
    if (state->leased)
        s->complaint.status = DR_OK;
    state->complaint = s->complaint;
    state->broker_up = s->broker_up;
    state->partitions = (int)s->partitions.count;
    state->rebalances = s->rebalances;
    state->poll_age_ms = dr_clock_ms() - s->polled_ms;
    for (size_t i = 0; i < s->partitions.count; i++) {
        const dr_partition *p = s->partitions.list[i];
        const int64_t window = p->ledger.read - p->ledger.next;
        state->running += p->ledger.running;
        state->lag += p->end > p->ledger.next ? p->end - p->ledger.next : 0;
        state->window_used = window > state->window_used ? window : state->window_used;
    }
    pthread_mutex_unlock(&s->lock);
}

dr_status dr_source_fatal(dr_source *s, dr_error *err)
{
    dr_status rc;

    pthread_mutex_lock(&s->lock);
    rc = s->fatal.status;
    if (rc)
        *err = s->fatal;
    pthread_mutex_unlock(&s->lock);
    return rc;
}

bool dr_source_reason(dr_source *s, dr_error *why)
{
    bool known;

    pthread_mutex_lock(&s->lock);
    known = !s->broker_up && s->reason.status;
    if (known)
        *why = s->reason;
    pthread_mutex_unlock(&s->lock);
    return known;
}

const char *dr_source_topic(const dr_source *s)
{
    return s->topic;
}

const char *dr_source_group(const dr_source *s)
{
    return s->group;
}

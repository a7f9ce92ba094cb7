#include "worker/publisher.h"

#include "worker/clock.h"
#include "worker/dead_letter.h"
#include "worker/log.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
    IDLE_MS = 1000,    /* markers at the end of a partition are committed this late */
    PAUSE_MIN_MS = 50, /* after a transaction that was aborted; doubled up to */
    PAUSE_MAX_MS = 3000,
};

/* A result or a dead letter on its way. */
typedef struct item {
    struct item *next;
    dr_job_origin origin;
    dr_result *result;        /* without its pictures, which are in bytes; or NULL */
    rd_kafka_message_t *dead; /* or NULL */
    dr_error why;             /* of the dead letter */
    bool without_value;       /* the dead letter was too large with it */
    const char *topic;
    void *bytes; /* the encoded result */
    size_t size;
    rd_kafka_headers_t *headers;
} item;

typedef struct series {
    dr_series *state[4]; /* in the order of state_names */
    dr_series *dead_letters, *dropped, *aborted, *bytes, *seconds;
} series;

struct dr_publisher {
    dr_outbox *outbox;
    dr_source *source;
    char *results_topic, *dead_letters_topic, *worker;
    series series;
    dr_kafka_nag nag; /* the thread's own */
    pthread_t thread;
    bool started;

    pthread_mutex_t lock; /* of all below */
    pthread_cond_t changed;
    item *first, **last;
    int waiting; /* in the list */
    int sending; /* taken from it */
    bool stopped;
    int64_t busy_since_ms; /* 0: idle */
    dr_error fatal;
};

static const char *const state_names[] = { "succeeded", "failed", "canceled", "expired" };

/* --- items ---------------------------------------------------------------------------------- */

static void item_free(item *i)
{
    if (!i)
        return;
    dr_result_free(i->result);
    if (i->dead)
        rd_kafka_message_destroy(i->dead);
    if (i->headers)
        rd_kafka_headers_destroy(i->headers);
    free(i->bytes);
    free(i);
}

/* The pictures are in the message now. */
static void free_pictures(dr_result *result)
{
    for (int i = 0; i < result->pictures; i++) {
        free(result->picture[i].bytes);
        result->picture[i].bytes = NULL;
        result->picture[i].size = 0;
    }
    result->pictures = 0;
}

static dr_status encode(dr_publisher *p, item *i, dr_error *err)
{
    free(i->bytes);
    i->bytes = NULL;
    return dr_result_encode(i->result, p->worker, &i->bytes, &i->size, err);
}

/* Instead of the pictures, why there are none. */
static dr_status encode_failure(dr_publisher *p, item *i, const dr_error *why, dr_error *err)
{
    dr_log_warn("publisher", "job %s: %s", i->result->job->id, why->text);
    free_pictures(i->result);
    i->result->error = *why;
    return encode(p, i, err);
}

static item *result_item(dr_publisher *p, dr_result *result)
{
    item *i = calloc(1, sizeof(*i));
    dr_error why, err;

    if (!i)
        return NULL;
    i->result = result;
    i->origin = result->job->origin;
    i->topic = result->job->reply_topic ? result->job->reply_topic : p->results_topic;
    if (encode(p, i, &why) && encode_failure(p, i, &why, &err)) {
        i->result = NULL; /* still the caller's */
        item_free(i);
        return NULL;
    }
    free_pictures(result);
    return i;
}

/* --- the queue -------------------------------------------------------------------------------- */

/* Takes i. */
static void enqueue(dr_publisher *p, item *i)
{
    pthread_mutex_lock(&p->lock);
    while (p->waiting >= DR_PUBLISH_WAITING_MAX && !p->stopped)
        pthread_cond_wait(&p->changed, &p->lock);
    if (!p->stopped) {
        i->next = NULL;
        *p->last = i;
        p->last = &i->next;
        p->waiting++;
        i = NULL;
        pthread_cond_broadcast(&p->changed);
    }
    pthread_mutex_unlock(&p->lock);
    item_free(i);
}

void dr_publisher_put(dr_publisher *p, dr_result *result)
{
    item *i = result_item(p, result);

    if (i) {
        enqueue(p, i);
        return;
    }
    /* No memory even for the failure: the offset stays uncommitted, so the job is done again. */
    dr_log_error("publisher", "job %s: no memory for its result", result->job->id);
    dr_source_drop(p->source, &result->job->origin);
    dr_result_free(result);
}

void dr_publisher_put_dead(dr_publisher *p, rd_kafka_message_t *message, const dr_error *why)
{
    item *i = calloc(1, sizeof(*i));
    const dr_job_origin origin = { .partition = message->partition, .offset = message->offset };

    if (!i) {
        dr_log_error("publisher", "offset %lld: no memory for its dead letter", (long long)message->offset);
        dr_source_drop(p->source, &origin);
        rd_kafka_message_destroy(message);
        return;
    }
    i->origin = origin;
    i->dead = message;
    i->why = *why;
    i->topic = p->dead_letters_topic;
    enqueue(p, i);
}

/* What goes into the next transaction; waits for it, at most IDLE_MS.  False: it is time to end. */
static bool dequeue(dr_publisher *p, item **group, size_t *count)
{
    const int64_t until_ms = dr_clock_ms() + IDLE_MS;
    size_t bytes = 0;
    bool go_on;

    *count = 0;
    pthread_mutex_lock(&p->lock);
    while (!p->first && !p->stopped && dr_cond_wait_until(&p->changed, &p->lock, until_ms))
        ;
    while (p->first && *count < DR_PUBLISH_ITEMS_MAX && !p->stopped) {
        item *i = p->first;
        if (*count > 0 && bytes + i->size > DR_PUBLISH_BYTES_MAX)
            break;
        bytes += i->size;
        p->first = i->next;
        if (!p->first)
            p->last = &p->first;
        p->waiting--;
        p->sending++;
        group[(*count)++] = i;
    }
    p->busy_since_ms = *count > 0 ? dr_clock_ms() : 0;
    go_on = !p->stopped;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    return go_on;
}

/* --- one transaction --------------------------------------------------------------------------- */

static bool stopped(dr_publisher *p)
{
    bool yes;

    pthread_mutex_lock(&p->lock);
    yes = p->stopped;
    pthread_mutex_unlock(&p->lock);
    return yes;
}

static void pause_ms(dr_publisher *p, int ms)
{
    const int64_t until_ms = dr_clock_ms() + ms;

    pthread_mutex_lock(&p->lock);
    while (!p->stopped && dr_cond_wait_until(&p->changed, &p->lock, until_ms))
        ;
    pthread_mutex_unlock(&p->lock);
}

static void set_fatal(dr_publisher *p, const dr_error *err)
{
    pthread_mutex_lock(&p->lock);
    p->fatal = *err;
    pthread_mutex_unlock(&p->lock);
}

static dr_record record_of(dr_publisher *p, item *i)
{
    dr_record r = { .topic = i->topic, .headers = i->headers };

    if (i->result) {
        r.key = i->result->job->id;
        r.key_size = strlen(i->result->job->id);
        r.value = i->bytes;
        r.value_size = i->size;
    } else {
        r.key = i->dead->key;
        r.key_size = i->dead->key_len;
        r.value = i->without_value ? NULL : i->dead->payload;
        r.value_size = i->without_value ? 0 : i->dead->len;
        if (!i->headers)
            r.headers = i->headers = dr_dead_letter_headers(i->dead, dr_source_topic(p->source),
                                                            dr_source_group(p->source), &i->why);
    }
    return r;
}

/* Drop what is not ours (any more), keep the order of the rest. */
static void sift(dr_publisher *p, item **group, size_t *count, dr_settled *settled)
{
    size_t kept = 0;

    for (size_t n = 0; n < *count; n++) {
        item *i = group[n];
        if (!settled[n].ours) {
            dr_log_info("publisher", "partition %d offset %lld: its result is left to another worker",
                        (int)i->origin.partition, (long long)i->origin.offset);
            dr_series_add(p->series.dropped, 1);
            item_free(i);
            continue;
        }
        if (i->result) {
            if (i->headers)
                rd_kafka_headers_destroy(i->headers);
            i->headers = settled[n].headers;
            if (!i->headers)
                i->headers = rd_kafka_headers_new(1);
            rd_kafka_header_remove(i->headers, "content-type");
            rd_kafka_header_add(i->headers, "content-type", -1, "application/x-protobuf", -1);
        } else if (settled[n].headers) {
            rd_kafka_headers_destroy(settled[n].headers); /* a dead letter has all of its own */
        }
        group[kept++] = i;
    }
    *count = kept;
}

/* The broker will never take this one as it is.  False: nor anything that could be made of it. */
static bool amend(dr_publisher *p, item *i, rd_kafka_resp_err_t code)
{
    dr_error why, err;

    if (i->result && i->topic != p->results_topic && code != RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE) {
        dr_log_warn("publisher", "job %s: its reply topic %s: %s; the result goes to %s", i->result->job->id,
                    i->topic, rd_kafka_err2str(code), p->results_topic);
        i->topic = p->results_topic;
        return true;
    }
    if (code != RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE)
        return false;
    if (i->dead && !i->without_value) {
        i->without_value = true;
        return true;
    }
    if (!i->result || i->result->error.status)
        return false;
    dr_fail(&why, DR_EIO,
            "the result has %zu bytes, more than the broker takes for %s: ask for fewer images or "
            "for jpeg or webp, or raise the topic's max.message.bytes",
            i->size, i->topic);
    why.retriable = false;
    return encode_failure(p, i, &why, &err) == DR_OK;
}

static void count_committed(dr_publisher *p, item **group, size_t count, double seconds)
{
    for (size_t n = 0; n < count; n++) {
        const item *i = group[n];
        if (i->dead)
            dr_series_add(p->series.dead_letters, 1);
        for (size_t s = 0; i->result && s < 4; s++)
            if (strcmp(dr_result_state_name(i->result), state_names[s]) == 0)
                dr_series_add(p->series.state[s], 1);
        dr_series_add(p->series.bytes, (double)i->size);
    }
    dr_series_observe(p->series.seconds, seconds);
}

/* Deal with an answer that is not DR_SENT.  False: it can't go on. */
static bool recover(dr_publisher *p, dr_sent sent, item **group, const dr_record *records, size_t count,
                    int attempt, dr_error *err)
{
    int pause = PAUSE_MIN_MS << (attempt < 6 ? attempt : 6);
    bool amended = false;

    dr_series_add(p->series.aborted, 1);
    if (sent == DR_SENT_NEVER) {
        set_fatal(p, err);
        return false;
    }
    for (size_t n = 0; n < count && sent == DR_SENT_REFUSED; n++)
        if (records[n].error)
            amended |= amend(p, group[n], records[n].error);
    if (amended)
        return true;
    if (dr_kafka_nag_due(&p->nag))
        dr_log_warn("publisher", "%zu results: %s; still trying", count, err->text);
    if (sent == DR_SENT_UNKNOWN)
        while (!stopped(p) && dr_source_reread(p->source, err))
            pause_ms(p, PAUSE_MAX_MS);
    pause_ms(p, pause < PAUSE_MAX_MS ? pause : PAUSE_MAX_MS);
    return true;
}

/* One try: true when the group is committed or dropped. */
static bool try_group(dr_publisher *p, item **group, size_t *count, dr_sent *sent, dr_record *records,
                      dr_error *err)
{
    dr_settled settled[DR_PUBLISH_ITEMS_MAX];
    const double begin_s = dr_clock_s();
    dr_commit *commit;

    for (size_t n = 0; n < *count; n++)
        settled[n] = (dr_settled){ .origin = group[n]->origin };
    *sent = DR_SENT_AGAIN;
    if (dr_source_plan(p->source, settled, *count, &commit, err))
        return false;
    sift(p, group, count, settled);
    if (!commit)
        return true;
    for (size_t n = 0; n < *count; n++)
        records[n] = record_of(p, group[n]);
    *sent = dr_outbox_send(p->outbox, records, *count, commit, err);
    if (*sent != DR_SENT) {
        dr_commit_free(commit);
        return false;
    }
    dr_source_committed(p->source, commit);
    count_committed(p, group, *count, dr_clock_s() - begin_s);
    return true;
}

/* Takes the items. */
static void publish(dr_publisher *p, item **group, size_t count)
{
    dr_record records[DR_PUBLISH_ITEMS_MAX];
    dr_error err;
    dr_sent sent;

    for (int attempt = 0; !stopped(p); attempt++) {
        if (!dr_source_wait_lease(p->source, IDLE_MS) || dr_source_fatal(p->source, &err)) {
            pause_ms(p, PAUSE_MIN_MS); /* a fatal source ends the worker, and soon stops this thread */
            continue;
        }
        if (try_group(p, group, &count, &sent, records, &err) ||
            !recover(p, sent, group, records, count, attempt, &err))
            break;
    }
    for (size_t n = 0; n < count; n++)
        item_free(group[n]);
}

static bool can_go_on(dr_publisher *p)
{
    bool yes;

    pthread_mutex_lock(&p->lock);
    yes = p->fatal.status == DR_OK;
    pthread_mutex_unlock(&p->lock);
    return yes;
}

static void *publisher_thread(void *arg)
{
    dr_publisher *p = arg;
    item *group[DR_PUBLISH_ITEMS_MAX];
    dr_error err;
    dr_sent sent;
    size_t count;

    while (!stopped(p) && (sent = dr_outbox_prepare(p->outbox, &err)) != DR_SENT)
        if (sent == DR_SENT_NEVER) {
            set_fatal(p, &err);
            return NULL;
        }
    while (can_go_on(p) && dequeue(p, group, &count)) {
        dr_outbox_idle(p->outbox);
        if (count > 0 || dr_source_wait_lease(p->source, 0))
            publish(p, group, count); /* of none: only the offsets of markers */
        pthread_mutex_lock(&p->lock);
        p->sending = 0;
        p->busy_since_ms = 0;
        pthread_cond_broadcast(&p->changed);
        pthread_mutex_unlock(&p->lock);
    }
    return NULL;
}

/* --- start, drain, stop -------------------------------------------------------------------------- */

static void make_series(series *s, dr_metrics *m)
{
    static const char *const labels[] = { "state=\"succeeded\"", "state=\"failed\"", "state=\"canceled\"",
                                          "state=\"expired\"" };
    static const double bounds[] = { 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15 };

    for (int i = 0; i < 4; i++)
        s->state[i] =
            dr_metrics_counter(m, "darkroom_jobs_total", "Jobs whose result is committed.", labels[i]);
    s->dead_letters =
        dr_metrics_counter(m, "darkroom_dead_letters_total", "Messages that were not jobs.", "");
    s->dropped = dr_metrics_counter(m, "darkroom_results_dropped_total",
                                    "Results made here for partitions that have gone to another worker.", "");
    s->aborted = dr_metrics_counter(m, "darkroom_transactions_aborted_total",
                                    "Transactions that had to be made again.", "");
    s->bytes = dr_metrics_counter(m, "darkroom_result_bytes_total", "Bytes of committed results.", "");
    s->seconds = dr_metrics_histogram(m, "darkroom_transaction_seconds",
                                      "From the first record of a transaction to its commit.", "", bounds,
                                      sizeof(bounds) / sizeof(bounds[0]));
}

dr_status dr_publisher_start(dr_publisher **out, const dr_publisher_options *options, dr_error *err)
{
    dr_publisher *p = calloc(1, sizeof(*p));
    dr_status rc;

    *out = NULL;
    if (!p)
        return dr_fail(err, DR_ENOMEM, "publisher: no memory");
    pthread_mutex_init(&p->lock, NULL);
    dr_cond_init(&p->changed);
    p->last = &p->first;
    p->source = options->source;
    p->results_topic = strdup(options->results_topic);
    p->dead_letters_topic = strdup(options->dead_letters_topic);
    p->worker = strdup(options->worker);
    make_series(&p->series, options->metrics);
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
    while (p->waiting + p->sending > 0 && !p->fatal.status &&
           dr_cond_wait_until(&p->changed, &p->lock, until_ms))
        ;
    empty = p->waiting + p->sending == 0;
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
    while (p->first) {
        item *i = p->first;
        p->first = i->next;
        item_free(i);
    }
    dr_outbox_close(p->outbox);
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->lock);
    free(p->results_topic);
    free(p->dead_letters_topic);
    free(p->worker);
    free(p);
}

void dr_publisher_state_get(dr_publisher *p, dr_publisher_state *state)
{
    pthread_mutex_lock(&p->lock);
    state->waiting = p->waiting + p->sending;
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

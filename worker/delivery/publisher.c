#include "worker/delivery/publisher.h"

#include "worker/delivery/parcel.h"
#include "worker/support/clock.h"
#include "worker/support/log.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
    IDLE_MS = 1000,    /* markers at the end of a partition are committed this late */
    PAUSE_MIN_MS = 50, /* after a transaction that was aborted; doubled up to */
    PAUSE_MAX_MS = 3000,
    LOOK_MS = 5000,  /* between two looks at the topics while there is something to do */
    ASIDE_MS = 3000, /* until what is set aside is tried again */
    MEMORY_TRIES_MAX =
        200, /* PAUSE_MIN_MS apart: then a result is one without its pictures, to be asked for again */
};

typedef struct series {
    dr_series *state[4]; /* in the order of state_names */
    dr_series *dead_letters, *unanswered, *dropped, *aborted, *bytes, *seconds;
} series;

struct dr_publisher {
    dr_outbox *outbox;
    dr_books *books;
    char *results_topic, *dead_letters_topic, *worker;
    series series;
    dr_kafka_nag nag; /* the thread's own */
    int64_t look_ms;  /* likewise: when the topics are looked at again */
    pthread_t thread;
    bool started;

    pthread_mutex_t lock; /* of all below */
    pthread_cond_t changed;
    dr_parcel *first, **last;
    dr_parcel *aside; /* for topics that can't be written to now */
    int waiting;      /* in both lists */
    size_t waiting_bytes;
    int aside_count;
    int64_t aside_until_ms;
    int sending; /* taken from it */
    bool stopped;
    int64_t busy_since_ms; /* 0: idle */
    dr_error fatal;
    dr_error trouble; /* of the last send, or of what is set aside */
    dr_error topics;  /* of the last look at them */
};

static const char *const state_names[] = { "succeeded", "failed", "canceled", "expired" };

/* --- the queue -------------------------------------------------------------------------------- */

/* The first may be of any size.  Under the lock. */
static bool has_room(const dr_publisher *p, const dr_parcel *parcel)
{
    return p->waiting == 0 || (p->waiting < DR_PUBLISH_WAITING_MAX &&
                               p->waiting_bytes + dr_parcel_bytes(parcel) <= DR_PUBLISH_BYTES_MAX);
}

/* Takes it. */
static void enqueue(dr_publisher *p, dr_parcel *parcel)
{
    pthread_mutex_lock(&p->lock);
    while (!has_room(p, parcel) && !p->stopped)
        pthread_cond_wait(&p->changed, &p->lock);
    if (!p->stopped) {
        parcel->next = NULL;
        *p->last = parcel;
        p->last = &parcel->next;
        p->waiting++;
        p->waiting_bytes += dr_parcel_bytes(parcel);
        parcel = NULL;
        pthread_cond_broadcast(&p->changed);
    }
    pthread_mutex_unlock(&p->lock);
    dr_parcel_free(parcel);
}

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

/* Memory lacks: what waits is waited for, and gives some back.  False: it is time to end, and what has no parcel stays
 * uncommitted, so that its job is done again. */
static bool wait_for_memory(dr_publisher *p, int tries, const dr_job_origin *origin)
{
    if (tries == 1)
        dr_log_warn("publisher", "partition %d offset %lld: no memory for its answer; still trying",
                    (int)origin->partition, (long long)origin->offset);
    pause_ms(p, PAUSE_MIN_MS);
    return !stopped(p);
}

void dr_publisher_put(dr_publisher *p, dr_result *result)
{
    const dr_job_origin origin = result->job->origin;
    dr_parcel *parcel;
    dr_error why;

    for (int tries = 1; !(parcel = dr_parcel_of_result(result, p->worker, p->results_topic)); tries++) {
        if (tries == MEMORY_TRIES_MAX && result->pictures > 0) {
            dr_fail(&why, DR_ENOMEM, "no memory for a message with its pictures");
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

/* Under the lock. */
static void take_first(dr_publisher *p, dr_parcel **list, dr_parcel **group, size_t *count)
{
    dr_parcel *parcel = *list;

    *list = parcel->next;
    p->waiting--;
    p->waiting_bytes -= dr_parcel_bytes(parcel);
    p->sending++;
    group[(*count)++] = parcel;
}

/* By themselves, so that they keep nobody.  Under the lock. */
static void take_aside(dr_publisher *p, dr_parcel **group, size_t *count)
{
    while (p->aside && *count < DR_PUBLISH_ITEMS_MAX) {
        take_first(p, &p->aside, group, count);
        p->aside_count--;
    }
}

static void take_waiting(dr_publisher *p, dr_parcel **group, size_t *count)
{
    size_t bytes = 0;

    while (p->first && *count < DR_PUBLISH_ITEMS_MAX &&
           (*count == 0 || bytes + dr_parcel_bytes(p->first) <= DR_PUBLISH_BYTES_MAX)) {
        bytes += dr_parcel_bytes(p->first);
        take_first(p, &p->first, group, count);
    }
    if (!p->first)
        p->last = &p->first;
}

/* What goes into the next transaction; waits for it, at most IDLE_MS.  False: it is time to end. */
static bool dequeue(dr_publisher *p, dr_parcel **group, size_t *count)
{
    const int64_t until_ms = dr_clock_ms() + IDLE_MS;
    bool go_on;

    *count = 0;
    pthread_mutex_lock(&p->lock);
    while (!p->first && !p->stopped && dr_cond_wait_until(&p->changed, &p->lock, until_ms))
        ;
    if (!p->stopped && p->aside && dr_clock_ms() >= p->aside_until_ms)
        take_aside(p, group, count);
    else if (!p->stopped)
        take_waiting(p, group, count);
    p->busy_since_ms = *count > 0 ? dr_clock_ms() : 0;
    go_on = !p->stopped;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    return go_on;
}

/* Back from a group, to be taken next (to the front of the queue), or for later. */
static void put_back(dr_publisher *p, dr_parcel *parcel, bool aside)
{
    dr_parcel **list = aside ? &p->aside : &p->first;

    pthread_mutex_lock(&p->lock);
    if (list == &p->first && !p->first)
        p->last = &parcel->next;
    parcel->next = *list;
    *list = parcel;
    p->waiting++;
    p->waiting_bytes += dr_parcel_bytes(parcel);
    p->sending--;
    if (aside) {
        p->aside_count++;
        p->aside_until_ms = dr_clock_ms() + ASIDE_MS;
    }
    pthread_mutex_unlock(&p->lock);
}

/* --- one transaction --------------------------------------------------------------------------- */

static void set_fatal(dr_publisher *p, const dr_error *err)
{
    pthread_mutex_lock(&p->lock);
    p->fatal = *err;
    pthread_mutex_unlock(&p->lock);
}

/* NULL: there is none any more, but what was set aside. */
static void set_trouble(dr_publisher *p, const dr_error *err)
{
    pthread_mutex_lock(&p->lock);
    if (err)
        p->trouble = *err;
    else if (p->aside_count == 0)
        p->trouble.status = DR_OK;
    pthread_mutex_unlock(&p->lock);
}

/* Drop what is not ours (any more), keep the order of the rest. */
static void sift(dr_publisher *p, dr_parcel **group, size_t *count, dr_commit_entry *entries)
{
    size_t kept = 0;

    for (size_t n = 0; n < *count; n++) {
        dr_parcel *parcel = group[n];
        if (!entries[n].ours) {
            dr_log_info("publisher", "partition %d offset %lld: its result is left to another worker",
                        (int)parcel->origin.partition, (long long)parcel->origin.offset);
            dr_series_add(p->series.dropped, !parcel->lost);
            dr_parcel_free(parcel);
            continue;
        }
        dr_parcel_carry(parcel, entries[n].headers);
        group[kept++] = parcel;
    }
    *count = kept;
}

/* Those that have a record first, the order kept; returns how many. */
static size_t records_first(dr_parcel **group, size_t count)
{
    dr_parcel *rest[DR_PUBLISH_ITEMS_MAX];
    size_t records = 0, without = 0;

    for (size_t n = 0; n < count; n++)
        if (dr_parcel_has_record(group[n]))
            group[records++] = group[n];
        else
            rest[without++] = group[n];
    memcpy(group + records, rest, without * sizeof(rest[0]));
    return records;
}

static void count_committed(dr_publisher *p, dr_parcel **group, size_t count, double seconds)
{
    for (size_t n = 0; n < count; n++) {
        const dr_parcel *parcel = group[n];
        if (parcel->given_up) {
            dr_series_add(p->series.unanswered, 1);
            continue;
        }
        if (parcel->dead)
            dr_series_add(p->series.dead_letters, 1);
        for (size_t s = 0; parcel->result && s < 4; s++)
            if (strcmp(dr_result_state_name(parcel->result), state_names[s]) == 0)
                dr_series_add(p->series.state[s], 1);
        dr_series_add(p->series.bytes, (double)parcel->size);
    }
    dr_series_observe(p->series.seconds, seconds);
}

/* What was refused becomes something else, or is set aside.  False: nothing changed. */
static bool amend(dr_publisher *p, dr_parcel **group, const dr_record *records, size_t *count)
{
    bool changed = false;
    size_t kept = 0;

    for (size_t n = 0; n < *count; n++) {
        dr_parcel *parcel = group[n];
        const dr_record *record = &records[n];
        if (record->error && dr_parcel_has_record(parcel)) {
            changed = true;
            if (dr_parcel_amend(parcel, record) == DR_SET_ASIDE) {
                put_back(p, parcel, true);
                continue;
            }
        }
        group[kept++] = parcel;
    }
    *count = kept;
    return changed;
}

/* Only those of the first one's topic stay. */
static void send_apart(dr_publisher *p, dr_parcel **group, size_t *count)
{
    size_t kept = 0;

    for (size_t n = 0; n < *count; n++)
        if (!dr_parcel_has_record(group[n]) || strcmp(group[n]->topic, group[0]->topic) == 0)
            group[kept++] = group[n];
        else
            put_back(p, group[n], false);
    *count = kept;
}

static void complain(dr_publisher *p, size_t count, const dr_error *err)
{
    set_trouble(p, err);
    if (dr_kafka_nag_due(&p->nag))
        dr_log_warn("publisher", "%zu results: %s; still trying", count, err->text);
}

/* Deal with an answer that is not DR_SENT.  False: it can't go on. */
static bool recover(dr_publisher *p, dr_sent sent, dr_parcel **group, const dr_record *records, size_t *count,
                    int attempt, dr_error *err)
{
    const int pause = PAUSE_MIN_MS << (attempt < 6 ? attempt : 6);
    const size_t all = *count;

    dr_series_add(p->series.aborted, 1);
    if (sent == DR_SENT_NEVER) {
        set_fatal(p, err);
        return false;
    }
    if (sent == DR_SENT_REFUSED && amend(p, group, records, count)) {
        if (*count < all)
            complain(p, all - *count, err);
        return true;
    }
    if (sent == DR_SENT_APART) {
        send_apart(p, group, count);
        if (*count < all)
            return true;
    }
    complain(p, *count, err);
    if (sent == DR_SENT_UNKNOWN)
        while (!stopped(p) && dr_books_reread(p->books, err))
            pause_ms(p, PAUSE_MAX_MS);
    pause_ms(p, pause < PAUSE_MAX_MS ? pause : PAUSE_MAX_MS);
    return true;
}

/* One try: true when the group is committed or dropped. */
static bool try_group(dr_publisher *p, dr_parcel **group, size_t *count, dr_sent *sent, dr_record *records,
                      dr_error *err)
{
    dr_commit_entry entries[DR_PUBLISH_ITEMS_MAX];
    const double begin_s = dr_clock_s();
    const size_t all = *count;
    dr_commit *commit;
    size_t sending;

    for (size_t n = 0; n < *count; n++)
        entries[n] = (dr_commit_entry){ .origin = group[n]->origin, .lost = group[n]->lost };
    *sent = DR_SENT_AGAIN;
    if (dr_books_plan(p->books, entries, *count, &commit, err))
        return false;
    sift(p, group, count, entries);
    if (*count == 0 && all > 0) /* what kept these from being sent is no trouble of ours any more */
        set_trouble(p, NULL);
    if (!commit)
        return true;
    sending = records_first(group, *count);
    for (size_t n = 0; n < *count; n++)
        records[n] = n < sending
                         ? dr_parcel_record(group[n], dr_books_topic(p->books), dr_books_group(p->books))
                         : (dr_record){ .topic = NULL };
    *sent = dr_outbox_send(p->outbox, records, sending, commit, err);
    if (*sent != DR_SENT) {
        dr_commit_free(commit);
        return false;
    }
    dr_books_committed(p->books, commit);
    count_committed(p, group, *count, dr_clock_s() - begin_s);
    if (sending > 0) /* offsets alone say nothing of the topics */
        set_trouble(p, NULL);
    return true;
}

/* Takes the parcels. */
static void publish(dr_publisher *p, dr_parcel **group, size_t count)
{
    dr_record records[DR_PUBLISH_ITEMS_MAX];
    dr_error err;
    dr_sent sent;

    for (int attempt = 0; !stopped(p); attempt++) {
        if (!dr_books_wait_lease(p->books, IDLE_MS) || dr_books_fatal(p->books, &err)) {
            pause_ms(p, PAUSE_MIN_MS); /* a fatal source ends the worker, and soon stops this thread */
            continue;
        }
        if (try_group(p, group, &count, &sent, records, &err) ||
            !recover(p, sent, group, records, &count, attempt, &err))
            break;
    }
    for (size_t n = 0; n < count; n++)
        dr_parcel_free(group[n]);
}

static bool can_go_on(dr_publisher *p)
{
    bool yes;

    pthread_mutex_lock(&p->lock);
    yes = p->fatal.status == DR_OK;
    pthread_mutex_unlock(&p->lock);
    return yes;
}

/* So that what is wrong is known before something is to be written there: often with nothing to do, else once in a while. */
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
    dr_parcel *group[DR_PUBLISH_ITEMS_MAX];
    dr_error err;
    dr_sent sent;
    size_t count;

    while (!stopped(p) && (sent = dr_outbox_prepare(p->outbox, &err)) != DR_SENT)
        if (sent == DR_SENT_NEVER) {
            set_fatal(p, &err);
            return NULL;
        }
    look_at_topics(p, true);
    while (can_go_on(p) && dequeue(p, group, &count)) {
        dr_outbox_idle(p->outbox);
        look_at_topics(p, count == 0);
        if (count > 0 || dr_books_wait_lease(p->books, 0))
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
    s->unanswered = dr_metrics_counter(
        m, "darkroom_unanswered_total",
        "Messages that were finished without an answer: none was small enough for the broker.", "");
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
    p->books = options->books;
    dr_fail(&p->topics, DR_EIO, "its topics have not been looked at yet");
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

static void free_list(dr_parcel *list)
{
    while (list) {
        dr_parcel *parcel = list;
        list = parcel->next;
        dr_parcel_free(parcel);
    }
}

void dr_publisher_stop(dr_publisher *p)
{
    if (!p)
        return;
    dr_publisher_cancel(p);
    if (p->started)
        pthread_join(p->thread, NULL);
    free_list(p->first);
    free_list(p->aside);
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
    state->aside = p->aside_count;
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

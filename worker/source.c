#include "worker/source.h"

#include "worker/clock.h"
#include "worker/log.h"
#include "worker/partitions.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    POLL_MS = 100,        /* the poll thread looks around this often, whatever wakes it or not */
    ASK_BROKER_MS = 5000, /* one try of a request in a rebalance */
};

typedef struct lease {
    int references; /* under the source's lock: the source, and each commit made under it */
    rd_kafka_consumer_group_metadata_t *group;
} lease;

struct dr_source {
    char *topic, *group;
    rd_kafka_t *rk;
    rd_kafka_queue_t *events; /* rebalances, errors, statistics */
    pthread_t thread;
    bool started;
    int wake; /* eventfd: a queue is no longer empty, there is room, or it is time to go */

    pthread_mutex_t lock;   /* of all below */
    pthread_cond_t changed; /* ready, lease, stopped */
    dr_partitions partitions;
    lease *lease;                                   /* NULL between a revocation and the next assignment */
    rd_kafka_message_t *ready[DR_SOURCE_READY_MAX]; /* a ring */
    size_t ready_first, ready_count;
    bool stopped, closing;
    bool broker_up;
    int64_t rebalances, polled_ms;
    dr_error fatal;
    dr_kafka_nag broker_nag, error_nag; /* the polling thread's own */
};

/* --- leases --------------------------------------------------------------------------- */

static void lease_unref(lease *l)
{
    if (!l || --l->references > 0)
        return;
    rd_kafka_consumer_group_metadata_destroy(l->group);
    free(l);
}

static lease *lease_create(rd_kafka_t *rk)
{
    lease *l = calloc(1, sizeof(*l));

    if (!l)
        return NULL;
    l->references = 1;
    l->group = rd_kafka_consumer_group_metadata(rk);
    if (l->group)
        return l;
    free(l);
    return NULL;
}

/* --- the ring of ready messages: under the lock ---------------------------------------- */

static void wake(dr_source *s)
{
    const uint64_t one = 1;

    if (write(s->wake, &one, sizeof(one)) < 0)
        dr_assert(errno == EAGAIN); /* then it is awake already */
}

static rd_kafka_message_t *ready_pop(dr_source *s)
{
    rd_kafka_message_t *m = s->ready[s->ready_first];

    dr_assert(s->ready_count > 0);
    s->ready_first = (s->ready_first + 1) % DR_SOURCE_READY_MAX;
    s->ready_count--;
    return m;
}

static void ready_push(dr_source *s, rd_kafka_message_t *m)
{
    dr_assert(s->ready_count < DR_SOURCE_READY_MAX);
    s->ready[(s->ready_first + s->ready_count++) % DR_SOURCE_READY_MAX] = m;
}

/* After an assignment: keep the messages whose partition came back and that nobody finished meanwhile. */
static void ready_sift(dr_source *s)
{
    for (size_t n = s->ready_count; n > 0; n--) {
        rd_kafka_message_t *m = ready_pop(s);
        const dr_partition *p = dr_partitions_find(&s->partitions, m->partition);
        if (p && dr_ledger_is_running(&p->ledger, m->offset))
            ready_push(s, m);
        else
            rd_kafka_message_destroy(m);
    }
}

/* --- assignment: the polling thread, inside rd_kafka_consumer_poll() -------------------- */

static bool closing(dr_source *s)
{
    bool yes;

    pthread_mutex_lock(&s->lock);
    yes = s->closing;
    s->polled_ms = dr_clock_ms();
    pthread_mutex_unlock(&s->lock);
    return yes;
}

/* The group's offsets with their metadata.  Waits for transactions that are still being committed, since the consumer
 * reads committed only.  Tries until it has them: without them nothing may run. */
static rd_kafka_resp_err_t ask_committed(dr_source *s, rd_kafka_topic_partition_list_t *list)
{
    rd_kafka_resp_err_t code;

    do {
        code = rd_kafka_committed(s->rk, list, ASK_BROKER_MS);
        for (int i = 0; i < list->cnt && !code; i++)
            code = list->elems[i].err;
        if (code && dr_kafka_nag_due(&s->error_nag))
            dr_log_warn("source", "reading the committed offsets of group %s: %s; still trying", s->group,
                        rd_kafka_err2str(code));
    } while (code && !closing(s));
    return code;
}

static rd_kafka_resp_err_t ask_ends(dr_source *s, int32_t partition, int64_t *low, int64_t *high)
{
    rd_kafka_resp_err_t code;

    do {
        code = rd_kafka_query_watermark_offsets(s->rk, s->topic, partition, low, high, ASK_BROKER_MS);
        if (code && dr_kafka_nag_due(&s->error_nag))
            dr_log_warn("source", "reading the ends of %s[%d]: %s; still trying", s->topic, (int)partition,
                        rd_kafka_err2str(code));
    } while (code && !closing(s));
    return code;
}

/* Where to begin: the committed offset, moved into what the log still has. */
static void restore(dr_source *s, dr_partition *p, const rd_kafka_topic_partition_t *committed, int64_t low,
                    int64_t high)
{
    char *text = NULL;
    dr_error err;

    p->end = high;
    if (committed->metadata && committed->metadata_size > 0)
        text = strndup(committed->metadata, committed->metadata_size);
    if (committed->offset < 0) {
        dr_ledger_reset(&p->ledger, low);
    } else if (committed->offset > high) {
        dr_log_warn("source",
                    "%s[%d]: offset %" PRId64 " is beyond the end %" PRId64
                    ": the topic was made anew; starting at %" PRId64,
                    s->topic, (int)p->id, committed->offset, high, low);
        dr_ledger_reset(&p->ledger, low);
    } else {
        p->committed = committed->offset;
        if (dr_ledger_restore(&p->ledger, committed->offset, text, &err))
            dr_log_warn("source", "%s[%d]: %s; starting there without it", s->topic, (int)p->id, err.text);
        if (committed->offset < low) {
            dr_log_warn("source", "%s[%d]: %" PRId64 " offsets were deleted before they were read", s->topic,
                        (int)p->id, low - committed->offset);
            dr_ledger_reach(&p->ledger, low);
        }
    }
    free(text);
}

/* The books of the partitions in `list`, whose offsets become where to read from. */
static dr_status open_books(dr_source *s, rd_kafka_topic_partition_list_t *list, dr_partitions *books,
                            dr_error *err)
{
    const uint64_t one = 1;
    dr_status rc = DR_OK;

    for (int i = 0; i < list->cnt && !rc; i++) {
        rd_kafka_topic_partition_t *at = &list->elems[i];
        dr_partition *p;
        int64_t low, high;
        if (ask_ends(s, at->partition, &low, &high))
            return dr_fail(err, DR_ECANCELED, "source: closing");
        rc = dr_partitions_add(books, at->partition, &p, err);
        if (rc)
            break;
        restore(s, p, at, low, high);
        at->offset = p->ledger.next;
        /* Its messages stay in a queue of their own, to be left there while there is no room. */
        p->queue = rd_kafka_queue_get_partition(s->rk, s->topic, at->partition);
        if (!p->queue)
            return dr_fail(err, DR_EIO, "%s[%d]: librdkafka has no such partition", s->topic, (int)p->id);
        rd_kafka_queue_forward(p->queue, NULL);
        rd_kafka_queue_io_event_enable(p->queue, s->wake, &one, sizeof(one));
    }
    return rc;
}

static void begin_lease(dr_source *s, dr_partitions *books)
{
    dr_partitions old;
    int kept = 0, gone = 0;

    pthread_mutex_lock(&s->lock);
    old = s->partitions;
    s->partitions = *books;
    for (size_t i = 0; i < old.count; i++) {
        dr_partition *p = dr_partitions_find(&s->partitions, old.list[i]->id);
        gone += old.list[i]->ledger.running;
        if (p) {
            dr_partition_adopt(p, old.list[i]);
            kept += p->ledger.running;
        }
    }
    ready_sift(s);
    s->lease = lease_create(s->rk);
    s->broker_up = true;
    s->rebalances++;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    dr_partitions_clear(&old);
    dr_log_info("source", "assigned %zu partitions of %s; %d jobs go on, %d are left to others", books->count,
                s->topic, kept, gone - kept);
}

static void end_lease(dr_source *s)
{
    pthread_mutex_lock(&s->lock);
    lease_unref(s->lease);
    s->lease = NULL;
    for (size_t i = 0; i < s->partitions.count; i++) {
        dr_partition *p = s->partitions.list[i];
        if (p->held)
            rd_kafka_message_destroy(p->held);
        if (p->queue) {
            rd_kafka_queue_io_event_enable(p->queue, -1, NULL, 0);
            rd_kafka_queue_destroy(p->queue);
        }
        p->held = NULL;
        p->queue = NULL;
    }
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

static void on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t *list,
                         void *opaque)
{
    dr_source *s = opaque;
    dr_partitions books = { 0 };
    dr_error err;

    if (code != RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        end_lease(s);
        rd_kafka_assign(rk, NULL);
        return;
    }
    if (ask_committed(s, list) || open_books(s, list, &books, &err)) {
        /* Closing, or out of memory: without partitions this member harms nobody. */
        dr_partitions_clear(&books);
        rd_kafka_assign(rk, NULL);
        return;
    }
    rd_kafka_assign(rk, list);
    begin_lease(s, &books);
}

/* --- other callbacks: the polling thread ------------------------------------------------- */

static void keep_fatal(dr_source *s)
{
    char why[256];
    const rd_kafka_resp_err_t code = rd_kafka_fatal_error(s->rk, why, sizeof(why));

    if (!code)
        return;
    pthread_mutex_lock(&s->lock);
    if (!s->fatal.status)
        dr_fail(&s->fatal, DR_EIO, "group %s: %s: %s", s->group, rd_kafka_err2name(code), why);
    s->fatal.retriable = false;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

static void on_error(rd_kafka_t *rk, int code, const char *reason, void *opaque)
{
    dr_source *s = opaque;

    (void)rk;
    if (code == RD_KAFKA_RESP_ERR__FATAL) {
        keep_fatal(s);
    } else if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) {
        pthread_mutex_lock(&s->lock);
        s->broker_up = false;
        pthread_mutex_unlock(&s->lock);
        if (dr_kafka_nag_due(&s->broker_nag))
            dr_log_warn("source", "no broker can be reached (%s); still trying", reason);
    } else if (code != RD_KAFKA_RESP_ERR__TRANSPORT && dr_kafka_nag_due(&s->error_nag)) {
        dr_log_warn("source", "%s: %s", rd_kafka_err2name((rd_kafka_resp_err_t)code), reason);
    }
}

/* Which brokers answer, and where the partitions end, stand only in librdkafka's statistics. */
static int on_statistics(rd_kafka_t *rk, char *json, size_t size, void *opaque)
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

static void complain(dr_source *s, const rd_kafka_message_t *m)
{
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
        ready_push(s, m);
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
    if (!m)
        m = rd_kafka_consume_queue(p->queue, 0);
    if (!m)
        return false;
    if (m->err && m->err != RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        complain(s, m);
        rd_kafka_message_destroy(m);
        return true;
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

    while (!closing(s)) {
        rd_kafka_message_t *m;
        wait_for_work(s);
        while ((m = rd_kafka_consumer_poll(s->rk, 0))) {
            complain(s, m);
            rd_kafka_message_destroy(m);
        }
        read_partitions(s);
    }
    rd_kafka_consumer_close(s->rk);
    return NULL;
}

/* --- open, take, close ---------------------------------------------------------------------- */

static dr_status configure(dr_source *s, const dr_source_options *options, dr_error *err)
{
    const uint64_t one = 1;
    rd_kafka_conf_t *conf;
    char why[128];
    dr_status rc;

    rc = dr_kafka_conf(&conf, DR_KAFKA_GROUP_CONSUMER, &options->kafka, err);
    if (rc)
        return rc;
    rc = dr_kafka_conf_set(conf, "group.id", options->group, err);
    if (!rc)
        rc = dr_kafka_conf_set(conf, "group.instance.id", options->slot, err);
    if (rc) {
        rd_kafka_conf_destroy(conf);
        return rc;
    }
    /* Since librdkafka 2.2, whose default of a second starves a small prefetch; unknown before. */
    rd_kafka_conf_set(conf, "fetch.queue.backoff.ms", "10", why, sizeof(why));
    rd_kafka_conf_set_opaque(conf, s);
    rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
    rd_kafka_conf_set_error_cb(conf, on_error);
    rd_kafka_conf_set_stats_cb(conf, on_statistics);
    rc = dr_kafka_create(&s->rk, RD_KAFKA_CONSUMER, conf, err);
    if (rc)
        return rc;
    rd_kafka_poll_set_consumer(s->rk);
    s->events = rd_kafka_queue_get_consumer(s->rk);
    rd_kafka_queue_io_event_enable(s->events, s->wake, &one, sizeof(one));
    return DR_OK;
}

static dr_status subscribe(dr_source *s, dr_error *err)
{
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_resp_err_t code;

    rd_kafka_topic_partition_list_add(topics, s->topic, RD_KAFKA_PARTITION_UA);
    code = rd_kafka_subscribe(s->rk, topics);
    rd_kafka_topic_partition_list_destroy(topics);
    if (code)
        return dr_fail(err, DR_EINVAL, "subscribing to %s: %s", s->topic, rd_kafka_err2str(code));
    return DR_OK;
}

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
    s->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (!s->topic || !s->group || s->wake < 0) {
        rc = dr_fail_errno(err, DR_ENOMEM, "source");
        goto out;
    }
    rc = configure(s, options, err);
    if (rc)
        goto out;
    rc = subscribe(s, err);
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
        m = ready_pop(s);
    pthread_mutex_unlock(&s->lock);
    if (m)
        wake(s);
    return m;
}

void dr_source_stop(dr_source *s)
{
    pthread_mutex_lock(&s->lock);
    s->stopped = true;
    while (s->ready_count > 0) {
        rd_kafka_message_t *m = ready_pop(s);
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
        wake(s);
        pthread_join(s->thread, NULL);
    }
    dr_partitions_clear(&s->partitions);
    lease_unref(s->lease);
    if (s->events) {
        rd_kafka_queue_io_event_enable(s->events, -1, NULL, 0);
        rd_kafka_queue_destroy(s->events);
    }
    if (s->rk)
        rd_kafka_destroy(s->rk);
    if (s->wake >= 0)
        close(s->wake);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    free(s->topic);
    free(s->group);
    free(s);
}

/* --- committing -------------------------------------------------------------------------------- */

bool dr_source_wait_lease(dr_source *s, int timeout_ms)
{
    const int64_t until_ms = dr_clock_ms() + timeout_ms;
    bool leased;

    pthread_mutex_lock(&s->lock);
    while (!s->lease && !s->fatal.status && dr_cond_wait_until(&s->changed, &s->lock, until_ms))
        ;
    leased = s->lease != NULL;
    pthread_mutex_unlock(&s->lock);
    return leased;
}

/* The entry of p in a commit, once the settled jobs of it are finished; none where nothing changes. */
static void plan_partition(dr_source *s, const dr_partition *p, dr_settled *settled, size_t count,
                           rd_kafka_topic_partition_list_t *offsets)
{
    dr_ledger plan = p->ledger;
    rd_kafka_topic_partition_t *entry;
    char text[DR_LEDGER_TEXT_MAX];
    bool changed = dr_partition_is_dirty(p);

    for (size_t i = 0; i < count; i++) {
        const rd_kafka_headers_t *kept;
        if (settled[i].origin.partition != p->id || !dr_ledger_is_running(&plan, settled[i].origin.offset))
            continue;
        settled[i].ours = changed = true;
        kept = p->kept[settled[i].origin.offset % DR_LEDGER_WINDOW];
        settled[i].headers = kept ? rd_kafka_headers_copy(kept) : NULL;
        dr_ledger_finish(&plan, settled[i].origin.offset);
    }
    if (!changed)
        return;
    entry = rd_kafka_topic_partition_list_add(offsets, s->topic, p->id);
    entry->offset = plan.next;
    dr_ledger_text(&plan, text);
    if (*text) {
        entry->metadata = strdup(text);
        entry->metadata_size = entry->metadata ? strlen(text) : 0;
    }
}

dr_status dr_source_plan(dr_source *s, dr_settled *settled, size_t count, dr_commit **out, dr_error *err)
{
    dr_commit *c = calloc(1, sizeof(*c));
    dr_status rc = DR_OK;

    *out = NULL;
    for (size_t i = 0; i < count; i++) {
        settled[i].ours = false;
        settled[i].headers = NULL;
    }
    if (c)
        c->origin = calloc(count + 1, sizeof(*c->origin));
    if (!c || !c->origin) {
        free(c);
        return dr_fail(err, DR_ENOMEM, "source: no memory for a commit");
    }
    c->offsets = rd_kafka_topic_partition_list_new(4);
    pthread_mutex_lock(&s->lock);
    if (!s->lease) {
        rc = dr_fail(err, DR_EIO, "group %s: this worker has no partitions now", s->group);
    } else {
        for (size_t i = 0; i < s->partitions.count; i++)
            plan_partition(s, s->partitions.list[i], settled, count, c->offsets);
        s->lease->references++;
        c->lease = s->lease;
        c->group = s->lease->group;
    }
    pthread_mutex_unlock(&s->lock);
    c->source = s;
    for (size_t i = 0; i < count; i++)
        if (settled[i].ours)
            c->origin[c->count++] = settled[i].origin;
    if (!rc && c->offsets->cnt > 0)
        *out = c;
    else
        dr_commit_free(c);
    return rc;
}

void dr_commit_free(dr_commit *c)
{
    if (!c)
        return;
    pthread_mutex_lock(&c->source->lock);
    lease_unref(c->lease);
    pthread_mutex_unlock(&c->source->lock);
    rd_kafka_topic_partition_list_destroy(c->offsets);
    free(c->origin);
    free(c);
}

void dr_source_committed(dr_source *s, dr_commit *c)
{
    pthread_mutex_lock(&s->lock);
    /* Under a later lease the books were read after this commit and know it; finishing again is harmless. */
    for (size_t i = 0; i < c->count; i++) {
        dr_partition *p = dr_partitions_find(&s->partitions, c->origin[i].partition);
        if (p)
            dr_partition_finish(p, c->origin[i].offset);
    }
    for (int i = 0; i < c->offsets->cnt && c->lease == s->lease; i++) {
        dr_partition *p = dr_partitions_find(&s->partitions, c->offsets->elems[i].partition);
        if (p)
            p->committed = c->offsets->elems[i].offset;
    }
    pthread_mutex_unlock(&s->lock);
    dr_commit_free(c);
    wake(s); /* a full window may have moved */
}

/* What runs here and is finished by the group's account.  Under the lock. */
static void take_over(dr_partition *p, const rd_kafka_topic_partition_t *committed)
{
    char *text = committed->metadata ? strndup(committed->metadata, committed->metadata_size) : NULL;
    dr_ledger group;

    if (dr_ledger_restore(&group, committed->offset, text, NULL) == DR_OK)
        for (int64_t o = p->ledger.next; o < p->ledger.read; o++)
            if (dr_ledger_is_finished(&group, o))
                dr_partition_finish(p, o);
    p->committed = committed->offset;
    free(text);
}

dr_status dr_source_reread(dr_source *s, dr_error *err)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(4);
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_NO_ERROR;
    int64_t asked; /* under which lease */

    pthread_mutex_lock(&s->lock);
    asked = s->rebalances;
    for (size_t i = 0; i < s->partitions.count && s->lease; i++)
        rd_kafka_topic_partition_list_add(list, s->topic, s->partitions.list[i]->id);
    pthread_mutex_unlock(&s->lock);
    if (list->cnt > 0)
        code = rd_kafka_committed(s->rk, list, ASK_BROKER_MS);
    for (int i = 0; i < list->cnt && !code; i++)
        code = list->elems[i].err;
    if (!code) {
        pthread_mutex_lock(&s->lock);
        for (int i = 0; i < list->cnt && s->rebalances == asked; i++) {
            dr_partition *p = dr_partitions_find(&s->partitions, list->elems[i].partition);
            if (p && list->elems[i].offset >= 0)
                take_over(p, &list->elems[i]);
        }
        pthread_mutex_unlock(&s->lock);
    }
    rd_kafka_topic_partition_list_destroy(list);
    if (code)
        return dr_fail(err, DR_EIO, "reading the committed offsets of group %s: %s", s->group,
                       rd_kafka_err2str(code));
    return DR_OK;
}

dr_status dr_source_commit_plain(dr_source *s, const dr_commit *c, dr_error *err)
{
    const rd_kafka_resp_err_t code = rd_kafka_commit(s->rk, c->offsets, 0);

    if (code)
        return dr_fail(err, DR_EIO, "committing offsets of group %s: %s", s->group, rd_kafka_err2str(code));
    return DR_OK;
}

void dr_source_drop(dr_source *s, const dr_job_origin *origin)
{
    dr_partition *p;

    pthread_mutex_lock(&s->lock);
    p = dr_partitions_find(&s->partitions, origin->partition);
    if (p)
        dr_partition_drop(p, origin->offset);
    pthread_mutex_unlock(&s->lock);
}

/* --- state --------------------------------------------------------------------------------------- */

void dr_source_state_get(dr_source *s, dr_source_state *state)
{
    *state = (dr_source_state){ 0 };
    pthread_mutex_lock(&s->lock);
    state->leased = s->lease != NULL;
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

const char *dr_source_topic(const dr_source *s)
{
    return s->topic;
}

const char *dr_source_group(const dr_source *s)
{
    return s->group;
}

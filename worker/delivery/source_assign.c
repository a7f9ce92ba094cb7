/* source_assign.c - rebalances: a lease ends, the books are read, a lease begins. */
#include "worker/delivery/source_parts.h"
#include "worker/support/clock.h"
#include "worker/support/log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PAUSE_MS = 100 }; /* before memory is asked for again */

/* --- leases --------------------------------------------------------------------------- */

void dr_lease_unref(dr_lease *l)
{
    if (!l || --l->references > 0)
        return;
    rd_kafka_consumer_group_metadata_destroy(l->group);
    free(l);
}

static dr_lease *lease_create(rd_kafka_t *rk)
{
    dr_lease *l = calloc(1, sizeof(*l));

    if (!l)
        return NULL;
    l->references = 1;
    l->group = rd_kafka_consumer_group_metadata(rk);
    if (l->group)
        return l;
    free(l);
    return NULL;
}

/* --- assignment: the polling thread, inside rd_kafka_consumer_poll() -------------------- */

/* After an assignment: keep the messages whose partition came back and that nobody finished meanwhile. */
static void ready_sift(dr_source *s)
{
    for (size_t n = s->ready_count; n > 0; n--) {
        rd_kafka_message_t *m = dr_source_ready_pop(s);
        const dr_partition *p = dr_partitions_find(&s->partitions, m->partition);
        if (p && dr_ledger_is_running(&p->ledger, m->offset))
            dr_source_ready_push(s, m);
        else
            rd_kafka_message_destroy(m);
    }
}

/* The group's offsets with their metadata.  Waits for transactions that are still being committed, since the consumer
 * reads committed only.  Tries until it has them: without them nothing may run. */
static rd_kafka_resp_err_t ask_committed(dr_source *s, rd_kafka_topic_partition_list_t *list)
{
    rd_kafka_resp_err_t code;

    do {
        code = rd_kafka_committed(s->client->rk, list, DR_ASK_BROKER_MS);
        for (int i = 0; i < list->cnt && !code; i++)
            code = list->elems[i].err;
        if (code && dr_kafka_nag_due(&s->error_nag))
            dr_log_warn("source", "reading the committed offsets of group %s: %s; still trying", s->group,
                        rd_kafka_err2str(code));
    } while (code && !dr_source_is_closing(s));
    return code;
}

static rd_kafka_resp_err_t ask_ends(dr_source *s, int32_t partition, int64_t *low, int64_t *high)
{
    rd_kafka_resp_err_t code;

    do {
        code =
            rd_kafka_query_watermark_offsets(s->client->rk, s->topic, partition, low, high, DR_ASK_BROKER_MS);
        if (code && dr_kafka_nag_due(&s->error_nag))
            dr_log_warn("source", "reading the ends of %s[%d]: %s; still trying", s->topic, (int)partition,
                        rd_kafka_err2str(code));
    } while (code && !dr_source_is_closing(s));
    return code;
}

/* Where to begin: the committed offset, moved into what the log still has.  DR_ENOMEM: without what is finished above it
 * nothing may begin. */
static dr_status restore(dr_source *s, dr_partition *p, const rd_kafka_topic_partition_t *committed,
                         int64_t low, int64_t high, dr_error *err)
{
    char *text = NULL;
    dr_error why;

    p->end = high;
    if (committed->metadata && committed->metadata_size > 0) {
        text = strndup(committed->metadata, committed->metadata_size);
        if (!text)
            return dr_fail(err, DR_ENOMEM, "%s[%d]: no memory for the commit's metadata", s->topic,
                           (int)p->id);
    }
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
        if (dr_ledger_restore(&p->ledger, committed->offset, text, &why))
            dr_log_warn("source", "%s[%d]: %s; starting there without it", s->topic, (int)p->id, why.text);
        if (committed->offset < low) {
            dr_log_warn("source", "%s[%d]: %" PRId64 " offsets were deleted before they were read", s->topic,
                        (int)p->id, low - committed->offset);
            dr_ledger_reach(&p->ledger, low);
        }
    }
    free(text);
    return DR_OK;
}

/* The books of the partitions in `list`. */
static dr_status open_books(dr_source *s, rd_kafka_topic_partition_list_t *list, dr_partitions *books,
                            dr_error *err)
{
    const uint64_t one = 1;
    dr_status rc = DR_OK;

    for (int i = 0; i < list->cnt && !rc; i++) {
        const rd_kafka_topic_partition_t *at = &list->elems[i];
        dr_partition *p;
        int64_t low, high;
        if (ask_ends(s, at->partition, &low, &high))
            return dr_fail(err, DR_ECANCELED, "source: closing");
        rc = dr_partitions_add(books, at->partition, &p, err);
        if (!rc)
            rc = restore(s, p, at, low, high, err);
        if (rc)
            break;
        /* Its messages stay in a queue of their own, to be left there while there is no room. */
        p->queue = rd_kafka_queue_get_partition(s->client->rk, s->topic, at->partition);
        if (!p->queue)
            return dr_fail(err, DR_EIO, "%s[%d]: librdkafka has no such partition", s->topic, (int)p->id);
        rd_kafka_queue_forward(p->queue, NULL);
        rd_kafka_queue_io_event_enable(p->queue, s->wake, &one, sizeof(one));
    }
    return rc;
}

/* The books of what `list` assigns, and the lease it is held under; the list's offsets become where to read from.  Tries
 * until there is memory for it: a partition that this member has and does not read is read by nobody. */
static dr_status open_lease(dr_source *s, rd_kafka_topic_partition_list_t *list, dr_partitions *books,
                            dr_lease **lease, dr_error *err)
{
    const struct timespec pause = { .tv_nsec = PAUSE_MS * 1000000L };
    dr_status rc;

    for (;;) {
        rc = open_books(s, list, books, err);
        *lease = rc ? NULL : lease_create(s->client->rk);
        if (!rc && !*lease)
            rc = dr_fail(err, DR_ENOMEM, "source: no memory for a lease");
        if (!rc)
            break;
        dr_partitions_clear(books);
        if (rc != DR_ENOMEM || dr_source_is_closing(s))
            return rc;
        if (dr_kafka_nag_due(&s->error_nag))
            dr_log_warn("source", "%s; still trying", err->text);
        nanosleep(&pause, NULL);
    }
    for (int i = 0; i < list->cnt; i++) {
        dr_partition *p = dr_partitions_find(books, list->elems[i].partition);
        list->elems[i].offset = p->position = p->ledger.next;
    }
    return DR_OK;
}

static void begin_lease(dr_source *s, dr_partitions *books, dr_lease *lease)
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
    s->lease = lease;
    s->broker_up = true;
    s->reason = (dr_error){ 0 };
    if (s->leased_ms == 0)
        s->leased_ms = dr_clock_ms();
    s->rebalances++;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    dr_partitions_clear(&old);
    dr_log_info("source", "assigned %zu partitions of %s; %d jobs go on, %d are left to others", books->count,
                s->topic, kept, gone - kept);
}

void dr_source_end_lease(dr_source *s)
{
    pthread_mutex_lock(&s->lock);
    dr_lease_unref(s->lease);
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

void dr_source_on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t *list,
                            void *opaque)
{
    dr_source *s = opaque;
    dr_partitions books = { 0 };
    dr_lease *lease;
    dr_error err;

    if (code != RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        dr_source_end_lease(s);
        rd_kafka_assign(rk, NULL);
        return;
    }
    if (ask_committed(s, list) || open_lease(s, list, &books, &lease, &err)) {
        rd_kafka_assign(rk, NULL); /* closing: without partitions this member harms nobody */
        return;
    }
    rd_kafka_assign(rk, list);
    begin_lease(s, &books, lease);
}

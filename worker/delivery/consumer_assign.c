/* consumer_assign.c - rebalances: a lease ends, the committed offsets are read, a lease begins. */
#include "worker/delivery/consumer_parts.h"
#include "worker/delivery/partitions.h"
#include "worker/support/clock.h"
#include "worker/support/log.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    ASK_BROKER_MS = 5000, /* one try of a request */
    PAUSE_MS = 100, /* before memory, or the ends of a partition that is not there, are asked for again */
    LOOK_MS = 3000, /* between two looks for a topic that is missing */
    GONE_MS = 5000, /* so much later than others a broker may learn of a partition */
};

/* --- assignment: the polling thread, inside rd_kafka_consumer_poll() -------------------- */

/* The group's offsets with their metadata.  Waits for transactions that are still being committed, since the
 * consumer reads committed only.  Tries until it has them: without them nothing may run. */
static rd_kafka_resp_err_t ask_committed(dr_consumer *c, rd_kafka_topic_partition_list_t *list)
{
    rd_kafka_resp_err_t code;

    do {
        code = rd_kafka_committed(c->client->rk, list, ASK_BROKER_MS);
        for (int i = 0; i < list->cnt && !code; i++)
            code = list->elems[i].err;
        if (code && dr_kafka_nag_due(&c->error_nag))
            dr_log_warn("consumer", "reading the committed offsets of group %s: %s; still trying",
                        dr_books_group(c->books), rd_kafka_err2str(code));
    } while (code && !dr_consumer_is_closing(c));
    return code;
}

/* How many partitions a broker says that the topic has: 0 if there is no such topic, -1 if nobody answers. */
static int ask_partitions(dr_consumer *c)
{
    rd_kafka_topic_t *handle = rd_kafka_topic_new(c->client->rk, dr_books_topic(c->books), NULL);
    const struct rd_kafka_metadata *metadata = NULL;
    int partitions = -1;

    if (!handle)
        return -1;
    if (!rd_kafka_metadata(c->client->rk, 0, handle, &metadata, ASK_BROKER_MS) && metadata->topic_cnt == 1) {
        if (!metadata->topics[0].err)
            partitions = metadata->topics[0].partition_cnt;
        else if (metadata->topics[0].err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
            partitions = 0;
    }
    rd_kafka_topic_destroy(handle);
    if (metadata)
        rd_kafka_metadata_destroy(metadata);
    return partitions;
}

/* Whether a broker says that the topic exists and has no such partition. */
static bool topic_has_fewer(dr_consumer *c, int32_t partition)
{
    const int partitions = ask_partitions(c);

    return partitions > 0 && partition >= partitions;
}

bool dr_consumer_topic_is_back(dr_consumer *c)
{
    if (!c->topic_is_missing || dr_clock_ms() < c->look_ms)
        return false;
    c->look_ms = dr_clock_ms() + LOOK_MS;
    c->topic_is_missing = ask_partitions(c) <= 0;
    return !c->topic_is_missing;
}

/* The first offset of the partition, and the offset after its last one.  Tries until it has them.  If the
 * partition is gone when the time is gone_ms, it returns RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION. */
static rd_kafka_resp_err_t ask_ends(dr_consumer *c, int32_t partition, int64_t gone_ms, int64_t *low,
                                    int64_t *high)
{
    const struct timespec pause = { .tv_nsec = PAUSE_MS * 1000000L };
    rd_kafka_resp_err_t code;

    for (;;) {
        code = rd_kafka_query_watermark_offsets(c->client->rk, dr_books_topic(c->books), partition, low, high,
                                                ASK_BROKER_MS);
        if (!code || dr_consumer_is_closing(c))
            return code;
        if (dr_kafka_nag_due(&c->error_nag))
            dr_log_warn("consumer", "reading the ends of %s[%d]: %s; still trying", dr_books_topic(c->books),
                        (int)partition, rd_kafka_err2str(code));
        if (code == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION) {
            if (dr_clock_ms() >= gone_ms && topic_has_fewer(c, partition))
                return code;
            nanosleep(&pause, NULL);
        }
    }
}

/* Gives the partition a queue of its own.  Its messages stay there while there is no room for them. */
static dr_status open_feed(dr_consumer *c, int32_t partition, dr_error *err)
{
    const uint64_t one = 1;
    dr_feed *feeds = realloc(c->feeds, (c->feeds_count + 1) * sizeof(*feeds));
    rd_kafka_queue_t *queue;

    if (!feeds)
        return dr_fail(err, DR_ENOMEM, "partition %d: no memory to read it", (int)partition);
    c->feeds = feeds;
    queue = rd_kafka_queue_get_partition(c->client->rk, dr_books_topic(c->books), partition);
    if (!queue)
        return dr_fail(err, DR_EIO, "%s[%d]: librdkafka has no such partition", dr_books_topic(c->books),
                       (int)partition);
    rd_kafka_queue_forward(queue, NULL);
    rd_kafka_queue_io_event_enable(queue, dr_books_wake_fd(c->books), &one, sizeof(one));
    c->feeds[c->feeds_count++] = (dr_feed){ .partition = partition, .queue = queue };
    return DR_OK;
}

static void close_feeds(dr_consumer *c)
{
    for (size_t i = 0; i < c->feeds_count; i++) {
        dr_feed *f = &c->feeds[i];
        if (f->held)
            rd_kafka_message_destroy(f->held);
        rd_kafka_queue_io_event_enable(f->queue, -1, NULL, 0);
        rd_kafka_queue_destroy(f->queue);
    }
    free(c->feeds);
    c->feeds = NULL;
    c->feeds_count = 0;
}

/* Makes ledgers and feeds of the partitions in `list`.  Takes partitions out of the list that the topic does
 * not have any more.  The broker gives a static member the partitions that it had, even if the topic was
 * created again with fewer partitions. */
static dr_status open_partitions(dr_consumer *c, rd_kafka_topic_partition_list_t *list,
                                 dr_partitions *partitions, dr_error *err)
{
    const char *topic = dr_books_topic(c->books);
    const int64_t gone_ms = dr_clock_ms() + GONE_MS;
    dr_status rc = DR_OK;

    for (int i = 0; i < list->cnt && !rc; i++) {
        const rd_kafka_topic_partition_t *at = &list->elems[i];
        dr_partition *p;
        int64_t low, high;
        if (ask_ends(c, at->partition, gone_ms, &low, &high)) {
            if (dr_consumer_is_closing(c))
                return dr_fail(err, DR_ECANCELED, "consumer: closing");
            dr_log_warn("consumer", "topic %s has no partition %d any more", topic, (int)at->partition);
            rd_kafka_topic_partition_list_del_by_idx(list, i--);
            continue;
        }
        rc = dr_partitions_add(partitions, at->partition, &p, err);
        if (!rc)
            rc = dr_partition_restore(p, topic, at, low, high, err);
        if (!rc)
            rc = open_feed(c, at->partition, err);
    }
    return rc;
}

/* Makes the partitions that `list` assigns, and their lease.  The list's offsets become the offsets to read
 * from.  Tries until there is memory: if this member has a partition and does not read it, nobody reads
 * it. */
static dr_status open_lease(dr_consumer *c, rd_kafka_topic_partition_list_t *list, dr_partitions *partitions,
                            dr_lease **lease, dr_error *err)
{
    const struct timespec pause = { .tv_nsec = PAUSE_MS * 1000000L };
    dr_status rc;

    for (;;) {
        rc = open_partitions(c, list, partitions, err);
        *lease = rc ? NULL : dr_lease_create(c->client->member);
        if (!rc && !*lease)
            rc = dr_fail(err, DR_ENOMEM, "consumer: no memory for a lease");
        if (!rc)
            break;
        close_feeds(c);
        dr_partitions_clear(partitions);
        if (rc != DR_ENOMEM || dr_consumer_is_closing(c))
            return rc;
        if (dr_kafka_nag_due(&c->error_nag))
            dr_log_warn("consumer", "%s; still trying", err->text);
        nanosleep(&pause, NULL);
    }
    for (int i = 0; i < list->cnt; i++)
        list->elems[i].offset = c->feeds[i].position = partitions->list[i]->ledger.next;
    return DR_OK;
}

void dr_consumer_end_lease(dr_consumer *c)
{
    dr_books_end_lease(c->books);
    close_feeds(c);
}

void dr_consumer_on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t *list,
                              void *opaque)
{
    dr_consumer *c = opaque;
    dr_partitions partitions = { 0 };
    dr_lease *lease;
    dr_error err;

    if (code != RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        dr_consumer_end_lease(c);
        rd_kafka_assign(rk, NULL);
        return;
    }
    dr_consumer_end_lease(c); /* there should be no lease, but librdkafka does not promise that */
    if (ask_committed(c, list) || open_lease(c, list, &partitions, &lease, &err)) {
        rd_kafka_assign(rk, NULL); /* closing: without partitions this member harms nobody */
        return;
    }
    rd_kafka_assign(rk, list);
    dr_consumer_note_broker(c);
    c->topic_is_missing = list->cnt == 0 && ask_partitions(c) == 0;
    if (c->leased_ms == 0)
        c->leased_ms = dr_clock_ms();
    dr_books_begin_lease(c->books, &partitions, lease);
}

/* source_commit.c - what is to be committed, and what has been: called by the publisher. */
#include "worker/delivery/source_parts.h"
#include "worker/support/clock.h"

#include <stdlib.h>
#include <string.h>

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

/* The books that it stands in; NULL: they are ours no more.  Under the lock. */
static dr_partition *find(const dr_source *s, const dr_job_origin *origin)
{
    return origin->making == s->making ? dr_partitions_find(&s->partitions, origin->partition) : NULL;
}

/* The entry of p in a commit, once the settled jobs of it are finished; none where nothing changes.  False: no memory
 * for what is finished above the offset, without which it may not be committed. */
static bool plan_partition(dr_source *s, const dr_partition *p, dr_settled *settled, size_t count,
                           rd_kafka_topic_partition_list_t *offsets)
{
    dr_ledger plan = p->ledger;
    rd_kafka_topic_partition_t *entry;
    char text[DR_LEDGER_TEXT_MAX];
    bool changed = dr_partition_is_dirty(p);

    for (size_t i = 0; i < count; i++) {
        const rd_kafka_headers_t *kept;
        if (settled[i].origin.partition != p->id || settled[i].origin.making != s->making ||
            !dr_ledger_is_running(&plan, settled[i].origin.offset))
            continue;
        settled[i].ours = changed = true;
        if (settled[i].lost) {
            dr_ledger_lose(&plan, settled[i].origin.offset);
            continue;
        }
        kept = p->kept[settled[i].origin.offset % DR_LEDGER_WINDOW];
        settled[i].headers = kept ? rd_kafka_headers_copy(kept) : NULL;
        dr_ledger_finish(&plan, settled[i].origin.offset);
    }
    if (!changed)
        return true;
    entry = rd_kafka_topic_partition_list_add(offsets, s->topic, p->id);
    entry->offset = plan.next;
    dr_ledger_text(&plan, text);
    if (!*text)
        return true;
    entry->metadata = strdup(text);
    entry->metadata_size = entry->metadata ? strlen(text) : 0;
    return entry->metadata != NULL;
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
        c->settled = calloc(count + 1, sizeof(*c->settled));
    if (!c || !c->settled) {
        free(c);
        return dr_fail(err, DR_ENOMEM, "source: no memory for a commit");
    }
    c->offsets = rd_kafka_topic_partition_list_new(4);
    pthread_mutex_lock(&s->lock);
    if (!s->lease) {
        rc = dr_fail(err, DR_EIO, "group %s: this worker has no partitions now", s->group);
    } else {
        for (size_t i = 0; i < s->partitions.count && !rc; i++)
            if (!plan_partition(s, s->partitions.list[i], settled, count, c->offsets))
                rc = dr_fail(err, DR_ENOMEM, "source: no memory for a commit");
        s->lease->references++;
        c->lease = s->lease;
        c->group = s->lease->group;
    }
    pthread_mutex_unlock(&s->lock);
    c->source = s;
    for (size_t i = 0; i < count; i++)
        if (settled[i].ours)
            c->settled[c->count++] =
                (dr_settled){ .origin = settled[i].origin, .lost = settled[i].lost, .ours = true };
    for (size_t i = 0; i < count && rc; i++) {
        if (settled[i].headers)
            rd_kafka_headers_destroy(settled[i].headers);
        settled[i].headers = NULL;
    }
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
    dr_lease_unref(c->lease);
    pthread_mutex_unlock(&c->source->lock);
    rd_kafka_topic_partition_list_destroy(c->offsets);
    free(c->settled);
    free(c);
}

void dr_source_committed(dr_source *s, dr_commit *c)
{
    pthread_mutex_lock(&s->lock);
    /* Under a later lease the books were read after this commit and know it: finishing again is harmless, counting
     * again would not be. */
    for (size_t i = 0; i < c->count; i++) {
        const dr_job_origin *origin = &c->settled[i].origin;
        dr_partition *p = find(s, origin);
        if (p && !c->settled[i].lost)
            dr_partition_finish(p, origin->offset);
        else if (p && c->lease == s->lease)
            dr_partition_lose(p, origin->offset);
        else if (p)
            dr_partition_drop(p, origin->offset);
    }
    for (int i = 0; i < c->offsets->cnt && c->lease == s->lease; i++) {
        dr_partition *p = dr_partitions_find(&s->partitions, c->offsets->elems[i].partition);
        if (p)
            p->committed = c->offsets->elems[i].offset;
    }
    pthread_mutex_unlock(&s->lock);
    dr_commit_free(c);
    dr_source_wake(s); /* a full window may have moved */
}

/* What runs here and is finished, or counted as lost, by the group's account.  Under the lock.  False: no memory. */
static bool take_over(dr_partition *p, const rd_kafka_topic_partition_t *committed)
{
    char *text = committed->metadata ? strndup(committed->metadata, committed->metadata_size) : NULL;
    dr_ledger group;

    if (committed->metadata && !text)
        return false;
    if (dr_ledger_restore(&group, committed->offset, text, NULL) == DR_OK)
        for (int64_t o = p->ledger.next; o < p->ledger.read; o++) {
            if (dr_ledger_is_finished(&group, o))
                dr_partition_finish(p, o);
            else if (dr_ledger_losses(&group, o) > dr_ledger_losses(&p->ledger, o))
                dr_partition_lose(p, o);
        }
    p->committed = committed->offset;
    free(text);
    return true;
}

dr_status dr_source_reread(dr_source *s, dr_error *err)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(4);
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_NO_ERROR;
    int64_t asked; /* under which lease */
    bool taken = true;

    pthread_mutex_lock(&s->lock);
    asked = s->rebalances;
    for (size_t i = 0; i < s->partitions.count && s->lease; i++)
        rd_kafka_topic_partition_list_add(list, s->topic, s->partitions.list[i]->id);
    pthread_mutex_unlock(&s->lock);
    if (list->cnt > 0) {
        dr_client *client = dr_client_hold(s);
        code = rd_kafka_committed(client->rk, list, DR_ASK_BROKER_MS);
        dr_client_release(client);
    }
    for (int i = 0; i < list->cnt && !code; i++)
        code = list->elems[i].err;
    if (!code) {
        pthread_mutex_lock(&s->lock);
        for (int i = 0; i < list->cnt && s->rebalances == asked; i++) {
            dr_partition *p = dr_partitions_find(&s->partitions, list->elems[i].partition);
            if (p && list->elems[i].offset >= 0)
                taken &= take_over(p, &list->elems[i]);
        }
        pthread_mutex_unlock(&s->lock);
    }
    rd_kafka_topic_partition_list_destroy(list);
    if (code)
        return dr_fail(err, DR_EIO, "reading the committed offsets of group %s: %s", s->group,
                       rd_kafka_err2str(code));
    return taken ? DR_OK : dr_fail(err, DR_ENOMEM, "source: no memory for the committed offsets");
}

dr_status dr_source_commit_plain(dr_source *s, const dr_commit *c, dr_error *err)
{
    dr_client *client = dr_client_hold(s);
    rd_kafka_resp_err_t code;
    bool current;

    pthread_mutex_lock(&s->lock);
    current = c->lease == s->lease; /* librdkafka commits as the member that the client is now */
    pthread_mutex_unlock(&s->lock);
    code = current ? rd_kafka_commit(client->rk, c->offsets, 0) : RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION;
    dr_client_release(client);
    if (code)
        return dr_fail(err, DR_EIO, "committing offsets of group %s: %s", s->group, rd_kafka_err2str(code));
    return DR_OK;
}

int dr_source_losses(dr_source *s, const dr_job_origin *origin)
{
    const dr_partition *p;
    int losses;

    pthread_mutex_lock(&s->lock);
    p = find(s, origin);
    losses = p ? dr_ledger_losses(&p->ledger, origin->offset) : 0;
    pthread_mutex_unlock(&s->lock);
    return losses;
}

void dr_source_drop(dr_source *s, const dr_job_origin *origin)
{
    dr_partition *p;

    pthread_mutex_lock(&s->lock);
    p = find(s, origin);
    if (p)
        dr_partition_drop(p, origin->offset);
    pthread_mutex_unlock(&s->lock);
}

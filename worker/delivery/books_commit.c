/* books_commit.c - what is to be committed, and what was committed: the publisher's calls. */
#include "worker/delivery/books_parts.h"
#include "worker/support/clock.h"

#include <stdlib.h>
#include <string.h>

enum { ASK_BROKER_MS = 5000 }; /* one try of a request */

bool dr_books_wait_lease(dr_books *b, int timeout_ms)
{
    const int64_t until_ms = dr_clock_ms() + timeout_ms;
    bool leased;

    pthread_mutex_lock(&b->lock);
    while (!b->lease && !b->fatal.status && dr_cond_wait_until(&b->changed, &b->lock, until_ms))
        ;
    leased = b->lease != NULL;
    pthread_mutex_unlock(&b->lock);
    return leased;
}

/* --- planning ---------------------------------------------------------------------------- */

/* Settles, in a copy of p's ledger, the entries that belong to p and still run.  Marks them as ours.  True:
 * there was at least one. */
static bool settle_entries(dr_books *b, const dr_partition *p, dr_ledger *plan, dr_commit_entry *entries,
                           size_t count)
{
    bool changed = false;

    for (size_t i = 0; i < count; i++) {
        const int64_t offset = entries[i].origin.offset;
        const rd_kafka_headers_t *kept;
        if (entries[i].origin.partition != p->id || entries[i].origin.incarnation != b->incarnation ||
            !dr_ledger_is_running(plan, offset))
            continue;
        entries[i].ours = changed = true;
        if (entries[i].lost) {
            dr_ledger_lose(plan, offset);
            continue;
        }
        kept = p->kept[offset % DR_LEDGER_WINDOW];
        entries[i].headers = kept ? rd_kafka_headers_copy(kept) : NULL;
        dr_ledger_settle(plan, offset);
    }
    return changed;
}

/* Adds a line for p to a commit, unless nothing changes.  False: no memory for the metadata.  The offset may
 * not be committed without it: jobs above the offset that are settled would be done again. */
static bool plan_partition(dr_books *b, const dr_partition *p, dr_commit_entry *entries, size_t count,
                           rd_kafka_topic_partition_list_t *offsets)
{
    dr_ledger plan = p->ledger;
    rd_kafka_topic_partition_t *line;
    char text[DR_LEDGER_TEXT_MAX];

    if (!settle_entries(b, p, &plan, entries, count) && !dr_partition_is_dirty(p))
        return true;
    line = rd_kafka_topic_partition_list_add(offsets, b->topic, p->id);
    line->offset = plan.next;
    dr_ledger_text(&plan, text);
    if (!*text)
        return true;
    line->metadata = strdup(text);
    line->metadata_size = line->metadata ? strlen(text) : 0;
    return line->metadata != NULL;
}

static dr_commit *commit_create(dr_books *b, size_t entries)
{
    dr_commit *c = calloc(1, sizeof(*c));

    if (!c)
        return NULL;
    c->books = b;
    c->entries = calloc(entries + 1, sizeof(*c->entries));
    if (!c->entries) {
        free(c);
        return NULL;
    }
    c->offsets = rd_kafka_topic_partition_list_new(4);
    return c;
}

/* Fills the commit's offsets under the current lease.  Under the lock. */
static dr_status plan_all(dr_books *b, dr_commit *c, dr_commit_entry *entries, size_t count, dr_error *err)
{
    if (!b->lease)
        return dr_fail(err, DR_EIO, "group %s: no partitions are assigned to this worker now", b->group);
    dr_lease_hold(b->lease);
    c->lease = b->lease;
    c->group = b->lease->group;
    for (size_t i = 0; i < b->partitions.count; i++)
        if (!plan_partition(b, b->partitions.list[i], entries, count, c->offsets))
            return dr_fail(err, DR_ENOMEM, "books: no memory for a commit");
    return DR_OK;
}

dr_status dr_books_plan(dr_books *b, dr_commit_entry *entries, size_t count, dr_commit **out, dr_error *err)
{
    dr_commit *c = commit_create(b, count);
    dr_status rc;

    *out = NULL;
    for (size_t i = 0; i < count; i++) {
        entries[i].ours = false;
        entries[i].headers = NULL;
    }
    if (!c)
        return dr_fail(err, DR_ENOMEM, "books: no memory for a commit");
    pthread_mutex_lock(&b->lock);
    rc = plan_all(b, c, entries, count, err);
    pthread_mutex_unlock(&b->lock);
    for (size_t i = 0; i < count; i++)
        if (entries[i].ours)
            c->entries[c->count++] =
                (dr_commit_entry){ .origin = entries[i].origin, .lost = entries[i].lost, .ours = true };
    for (size_t i = 0; i < count && rc; i++) {
        if (entries[i].headers)
            rd_kafka_headers_destroy(entries[i].headers);
        entries[i].headers = NULL;
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
    pthread_mutex_lock(&c->books->lock);
    dr_lease_release(c->lease);
    pthread_mutex_unlock(&c->books->lock);
    rd_kafka_topic_partition_list_destroy(c->offsets);
    free(c->entries);
    free(c);
}

/* --- what was committed --------------------------------------------------------------------- */

void dr_books_committed(dr_books *b, dr_commit *c)
{
    pthread_mutex_lock(&b->lock);
    /* If there is a later lease, the books were read after this commit, so they know about it.  Then settling
     * again is harmless, but a loss may not be counted again. */
    for (size_t i = 0; i < c->count; i++) {
        const dr_job_origin *origin = &c->entries[i].origin;
        dr_partition *p = dr_books_find(b, origin);
        if (c->lease == b->lease) {
            /* An offset is settled once: under the lease of the plan nothing else could settle it.  But a job
             * that was read twice may have been dropped once. */
            dr_assert(p && !dr_ledger_is_settled(&p->ledger, origin->offset));
            dr_ledger_resume(&p->ledger, origin->offset);
        }
        if (p && !c->entries[i].lost)
            dr_partition_settle(p, origin->offset);
        else if (p && c->lease == b->lease)
            dr_partition_lose(p, origin->offset);
        else if (p)
            dr_partition_drop(p, origin->offset);
    }
    for (int i = 0; i < c->offsets->cnt && c->lease == b->lease; i++) {
        dr_partition *p = dr_partitions_find(&b->partitions, c->offsets->elems[i].partition);
        if (p)
            dr_partition_note_committed(p, c->offsets->elems[i].offset);
    }
    dr_books_sift_inbox(b); /* of jobs that were read twice */
    pthread_mutex_unlock(&b->lock);
    dr_commit_free(c);
    dr_books_wake(b); /* a window that was full may have moved */
}

/* --- through the group's client ---------------------------------------------------------------- */

/* The current lease, which the caller releases, and its partitions.  NULL: there is no lease. */
static dr_lease *hold_lease(dr_books *b, rd_kafka_topic_partition_list_t *list)
{
    dr_lease *lease;

    pthread_mutex_lock(&b->lock);
    lease = b->lease;
    if (lease)
        dr_lease_hold(lease);
    for (size_t i = 0; i < b->partitions.count && lease; i++)
        rd_kafka_topic_partition_list_add(list, b->topic, b->partitions.list[i]->id);
    pthread_mutex_unlock(&b->lock);
    return lease;
}

static void release_lease(dr_books *b, dr_lease *lease)
{
    pthread_mutex_lock(&b->lock);
    dr_lease_release(lease);
    pthread_mutex_unlock(&b->lock);
}

/* Tells the partitions which offsets the group has.  They were asked for under `lease`. */
static dr_status catch_up(dr_books *b, const dr_lease *lease, const rd_kafka_topic_partition_list_t *list,
                          dr_error *err)
{
    dr_status rc = DR_OK;

    pthread_mutex_lock(&b->lock);
    for (int i = 0; i < list->cnt && b->lease == lease; i++) {
        dr_partition *p = dr_partitions_find(&b->partitions, list->elems[i].partition);
        if (p && list->elems[i].offset >= 0 && dr_partition_catch_up(p, &list->elems[i], err))
            rc = DR_ENOMEM;
    }
    dr_books_sift_inbox(b);
    pthread_mutex_unlock(&b->lock);
    return rc;
}

dr_status dr_books_reread(dr_books *b, dr_error *err)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(4);
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_NO_ERROR;
    dr_lease *lease = hold_lease(b, list);
    dr_status rc;

    if (list->cnt > 0)
        code = rd_kafka_committed(dr_member_client(lease->member), list, ASK_BROKER_MS);
    for (int i = 0; i < list->cnt && !code; i++)
        code = list->elems[i].err;
    rc = code ? dr_fail(err, DR_EIO, "reading the committed offsets of group %s: %s", b->group,
                        rd_kafka_err2str(code))
              : catch_up(b, lease, list, err);
    release_lease(b, lease);
    rd_kafka_topic_partition_list_destroy(list);
    return rc;
}

dr_status dr_books_commit_plain(dr_books *b, const dr_commit *c, dr_error *err)
{
    rd_kafka_resp_err_t code;
    bool current;

    pthread_mutex_lock(&b->lock);
    current = c->lease == b->lease; /* librdkafka commits for the current member */
    pthread_mutex_unlock(&b->lock);
    code = current ? rd_kafka_commit(dr_member_client(c->lease->member), c->offsets, 0)
                   : RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION;
    if (code)
        return dr_fail(err, DR_EIO, "committing offsets of group %s: %s", b->group, rd_kafka_err2str(code));
    return DR_OK;
}

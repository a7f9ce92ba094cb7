/* publisher_send.c - one group of parcels: planned, sent, tried again. */
#include "worker/delivery/publisher_parts.h"
#include "worker/support/clock.h"
#include "worker/support/log.h"

#include <string.h>

enum { ASIDE_MS = 3000 }; /* until parcels that are set aside are tried again */

/* Remembers what was wrong.  NULL: sending works again.  But while something is set aside, the reason for
 * that is still remembered. */
static void set_trouble(dr_publisher *p, const dr_error *err)
{
    pthread_mutex_lock(&p->lock);
    if (err)
        p->trouble = *err;
    else if (p->queue.aside_count == 0)
        p->trouble.status = DR_OK;
    pthread_mutex_unlock(&p->lock);
}

static void complain(dr_publisher *p, size_t count, const dr_error *err)
{
    set_trouble(p, err);
    if (dr_kafka_nag_due(&p->nag))
        dr_log_warn("publisher", "%zu answers could not be sent: %s; still trying", count, err->text);
}

/* --- what leaves the group ------------------------------------------------------------------- */

/* Frees the parcels whose offset is not ours any more.  The others keep their order, and get their headers.
 * Returns how many were freed. */
static int drop_others(dr_publisher *p, dr_parcel_group *group, dr_commit_entry *entries)
{
    const size_t all = group->count;

    group->count = 0;
    for (size_t n = 0; n < all; n++) {
        dr_parcel *parcel = group->parcel[n];
        if (!entries[n].ours) {
            dr_log_info("publisher",
                        "partition %d offset %lld: the answer is dropped, since the partition has gone to "
                        "another worker, or the topic was deleted",
                        (int)parcel->origin.partition, (long long)parcel->origin.offset);
            dr_series_add(p->series.dropped, !parcel->lost);
            dr_parcel_free(parcel);
            continue;
        }
        dr_parcel_carry(parcel, entries[n].headers);
        group->parcel[group->count++] = parcel;
    }
    return (int)(all - group->count);
}

static void put_back(dr_publisher *p, dr_parcel *parcel)
{
    pthread_mutex_lock(&p->lock);
    dr_publisher_queue_put_back(&p->queue, parcel);
    pthread_mutex_unlock(&p->lock);
}

static void set_aside(dr_publisher *p, dr_parcel *parcel)
{
    pthread_mutex_lock(&p->lock);
    dr_publisher_queue_set_aside(&p->queue, parcel, dr_clock_ms() + ASIDE_MS);
    pthread_mutex_unlock(&p->lock);
}

/* The parcel's reply topic accepts nothing, so its result goes to the results topic.  The log tells so once
 * in a while. */
static void tell_reply_trouble(dr_publisher *p, const dr_parcel *parcel)
{
    const char *topic = parcel->result->job->reply_topic;
    unsigned results;

    if (dr_publisher_replies_count(&p->replies, topic, &results))
        dr_log_warn(
            "publisher",
            "reply topic %s can't be written to: %s; results go to topic %s instead: %u since the last "
            "such line, the last one for job %s",
            topic, rd_kafka_err2str(parcel->reply_error), parcel->topic, results, parcel->result->job->id);
}

/* Each record that was refused becomes another one, or its parcel is set aside.  False: nothing changed. */
static bool amend(dr_publisher *p, dr_parcel_group *group, const dr_record *records)
{
    const size_t all = group->count;
    bool changed = false;

    group->count = 0;
    for (size_t n = 0; n < all; n++) {
        dr_parcel *parcel = group->parcel[n];
        const dr_record *record = &records[n];
        if (record->error && dr_parcel_has_record(parcel)) {
            const bool told = parcel->reply_error;
            changed = true;
            if (dr_parcel_amend(parcel, record) == DR_SET_ASIDE) {
                set_aside(p, parcel);
                continue;
            }
            if (parcel->reply_error && !told)
                tell_reply_trouble(p, parcel);
        }
        group->parcel[group->count++] = parcel;
    }
    return changed;
}

/* Keeps the parcels for the topic of the first one, and the parcels without a record.  Puts the others
 * back. */
static void keep_one_topic(dr_publisher *p, dr_parcel_group *group)
{
    const char *topic = group->parcel[0]->topic;
    const size_t all = group->count;

    group->count = 0;
    for (size_t n = 0; n < all; n++)
        if (!dr_parcel_has_record(group->parcel[n]) || strcmp(group->parcel[n]->topic, topic) == 0)
            group->parcel[group->count++] = group->parcel[n];
        else
            put_back(p, group->parcel[n]);
}

/* --- one try ------------------------------------------------------------------------------------- */

/* Puts the parcels that have a record first, and keeps their order.  Returns how many have a record. */
static size_t records_first(dr_parcel_group *group)
{
    dr_parcel *rest[DR_PUBLISH_ITEMS_MAX];
    size_t records = 0, without = 0;

    for (size_t n = 0; n < group->count; n++)
        if (dr_parcel_has_record(group->parcel[n]))
            group->parcel[records++] = group->parcel[n];
        else
            rest[without++] = group->parcel[n];
    memcpy(group->parcel + records, rest, without * sizeof(rest[0]));
    return records;
}

/* True: the group is committed, or nothing of it is ours.  *freed counts the parcels that were dropped. */
static bool try_group(dr_publisher *p, dr_parcel_group *group, int *freed, dr_sent *sent, dr_record *records,
                      dr_error *err)
{
    dr_commit_entry entries[DR_PUBLISH_ITEMS_MAX];
    const double begin_s = dr_clock_s();
    const size_t all = group->count;
    dr_commit *commit;
    size_t sending;

    for (size_t n = 0; n < all; n++)
        entries[n] = (dr_commit_entry){ .origin = group->parcel[n]->origin, .lost = group->parcel[n]->lost };
    *sent = DR_SENT_AGAIN;
    if (dr_books_plan(p->books, entries, all, &commit, err))
        return false;
    *freed += drop_others(p, group, entries);
    if (group->count == 0 && all > 0) /* these are not ours any more, so their trouble is not ours either */
        set_trouble(p, NULL);
    if (!commit)
        return true;
    dr_assert(commit->count == group->count); /* each offset is settled by one parcel */
    sending = records_first(group);
    for (size_t n = 0; n < group->count; n++)
        records[n] = n < sending ? dr_parcel_record(group->parcel[n], dr_books_topic(p->books),
                                                    dr_books_group(p->books))
                                 : (dr_record){ .topic = NULL };
    *sent = dr_outbox_send(p->outbox, records, sending, commit, err);
    if (*sent != DR_SENT) {
        dr_commit_free(commit);
        return false;
    }
    dr_books_committed(p->books, commit);
    dr_publisher_series_count(&p->series, group, dr_clock_s() - begin_s);
    if (sending > 0) /* offsets alone say nothing of the topics */
        set_trouble(p, NULL);
    return true;
}

/* Deals with an answer of the outbox that is not DR_SENT.  False: the publisher can't go on. */
static bool recover(dr_publisher *p, dr_sent sent, dr_parcel_group *group, const dr_record *records,
                    int attempt, dr_error *err)
{
    const int pause = DR_PUBLISHER_PAUSE_MIN_MS << (attempt < 6 ? attempt : 6);
    const size_t all = group->count;

    dr_series_add(p->series.aborted, 1);
    if (sent == DR_SENT_NEVER) {
        dr_publisher_set_fatal(p, err);
        return false;
    }
    if (sent == DR_SENT_REFUSED && amend(p, group, records)) {
        if (group->count < all)
            complain(p, all - group->count, err);
        return true;
    }
    if (sent == DR_SENT_APART) {
        keep_one_topic(p, group);
        if (group->count < all)
            return true;
    }
    complain(p, group->count, err);
    if (sent == DR_SENT_UNKNOWN)
        while (!dr_publisher_is_stopped(p) && dr_books_reread(p->books, err))
            dr_publisher_pause(p, DR_PUBLISHER_PAUSE_MAX_MS);
    dr_publisher_pause(p, pause < DR_PUBLISHER_PAUSE_MAX_MS ? pause : DR_PUBLISHER_PAUSE_MAX_MS);
    return true;
}

int dr_publisher_send_group(dr_publisher *p, dr_parcel_group *group)
{
    dr_record records[DR_PUBLISH_ITEMS_MAX];
    int freed = 0;
    dr_error err;
    dr_sent sent;

    for (int attempt = 0; !dr_publisher_is_stopped(p); attempt++) {
        if (!dr_books_wait_lease(p->books, DR_PUBLISHER_IDLE_MS) || dr_books_fatal(p->books, &err)) {
            /* After a fatal error of the books the worker ends, and soon stops this thread. */
            dr_publisher_pause(p, DR_PUBLISHER_PAUSE_MIN_MS);
            continue;
        }
        if (try_group(p, group, &freed, &sent, records, &err) ||
            !recover(p, sent, group, records, attempt, &err))
            break;
    }
    for (size_t n = 0; n < group->count; n++)
        dr_parcel_free(group->parcel[n]);
    return freed + (int)group->count;
}

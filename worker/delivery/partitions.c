#include "worker/delivery/partitions.h"

#include "worker/delivery/carried.h"
#include "worker/support/log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* --- the table -------------------------------------------------------------------------- */

dr_partition *dr_partitions_find(const dr_partitions *all, int32_t id)
{
    for (size_t i = 0; i < all->count; i++)
        if (all->list[i]->id == id)
            return all->list[i];
    return NULL;
}

dr_status dr_partitions_add(dr_partitions *all, int32_t id, dr_partition **out, dr_error *err)
{
    dr_partition **list = realloc(all->list, (all->count + 1) * sizeof(*list));
    dr_partition *p = calloc(1, sizeof(*p));

    if (list)
        all->list = list;
    if (!list || !p) {
        free(p);
        return dr_fail(err, DR_ENOMEM, "partition %d: no memory for its ledger", (int)id);
    }
    p->id = id;
    p->committed = -1;
    all->list[all->count++] = *out = p;
    return DR_OK;
}

static void forget_headers(dr_partition *p, int64_t offset)
{
    rd_kafka_headers_t **kept = &p->kept[offset % DR_LEDGER_WINDOW];

    if (*kept)
        rd_kafka_headers_destroy(*kept);
    *kept = NULL;
}

void dr_partitions_clear(dr_partitions *all)
{
    for (size_t i = 0; i < all->count; i++) {
        dr_partition *p = all->list[i];
        for (int64_t o = 0; o < DR_LEDGER_WINDOW; o++)
            forget_headers(p, o);
        free(p);
    }
    free(all->list);
    *all = (dr_partitions){ 0 };
}

/* --- what the group has committed --------------------------------------------------------- */

/* A copy of the commit's metadata that ends with a 0; NULL where there is none.  False: no memory. */
static bool copy_metadata(const rd_kafka_topic_partition_t *committed, char **text)
{
    *text = NULL;
    if (!committed->metadata || committed->metadata_size == 0)
        return true;
    *text = strndup(committed->metadata, committed->metadata_size);
    return *text != NULL;
}

dr_status dr_partition_restore(dr_partition *p, const char *topic,
                               const rd_kafka_topic_partition_t *committed, int64_t low, int64_t high,
                               dr_error *err)
{
    dr_error why;
    char *text;

    if (!copy_metadata(committed, &text))
        return dr_fail(err, DR_ENOMEM, "%s[%d]: no memory for the commit's metadata", topic, (int)p->id);
    p->end = high;
    if (committed->offset < 0) {
        dr_ledger_reset(&p->ledger, low);
    } else if (committed->offset > high) {
        dr_log_warn("books",
                    "%s[%d]: the committed offset %" PRId64 " lies beyond the end of the log at %" PRId64
                    ", so the topic was deleted and created again; reading starts at offset %" PRId64,
                    topic, (int)p->id, committed->offset, high, low);
        dr_ledger_reset(&p->ledger, low);
    } else {
        p->committed = committed->offset;
        if (dr_ledger_restore(&p->ledger, committed->offset, text, &why))
            dr_log_warn("books", "%s[%d]: %s; reading starts at this offset without the metadata", topic,
                        (int)p->id, why.text);
        if (committed->offset < low) {
            dr_log_warn("books", "%s[%d]: the broker deleted %" PRId64 " messages before they were read",
                        topic, (int)p->id, low - committed->offset);
            dr_ledger_reach(&p->ledger, low);
        }
    }
    free(text);
    return DR_OK;
}

dr_status dr_partition_catch_up(dr_partition *p, const rd_kafka_topic_partition_t *committed, dr_error *err)
{
    dr_ledger group;
    char *text;

    if (!copy_metadata(committed, &text))
        return dr_fail(err, DR_ENOMEM, "partition %d: no memory for the commit's metadata", (int)p->id);
    if (dr_ledger_restore(&group, committed->offset, text, NULL) == DR_OK)
        for (int64_t o = p->ledger.next; o < p->ledger.read; o++) {
            if (dr_ledger_is_settled(&group, o)) {
                dr_ledger_resume(&p->ledger, o); /* it may have been dropped during its commit */
                dr_partition_settle(p, o);
            } else if (dr_ledger_losses(&group, o) > dr_ledger_losses(&p->ledger, o))
                dr_partition_lose(p, o);
        }
    if (committed->offset < p->committed || committed->offset > p->ledger.next) {
        dr_log_warn("books",
                    "partition %d: the group has committed offset %" PRId64
                    ", but not through this worker: another worker or a tool did it",
                    (int)p->id, committed->offset);
        p->committed = -1;
    } else {
        p->committed = committed->offset;
    }
    free(text);
    return DR_OK;
}

/* --- jobs ------------------------------------------------------------------------------------ */

dr_ledger_answer dr_partition_admit(dr_partition *p, const rd_kafka_message_t *message)
{
    const dr_ledger_answer answer = dr_ledger_admit(&p->ledger, message->offset);

    if (answer == DR_LEDGER_ADMITTED) {
        forget_headers(p, message->offset);
        p->kept[message->offset % DR_LEDGER_WINDOW] = dr_carried_headers(message);
    }
    return answer;
}

void dr_partition_settle(dr_partition *p, int64_t offset)
{
    if (!dr_ledger_is_running(&p->ledger, offset))
        return;
    forget_headers(p, offset);
    dr_ledger_settle(&p->ledger, offset);
}

void dr_partition_drop(dr_partition *p, int64_t offset)
{
    if (!dr_ledger_is_running(&p->ledger, offset))
        return;
    forget_headers(p, offset);
    dr_ledger_drop(&p->ledger, offset);
}

void dr_partition_lose(dr_partition *p, int64_t offset)
{
    if (!dr_ledger_is_running(&p->ledger, offset))
        return;
    forget_headers(p, offset);
    dr_ledger_lose(&p->ledger, offset);
}

void dr_partition_adopt(dr_partition *p, dr_partition *old)
{
    dr_assert(p->id == old->id);
    dr_ledger_adopt(&p->ledger, &old->ledger);
    for (int64_t o = p->ledger.next; o < p->ledger.next + DR_LEDGER_WINDOW; o++)
        if (dr_ledger_is_running(&p->ledger, o)) {
            p->kept[o % DR_LEDGER_WINDOW] = old->kept[o % DR_LEDGER_WINDOW];
            old->kept[o % DR_LEDGER_WINDOW] = NULL;
        }
}

void dr_partition_note_committed(dr_partition *p, int64_t offset)
{
    dr_assert(offset >= p->committed && offset <= p->ledger.next);
    p->committed = offset;
}

bool dr_partition_is_dirty(const dr_partition *p)
{
    return p->ledger.next != p->committed;
}

#include "worker/delivery/partitions.h"

#include "worker/delivery/dead_letter.h"

#include <stdlib.h>

/* Correlation by header (Spring's name for it) and the W3C trace context. */
static const char *const carried[] = { "kafka_correlationId", "traceparent", "tracestate" };

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
        if (p->held)
            rd_kafka_message_destroy(p->held);
        if (p->queue)
            rd_kafka_queue_destroy(p->queue);
        free(p);
    }
    free(all->list);
    *all = (dr_partitions){ 0 };
}

/* NULL where there is nothing to carry, which is the usual case.  One that is too long is named in a header of ours. */
static rd_kafka_headers_t *carried_headers(const rd_kafka_message_t *message)
{
    rd_kafka_headers_t *all, *kept = NULL;
    char cut[DR_CUT_TEXT_MAX] = "";

    if (rd_kafka_message_headers(message, &all))
        return NULL;
    for (size_t i = 0; i < sizeof(carried) / sizeof(carried[0]); i++) {
        const void *value;
        size_t size;
        if (rd_kafka_header_get_last(all, carried[i], &value, &size))
            continue;
        if (!kept)
            kept = rd_kafka_headers_new(sizeof(carried) / sizeof(carried[0]) + 1);
        if (size > DR_HEADER_BYTES_MAX)
            dr_cut_say(cut, "header %s of %zu bytes", carried[i], size);
        else
            rd_kafka_header_add(kept, carried[i], -1, value, (ssize_t)size);
    }
    if (*cut)
        rd_kafka_header_add(kept, DR_CUT_HEADER, -1, cut, -1);
    return kept;
}

dr_ledger_answer dr_partition_take(dr_partition *p, const rd_kafka_message_t *message)
{
    const dr_ledger_answer answer = dr_ledger_take(&p->ledger, message->offset);

    if (answer == DR_LEDGER_RUN) {
        forget_headers(p, message->offset);
        p->kept[message->offset % DR_LEDGER_WINDOW] = carried_headers(message);
    }
    return answer;
}

void dr_partition_finish(dr_partition *p, int64_t offset)
{
    if (!dr_ledger_is_running(&p->ledger, offset))
        return;
    forget_headers(p, offset);
    dr_ledger_finish(&p->ledger, offset);
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

bool dr_partition_is_dirty(const dr_partition *p)
{
    return p->ledger.next != p->committed;
}

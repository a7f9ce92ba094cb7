#include "worker/delivery/publisher_queue.h"

/* Checks what takes little time, after every change of the queue. */
static void check(const dr_publisher_queue *q)
{
    dr_assert((q->waiting_count == 0) == (q->first == NULL) && (q->aside_count == 0) == (q->aside == NULL));
    dr_assert(*q->last == NULL && (q->first == NULL) == (q->last == &q->first));
    dr_assert(q->sending >= 0 && q->sending <= DR_PUBLISH_ITEMS_MAX);
}

/* The number of parcels in a list.  Asserts that each of them knows that it is in this list.  Their bytes
 * are added to *bytes. */
static int count_list(const dr_parcel *list, dr_parcel_place place, size_t *bytes)
{
    int n = 0;

    for (; list; list = list->next, n++) {
        dr_assert(list->place == place);
        *bytes += dr_parcel_bytes(list);
    }
    return n;
}

/* Asserts that the lists hold what the counters say.  Called once a transaction, since it walks along the
 * lists. */
static void check_lists(const dr_publisher_queue *q)
{
    size_t bytes = 0;

    dr_assert(count_list(q->first, DR_PARCEL_WAITING, &bytes) == q->waiting_count);
    dr_assert(count_list(q->aside, DR_PARCEL_ASIDE, &bytes) == q->aside_count);
    dr_assert(bytes == q->bytes);
}

void dr_publisher_queue_init(dr_publisher_queue *q)
{
    *q = (dr_publisher_queue){ .last = &q->first };
}

bool dr_publisher_queue_has_room(const dr_publisher_queue *q, const dr_parcel *parcel)
{
    const int held = q->waiting_count + q->aside_count;

    return held == 0 ||
           (held < DR_PUBLISH_WAITING_MAX && q->bytes + dr_parcel_bytes(parcel) <= DR_PUBLISH_BYTES_MAX);
}

/* The parcel goes from one place to another. */
static void move(dr_publisher_queue *q, dr_parcel *parcel, dr_parcel_place from, dr_parcel_place to)
{
    dr_assert(parcel->place == from && from != to);
    if (from == DR_PARCEL_SENDING)
        q->sending--;
    else if (from != DR_PARCEL_NOWHERE)
        q->bytes -= dr_parcel_bytes(parcel);
    if (to == DR_PARCEL_SENDING)
        q->sending++;
    else
        q->bytes += dr_parcel_bytes(parcel);
    parcel->place = to;
}

void dr_publisher_queue_push(dr_publisher_queue *q, dr_parcel *parcel)
{
    move(q, parcel, DR_PARCEL_NOWHERE, DR_PARCEL_WAITING);
    parcel->next = NULL;
    *q->last = parcel;
    q->last = &parcel->next;
    q->waiting_count++;
    check(q);
}

/* The first of the waiting parcels, or of those set aside, goes into the group. */
static void add_to_group(dr_publisher_queue *q, dr_parcel_place from, dr_parcel_group *group)
{
    dr_parcel **list = from == DR_PARCEL_ASIDE ? &q->aside : &q->first;
    dr_parcel *parcel = *list;

    *list = parcel->next;
    if (from == DR_PARCEL_ASIDE)
        q->aside_count--;
    else
        q->waiting_count--;
    if (!q->first)
        q->last = &q->first;
    parcel->next = NULL;
    move(q, parcel, from, DR_PARCEL_SENDING);
    group->parcel[group->count++] = parcel;
}

void dr_publisher_queue_begin_group(dr_publisher_queue *q, dr_parcel_group *group, int64_t now_ms)
{
    size_t bytes = 0;

    dr_assert(q->sending == 0 && group->count == 0);
    if (q->aside && now_ms >= q->due_ms) {
        while (q->aside && group->count < DR_PUBLISH_ITEMS_MAX)
            add_to_group(q, DR_PARCEL_ASIDE, group);
    } else {
        while (q->first && group->count < DR_PUBLISH_ITEMS_MAX &&
               (group->count == 0 || bytes + dr_parcel_bytes(q->first) <= DR_PUBLISH_BYTES_MAX)) {
            bytes += dr_parcel_bytes(q->first);
            add_to_group(q, DR_PARCEL_WAITING, group);
        }
    }
    check(q);
}

void dr_publisher_queue_put_back(dr_publisher_queue *q, dr_parcel *parcel)
{
    move(q, parcel, DR_PARCEL_SENDING, DR_PARCEL_WAITING);
    if (!q->first)
        q->last = &parcel->next;
    parcel->next = q->first;
    q->first = parcel;
    q->waiting_count++;
    check(q);
}

void dr_publisher_queue_set_aside(dr_publisher_queue *q, dr_parcel *parcel, int64_t due_ms)
{
    move(q, parcel, DR_PARCEL_SENDING, DR_PARCEL_ASIDE);
    parcel->next = q->aside;
    q->aside = parcel;
    q->aside_count++;
    q->due_ms = due_ms;
    check(q);
}

void dr_publisher_queue_end_group(dr_publisher_queue *q, int freed)
{
    dr_assert(freed == q->sending);
    q->sending = 0;
    check(q);
    check_lists(q);
}

int dr_publisher_queue_count(const dr_publisher_queue *q)
{
    return q->waiting_count + q->aside_count + q->sending;
}

static void free_list(dr_parcel *list)
{
    while (list) {
        dr_parcel *parcel = list;
        list = parcel->next;
        dr_parcel_free(parcel);
    }
}

void dr_publisher_queue_clear(dr_publisher_queue *q)
{
    free_list(q->first);
    free_list(q->aside);
    dr_publisher_queue_init(q);
}

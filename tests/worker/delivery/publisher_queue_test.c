/* The publisher's queue: a parcel is in exactly one place, in its order, and the counters match the
 * parcels. */
#include "worker/delivery/publisher_queue.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

enum { DUE_MS = 1000 };

static dr_parcel *parcel_of(int64_t offset)
{
    return dr_parcel_of_lost(&(dr_job_origin){ .offset = offset });
}

/* A queue with that many parcels, of the offsets from 0 on. */
static void fill(dr_publisher_queue *q, int count)
{
    dr_publisher_queue_init(q);
    for (int64_t o = 0; o < count; o++) {
        dr_parcel *p = parcel_of(o);
        assert_true(dr_publisher_queue_has_room(q, p));
        dr_publisher_queue_push(q, p);
    }
}

static void free_group(dr_publisher_queue *q, dr_parcel_group *group)
{
    const int count = (int)group->count;

    for (size_t n = 0; n < group->count; n++)
        dr_parcel_free(group->parcel[n]);
    group->count = 0;
    dr_publisher_queue_end_group(q, count);
}

static void what_waits_goes_out_in_its_order(void **state)
{
    dr_publisher_queue q;
    dr_parcel_group group = { .count = 0 };

    (void)state;
    fill(&q, 5);
    assert_int_equal(dr_publisher_queue_count(&q), 5);
    dr_publisher_queue_begin_group(&q, &group, 0);
    assert_int_equal(group.count, 5);
    for (int64_t o = 0; o < 5; o++)
        assert_int_equal(group.parcel[o]->origin.offset, o);
    assert_int_equal(dr_publisher_queue_count(&q), 5); /* on their way, and not gone */
    free_group(&q, &group);
    assert_int_equal(dr_publisher_queue_count(&q), 0);
}

/* Whatever happens to the middle of a group, parcels that are put meanwhile stay behind it. */
static void what_is_put_back_goes_before_what_came_later(void **state)
{
    dr_publisher_queue q;
    dr_parcel_group group = { .count = 0 };

    (void)state;
    fill(&q, 3);
    dr_publisher_queue_begin_group(&q, &group, 0);
    dr_publisher_queue_push(&q, parcel_of(3));
    dr_publisher_queue_put_back(&q, group.parcel[2]);
    dr_publisher_queue_put_back(&q, group.parcel[1]);
    group.count = 1;
    free_group(&q, &group);
    assert_int_equal(dr_publisher_queue_count(&q), 3);
    dr_publisher_queue_push(&q, parcel_of(4));
    dr_publisher_queue_begin_group(&q, &group, 0);
    for (int64_t n = 0; n < 4; n++)
        assert_int_equal(group.parcel[n]->origin.offset, n + 1);
    dr_publisher_queue_put_back(&q, group.parcel[3]); /* alone, it is also the last */
    dr_publisher_queue_push(&q, parcel_of(5));
    group.count = 3;
    free_group(&q, &group);
    dr_publisher_queue_begin_group(&q, &group, 0);
    assert_int_equal(group.count, 2);
    assert_int_equal(group.parcel[1]->origin.offset, 5);
    free_group(&q, &group);
}

static void what_is_set_aside_is_tried_by_itself_when_it_is_due(void **state)
{
    dr_publisher_queue q;
    dr_parcel_group group = { .count = 0 };

    (void)state;
    fill(&q, 2);
    dr_publisher_queue_begin_group(&q, &group, 0);
    dr_publisher_queue_set_aside(&q, group.parcel[0], DUE_MS);
    dr_publisher_queue_set_aside(&q, group.parcel[1], DUE_MS);
    group.count = 0;
    free_group(&q, &group);
    dr_publisher_queue_push(&q, parcel_of(2));
    assert_int_equal(dr_publisher_queue_count(&q), 3);
    dr_publisher_queue_begin_group(&q, &group, DUE_MS - 1);
    assert_int_equal(group.count, 1);
    assert_int_equal(group.parcel[0]->origin.offset, 2);
    free_group(&q, &group);
    dr_publisher_queue_push(&q, parcel_of(3));
    dr_publisher_queue_begin_group(&q, &group, DUE_MS);
    assert_int_equal(group.count, 2);
    assert_true(group.parcel[0]->origin.offset < 2 && group.parcel[1]->origin.offset < 2);
    free_group(&q, &group);
    assert_int_equal(dr_publisher_queue_count(&q), 1);
    dr_publisher_queue_clear(&q);
    assert_int_equal(dr_publisher_queue_count(&q), 0);
}

static void a_queue_is_full_by_count(void **state)
{
    dr_publisher_queue q;
    dr_parcel_group group = { .count = 0 };
    dr_parcel *more = parcel_of(-1);

    (void)state;
    fill(&q, DR_PUBLISH_WAITING_MAX);
    assert_false(dr_publisher_queue_has_room(&q, more));
    dr_publisher_queue_begin_group(&q, &group, 0);
    assert_int_equal(group.count, DR_PUBLISH_ITEMS_MAX);
    assert_true(dr_publisher_queue_has_room(&q, more));
    dr_parcel_free(more);
    free_group(&q, &group);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_waits_goes_out_in_its_order),
        cmocka_unit_test(what_is_put_back_goes_before_what_came_later),
        cmocka_unit_test(what_is_set_aside_is_tried_by_itself_when_it_is_due),
        cmocka_unit_test(a_queue_is_full_by_count),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* A reply topic that can't be written to is logged once in a while, with the number of results that went
 * elsewhere. */
#include "worker/delivery/publisher_replies.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static void a_topic_is_said_once_in_a_while(void **state)
{
    dr_publisher_replies t = { 0 };
    unsigned results;

    (void)state;
    assert_true(dr_publisher_replies_count(&t, "gone", &results));
    assert_int_equal(results, 1);
    for (int i = 0; i < 1000; i++)
        assert_false(dr_publisher_replies_count(&t, "gone", &results));
    t.place[0].nag.next_ms = 0; /* the while is over */
    assert_true(dr_publisher_replies_count(&t, "gone", &results));
    assert_int_equal(results, 1001);
    assert_false(dr_publisher_replies_count(&t, "gone", &results));
    assert_int_equal(results, 1);
}

static void each_topic_has_its_own_line(void **state)
{
    dr_publisher_replies t = { 0 };
    unsigned results;
    char topic[32];

    (void)state;
    for (int i = 0; i < DR_PUBLISHER_REPLIES_MAX; i++) {
        snprintf(topic, sizeof(topic), "gone-%d", i);
        assert_true(dr_publisher_replies_count(&t, topic, &results));
        assert_false(dr_publisher_replies_count(&t, topic, &results));
        t.place[i].nag.next_ms += i == 3 ? -1 : i; /* the one at 3 is the oldest */
    }
    assert_true(dr_publisher_replies_count(&t, "one-more", &results));
    assert_int_equal(results, 1);
    assert_false(dr_publisher_replies_count(&t, "gone-0", &results));
    assert_true(dr_publisher_replies_count(&t, "gone-3", &results)); /* forgotten, so it is new */
    assert_int_equal(results, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_topic_is_said_once_in_a_while),
        cmocka_unit_test(each_topic_has_its_own_line),
    };

    return cmocka_run_group_tests_name("publisher replies", tests, NULL, NULL);
}

/* The ledger against a log that it can't see.  In whatever order jobs are settled, and wherever a worker
 * dies, every job is committed exactly once. */
#include "worker/delivery/ledger.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void in_order(void **state)
{
    dr_ledger l;
    char text[DR_LEDGER_TEXT_MAX];

    (void)state;
    dr_ledger_reset(&l, 40);
    for (int64_t o = 40; o < 45; o++)
        assert_int_equal(dr_ledger_admit(&l, o), DR_LEDGER_ADMITTED);
    assert_int_equal(l.running, 5);
    for (int64_t o = 40; o < 45; o++) {
        dr_ledger_settle(&l, o);
        assert_int_equal(l.next, o + 1);
        dr_ledger_text(&l, text);
        assert_string_equal(text, "");
    }
    assert_int_equal(l.running, 0);
}

static void out_of_order_survives_a_restart(void **state)
{
    dr_ledger l, again;
    char text[DR_LEDGER_TEXT_MAX];
    dr_error err;

    (void)state;
    dr_ledger_reset(&l, 40);
    for (int64_t o = 40; o < 47; o++)
        dr_ledger_admit(&l, o);
    for (int64_t o = 40; o < 47; o++)
        if (o != 42 && o != 44)
            dr_ledger_settle(&l, o);
    assert_int_equal(l.next, 42);
    dr_ledger_text(&l, text);
    assert_string_equal(text, "dr1:42:DQ=="); /* bits 43, 45, 46 above 42: 1 + 4 + 8 */

    assert_int_equal(dr_ledger_restore(&again, 42, text, &err), DR_OK);
    for (int64_t o = 42; o < 48; o++)
        assert_int_equal(dr_ledger_admit(&again, o),
                         o == 42 || o == 44 || o == 47 ? DR_LEDGER_ADMITTED : DR_LEDGER_KNOWN);
    dr_ledger_settle(&again, 42);
    assert_int_equal(again.next, 44);
    dr_ledger_settle(&again, 44);
    assert_int_equal(again.next, 47);
}

/* The log has markers at 2 and 11, nothing at 5..9, and ends at 12. */
static void what_holds_no_job_is_passed(void **state)
{
    dr_ledger l;

    (void)state;
    dr_ledger_reset(&l, 0);
    dr_ledger_admit(&l, 0);
    dr_ledger_admit(&l, 1);
    dr_ledger_admit(&l, 3);
    dr_ledger_settle(&l, 0);
    dr_ledger_settle(&l, 1);
    assert_int_equal(l.next, 3);
    dr_ledger_admit(&l, 10);
    dr_ledger_reach(&l, 12);
    dr_ledger_settle(&l, 10);
    assert_int_equal(l.next, 3);
    dr_ledger_settle(&l, 3);
    assert_int_equal(l.next, 12);
}

static void a_far_jump_is_cheap(void **state)
{
    dr_ledger l;
    dr_error err;

    (void)state;
    /* 3 was settled by an earlier worker, then retention took everything below 10^15. */
    assert_int_equal(dr_ledger_restore(&l, 2, "dr1:2:AQ==", &err), DR_OK);
    assert_int_equal(dr_ledger_admit(&l, 1000000000000000), DR_LEDGER_ADMITTED);
    assert_int_equal(l.next, 1000000000000000);
    for (int64_t o = 0; o < DR_LEDGER_WINDOW; o++)
        assert_int_equal(dr_ledger_is_running(&l, l.next + o), o == 0);
}

static void a_full_window_waits_for_the_slowest(void **state)
{
    dr_ledger l;

    (void)state;
    dr_ledger_reset(&l, 7);
    for (int64_t o = 7; o < 7 + DR_LEDGER_WINDOW; o++)
        assert_int_equal(dr_ledger_admit(&l, o), DR_LEDGER_ADMITTED);
    for (int64_t o = 8; o < 7 + DR_LEDGER_WINDOW; o++)
        dr_ledger_settle(&l, o);
    assert_int_equal(dr_ledger_admit(&l, 7 + DR_LEDGER_WINDOW), DR_LEDGER_FULL);
    dr_ledger_settle(&l, 7);
    assert_int_equal(l.next, 7 + DR_LEDGER_WINDOW);
    assert_int_equal(dr_ledger_admit(&l, 7 + DR_LEDGER_WINDOW), DR_LEDGER_ADMITTED);
}

static void the_fullest_text_fits_and_comes_back(void **state)
{
    dr_ledger l, again;
    char text[DR_LEDGER_TEXT_MAX];
    const int64_t base = INT64_MAX - 3 * DR_LEDGER_WINDOW;
    dr_error err;

    (void)state;
    dr_ledger_reset(&l, base);
    for (int64_t o = base; o < base + DR_LEDGER_WINDOW; o++)
        dr_ledger_admit(&l, o);
    memset(l.lost_bits, 0xff, sizeof(l.lost_bits));
    dr_ledger_text(&l, text);
    assert_true(strlen(text) < DR_LEDGER_TEXT_MAX);
    assert_int_equal(dr_ledger_restore(&again, base, text, &err), DR_OK);
    assert_int_equal(dr_ledger_losses(&again, base + DR_LEDGER_WINDOW - 1), DR_DEVICE_LOSSES_MAX);
    for (int64_t o = base + 1; o < base + DR_LEDGER_WINDOW; o++)
        dr_ledger_settle(&l, o);
    dr_ledger_text(&l, text);
    assert_true(strlen(text) < DR_LEDGER_TEXT_MAX);
    assert_int_equal(dr_ledger_restore(&again, base, text, &err), DR_OK);
    assert_int_equal(dr_ledger_admit(&again, base), DR_LEDGER_ADMITTED);
    assert_int_equal(dr_ledger_admit(&again, base + DR_LEDGER_WINDOW - 1), DR_LEDGER_KNOWN);
    dr_ledger_settle(&again, base);
    assert_int_equal(again.next, base + DR_LEDGER_WINDOW);
}

static void a_dropped_job_is_never_passed(void **state)
{
    dr_ledger l;

    (void)state;
    dr_ledger_reset(&l, 0);
    dr_ledger_admit(&l, 0);
    dr_ledger_drop(&l, 0);
    assert_int_equal(l.running, 0);
    dr_ledger_admit(&l, 5);
    dr_ledger_settle(&l, 5);
    dr_ledger_reach(&l, 100);
    assert_int_equal(l.next, 0);
}

static void a_rebalance_keeps_what_runs(void **state)
{
    dr_ledger l, old;
    dr_error err;

    (void)state;
    dr_ledger_reset(&old, 10);
    for (int64_t o = 10; o < 15; o++)
        dr_ledger_admit(&old, o);
    /* Meanwhile somebody else settled 10, 11 and 13. */
    assert_int_equal(dr_ledger_restore(&l, 12, "dr1:12:AQ==", &err), DR_OK);
    dr_ledger_adopt(&l, &old);
    assert_int_equal(l.running, 2);
    assert_false(dr_ledger_is_running(&l, 11));
    assert_true(dr_ledger_is_running(&l, 12));
    assert_false(dr_ledger_is_running(&l, 13));
    assert_true(dr_ledger_is_running(&l, 14));
    for (int64_t o = 12; o < 15; o++)
        assert_int_equal(dr_ledger_admit(&l, o), DR_LEDGER_KNOWN);
    assert_int_equal(dr_ledger_admit(&l, 15), DR_LEDGER_ADMITTED);
    dr_ledger_settle(&l, 14);
    dr_ledger_settle(&l, 12);
    assert_int_equal(l.next, 15);
}

/* Four jobs, and four workers one after the other.  Each worker knows what the worker before has counted. */
static void lost_devices_are_counted_across_restarts(void **state)
{
    static const char *const texts[] = { "dr1:42:Ag==:CQ==:", "dr1:42:Ag==:AQ==:CA==",
                                         "dr1:42:Ag==:CQ==:CA==",
                                         "dr1:42:Ag==:CQ==:CA==" /* no more is counted */ };
    static const int losses[] = { 1, 2, 3, 3 }; /* of 45 */
    char text[DR_LEDGER_TEXT_MAX] = "";
    dr_ledger l;
    dr_error err;

    (void)state;
    for (int i = 0; i < 4; i++) {
        if (dr_ledger_restore(&l, 42, text, &err))
            fail_msg("%s", err.text);
        for (int64_t o = 42; o < 46; o++)
            assert_int_equal(dr_ledger_admit(&l, o), o == 44 && i > 0 ? DR_LEDGER_KNOWN : DR_LEDGER_ADMITTED);
        dr_ledger_settle(&l, 44);
        dr_ledger_lose(&l, 44); /* it is settled, so nothing is counted */
        dr_ledger_lose(&l, 45);
        if (i == 0)
            dr_ledger_lose(&l, 42);
        assert_false(dr_ledger_is_running(&l, 45));
        assert_false(dr_ledger_is_settled(&l, 45));
        dr_ledger_text(&l, text);
        assert_string_equal(text, texts[i]);
        assert_int_equal(dr_ledger_losses(&l, 42), 1);
        assert_int_equal(dr_ledger_losses(&l, 43), 0);
        assert_int_equal(dr_ledger_losses(&l, 44), 0);
        assert_int_equal(dr_ledger_losses(&l, 45), losses[i]);
    }
    dr_ledger_restore(&l, 42, text, &err);
    for (int64_t o = 42; o < 46; o++)
        dr_ledger_admit(&l, o);
    dr_ledger_settle(&l, 43);
    dr_ledger_settle(&l, 42);
    dr_ledger_text(&l, text);
    assert_string_equal(text, "dr1:45::AQ==:AQ=="); /* an answer ends the count */
    dr_ledger_settle(&l, 45);
    dr_ledger_text(&l, text);
    assert_string_equal(text, "");
    assert_int_equal(dr_ledger_losses(&l, 45 + DR_LEDGER_WINDOW), 0); /* whose place it had */
}

static void strange_metadata_is_refused(void **state)
{
    static const char *const texts[] = {
        "x",
        "dr1:",
        "dr1:42",
        "dr1:42:",
        "dr1:42:A",
        "dr1:42:AAA",
        "dr1:41:DQ==",
        "dr1:43:DQ==",
        "dr2:42:DQ==",
        "dr1:42:D Q=",
        "dr1:42:D=Q=",
        "dr1:42:====",
        "dr1:42:DQ==DQ==",
        "dr1:42:\xff\xff\xff\xff",
        "dr1:99999999999999999999:DQ==",
        "dr1::DQ==",
        "dr1:42:DQ==:",
        "dr1:42:DQ==:AQ==",
        "dr1:42:DQ==:AQ==:AQ==:",
        "dr1:42:DQ==:AQ=:",
        "dr1:42:DQ==::A",
        "dr1:42:D:AQ==:",
    };
    char *huge = malloc(5000);
    dr_ledger l;
    dr_error err;

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        assert_int_equal(dr_ledger_restore(&l, 42, texts[i], &err), DR_EFORMAT);
        for (int64_t o = 42; o < 60; o++) {
            assert_int_equal(dr_ledger_admit(&l, o), DR_LEDGER_ADMITTED);
            assert_int_equal(dr_ledger_losses(&l, o), 0);
        }
    }
    memset(huge, 'A', 4999);
    memcpy(huge, "dr1:42:", 7);
    huge[7 + 4000] = '\0';
    assert_int_equal(dr_ledger_restore(&l, 42, huge, &err), DR_EFORMAT);
    free(huge);
    assert_int_equal(dr_ledger_restore(&l, 42, NULL, &err), DR_OK);
    assert_int_equal(dr_ledger_restore(&l, 42, "", &err), DR_OK);
}

/* --- the property -------------------------------------------------------------------- */

enum { LOG = 12000, CONCURRENT = 300 };

typedef struct trial {
    uint64_t random;
    bool job[LOG];      /* the rest are markers and holes */
    int committed[LOG]; /* how often a result of it was committed */
    int64_t running[CONCURRENT];
    int running_count;
    dr_ledger ledger;
    int64_t committed_next;
    char committed_text[DR_LEDGER_TEXT_MAX];
    int64_t position; /* the next offset to read */
} trial;

static uint32_t draw(trial *t, uint32_t below)
{
    t->random ^= t->random << 13;
    t->random ^= t->random >> 7;
    t->random ^= t->random << 17;
    return (uint32_t)(t->random >> 32) % below;
}

static void read_one(trial *t)
{
    while (t->position < LOG && !t->job[t->position])
        t->position++;
    if (t->position == LOG) {
        dr_ledger_reach(&t->ledger, LOG);
        return;
    }
    switch (dr_ledger_admit(&t->ledger, t->position)) {
    case DR_LEDGER_ADMITTED:
        t->running[t->running_count++] = t->position++;
        break;
    case DR_LEDGER_KNOWN:
        t->position++;
        break;
    case DR_LEDGER_FULL:
        break;
    }
}

/* Does the same as the publisher: settles in a copy, commits the copy's text, and then keeps the copy.
 * After a failure it keeps nothing. */
static void settle_some(trial *t)
{
    const int n = 1 + (int)draw(t, 8);
    dr_ledger plan = t->ledger;
    int64_t done[8];
    int count = 0;

    while (count < n && t->running_count > 0) {
        /* The oldest job is slow: mostly another job is settled. */
        const uint32_t i = draw(t, 20) == 0 ? 0 : draw(t, (uint32_t)t->running_count);
        done[count++] = t->running[i];
        t->running[i] = t->running[--t->running_count];
    }
    for (int i = 0; i < count; i++)
        dr_ledger_settle(&plan, done[i]);
    if (draw(t, 10) == 0) { /* aborted: to be tried again */
        for (int i = 0; i < count; i++)
            t->running[t->running_count++] = done[i];
        return;
    }
    t->committed_next = plan.next;
    dr_ledger_text(&plan, t->committed_text);
    for (int i = 0; i < count; i++)
        t->committed[done[i]]++;
    t->ledger = plan;
}

static void restart(trial *t)
{
    dr_error err;

    assert_int_equal(dr_ledger_restore(&t->ledger, t->committed_next, t->committed_text, &err), DR_OK);
    t->position = t->committed_next;
    t->running_count = 0;
}

/* A rebalance gives the partition back: position and ledger are new, and the running jobs stay. */
static void come_back(trial *t)
{
    const dr_ledger old = t->ledger;
    dr_error err;

    assert_int_equal(dr_ledger_restore(&t->ledger, t->committed_next, t->committed_text, &err), DR_OK);
    dr_ledger_adopt(&t->ledger, &old);
    assert_int_equal(t->ledger.running, t->running_count);
    t->position = t->committed_next;
}

static void every_job_is_committed_once(void **state)
{
    trial *t = malloc(sizeof(*t));

    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        memset(t, 0, sizeof(*t));
        t->random = seed * 0x9e3779b97f4a7c15u;
        for (int i = 0; i < LOG; i++)
            t->job[i] = draw(t, 4) != 0;
        while (t->committed_next < LOG) {
            const uint32_t what = draw(t, 1000);
            if (what == 0)
                restart(t);
            else if (what == 1)
                come_back(t);
            else if (what < 600 && t->running_count < CONCURRENT)
                read_one(t);
            else
                settle_some(t);
        }
        for (int i = 0; i < LOG; i++)
            if (t->committed[i] != t->job[i])
                fail_msg("seed %d: offset %d was committed %d times", (int)seed, i, t->committed[i]);
    }
    free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_order),
        cmocka_unit_test(out_of_order_survives_a_restart),
        cmocka_unit_test(what_holds_no_job_is_passed),
        cmocka_unit_test(a_far_jump_is_cheap),
        cmocka_unit_test(a_full_window_waits_for_the_slowest),
        cmocka_unit_test(the_fullest_text_fits_and_comes_back),
        cmocka_unit_test(a_dropped_job_is_never_passed),
        cmocka_unit_test(a_rebalance_keeps_what_runs),
        cmocka_unit_test(lost_devices_are_counted_across_restarts),
        cmocka_unit_test(strange_metadata_is_refused),
        cmocka_unit_test(every_job_is_committed_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

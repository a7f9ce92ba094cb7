/* The scheduler: equals run together, urgent jobs go first, and every job comes out exactly once. */
#include "scheduler/scheduler.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { ROOM = 4 };

static int room(void *arg, const dr_batch_key *key)
{
    (void)arg, (void)key;
    return ROOM;
}

static dr_scheduler *make(size_t jobs_max)
{
    dr_scheduler *s;
    dr_error err;

    assert_int_equal(dr_scheduler_create(&s, &(dr_scheduler_options){ .jobs_max = jobs_max }, &err), DR_OK);
    return s;
}

/* Jobs with the same width and number of steps have equal keys. */
static dr_waiting_job job(int id, int width, int steps)
{
    return (dr_waiting_job){ .job = (void *)(intptr_t)id,
                             .key = { .digest = { (unsigned char)(width / 64), (unsigned char)steps } },
                             .samples = 1,
                             .deadline_ns = INT64_MAX };
}

static void add(dr_scheduler *s, dr_waiting_job j)
{
    assert_int_equal(dr_scheduler_add(s, &j, NULL), DR_OK);
}

static void assert_batch(const dr_batch *b, const char *ids)
{
    assert_int_equal(b->jobs, strlen(ids));
    for (int i = 0; i < b->jobs; i++)
        assert_int_equal((intptr_t)b->job[i], ids[i] - '0');
}

static void equals_run_together_in_order(void **state)
{
    dr_scheduler *s = make(16);
    dr_batch b;
    (void)state;

    add(s, job(1, 64, 20));
    add(s, job(2, 128, 20));
    add(s, job(3, 64, 20));
    add(s, job(4, 64, 50));
    add(s, job(5, 64, 20));
    b = dr_scheduler_next(s, 0, room, NULL);
    assert_int_equal(b.decision, DR_RUN_BATCH);
    assert_batch(&b, "135");
    b = dr_scheduler_next(s, 0, room, NULL);
    assert_batch(&b, "2");
    b = dr_scheduler_next(s, 0, room, NULL);
    assert_batch(&b, "4");
    b = dr_scheduler_next(s, 0, room, NULL);
    assert_int_equal(b.decision, DR_IDLE);
    dr_scheduler_free(s);
}

/* Keys that differ in one byte of the digest, or in the number of the job that runs alone. */
static void every_part_of_a_key_parts_batches(void **state)
{
    enum { PARTS = sizeof(((dr_batch_key *)NULL)->digest) + 1 };
    dr_scheduler *s = make(16);
    dr_batch b;
    (void)state;

    for (int i = 0; i < PARTS; i++) {
        dr_waiting_job other = job(2 + i, 64, 20);

        if (i < PARTS - 1)
            other.key.digest[i]++;
        else
            other.key.alone = 1;
        add(s, job(1, 64, 20));
        add(s, other);
        add(s, job(9, 64, 20));
        b = dr_scheduler_next(s, 0, room, NULL);
        assert_batch(&b, "19");
        b = dr_scheduler_next(s, 0, room, NULL);
        assert_int_equal(b.jobs, 1);
        assert_int_equal((intptr_t)b.job[0], 2 + i);
    }
    dr_scheduler_free(s);
}

static void a_batch_keeps_to_its_room(void **state)
{
    dr_scheduler *s = make(16);
    dr_waiting_job big = job(2, 64, 20);
    dr_batch b;
    (void)state;

    big.samples = 9; /* more than the room: alone */
    add(s, job(1, 64, 20));
    add(s, big);
    for (int i = 3; i <= 7; i++)
        add(s, job(i, 64, 20));
    b = dr_scheduler_next(s, 0, room, NULL);
    assert_batch(&b, "1345");
    assert_int_equal(b.samples, ROOM);
    b = dr_scheduler_next(s, 0, room, NULL);
    assert_batch(&b, "2");
    b = dr_scheduler_next(s, 0, room, NULL);
    assert_batch(&b, "67");
    dr_scheduler_free(s);
}

static void the_urgent_lead(void **state)
{
    dr_scheduler *s = make(16);
    dr_waiting_job urgent = job(3, 128, 20);
    dr_batch b;
    (void)state;

    urgent.priority = 1;
    add(s, job(1, 64, 20));
    add(s, job(2, 128, 20));
    add(s, urgent);
    b = dr_scheduler_next(s, 0, room, NULL);
    assert_batch(&b, "32");
    dr_scheduler_free(s);
}

static void the_late_expire_and_never_run(void **state)
{
    dr_scheduler *s = make(16);
    dr_waiting_job late = job(1, 64, 20);
    dr_batch b;
    (void)state;

    late.deadline_ns = 100;
    add(s, late);
    add(s, job(2, 64, 20));
    b = dr_scheduler_next(s, 100, room, NULL);
    assert_int_equal(b.decision, DR_EXPIRE);
    assert_batch(&b, "1");
    b = dr_scheduler_next(s, 100, room, NULL);
    assert_batch(&b, "2");
    dr_scheduler_free(s);
}

static void a_full_queue_refuses_and_says_retry(void **state)
{
    dr_scheduler *s = make(1);
    dr_waiting_job second = job(2, 64, 20);
    dr_error err;
    (void)state;

    add(s, job(1, 64, 20));
    assert_int_equal(dr_scheduler_add(s, &second, &err), DR_ENOMEM);
    assert_true(err.retriable);
    assert_true(dr_scheduler_remove(s, (void *)1));
    assert_false(dr_scheduler_remove(s, (void *)1));
    assert_int_equal(dr_scheduler_add(s, &second, &err), DR_OK);
    assert_int_equal(dr_scheduler_waiting(s), 1);
    dr_scheduler_free(s);
}

/* Jobs come and go at random.  Every job comes out exactly once, in a batch with its equals only. */
static void none_lost_none_twice(void **state)
{
    enum { JOBS = 20000 };
    static unsigned char seen[JOBS + 1];
    dr_scheduler *s = make(64);
    uint32_t random = 7;
    int next = 1, out = 0;
    (void)state;

    while (out < JOBS) {
        random = random * 1664525u + 1013904223u;
        if ((random >> 30) && next <= JOBS && dr_scheduler_waiting(s) < 64) {
            dr_waiting_job j = job(next, 64 << (next * 7 % 3), 20 + next % 2);

            j.samples = 1 + (int)(random >> 8) % 6;
            j.priority = (int)(random >> 16) % 3;
            add(s, j);
            next++;
            continue;
        }
        const dr_batch b = dr_scheduler_next(s, next, room, NULL);
        assert_true(b.samples <= ROOM || b.jobs == 1);
        for (int i = 0; i < b.jobs; i++, out++) {
            const int id = (int)(intptr_t)b.job[i];

            assert_int_equal(seen[id]++, 0);
            assert_int_equal(b.key.digest[0], 1 << (id * 7 % 3));
            assert_int_equal(b.key.digest[1], 20 + id % 2);
        }
    }
    dr_scheduler_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_run_together_in_order),
        cmocka_unit_test(every_part_of_a_key_parts_batches),
        cmocka_unit_test(a_batch_keeps_to_its_room),
        cmocka_unit_test(the_urgent_lead),
        cmocka_unit_test(the_late_expire_and_never_run),
        cmocka_unit_test(a_full_queue_refuses_and_says_retry),
        cmocka_unit_test(none_lost_none_twice),
    };
    return cmocka_run_group_tests_name("scheduler", tests, NULL, NULL);
}

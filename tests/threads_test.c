/* The CPU backend's loops: every item once, whatever the number of threads, pieces and items; under
 * ThreadSanitizer (make tsan) also without a race. */
#include "ops/cpu/threads.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

enum { ITEMS_MAX = 1000, THREADS_MAX = 5 };

typedef struct visits {
    int times[ITEMS_MAX];
    int busy[THREADS_MAX]; /* pieces that a thread is in: without a lock, as no two may have its number */
    size_t n, grain;
    int threads;
} visits;

/* Failing is for the test's own thread: wrong visits are counted so that they show there. */
static void visit(void *arg, size_t begin, size_t end, int thread)
{
    visits *v = arg;
    const bool good = begin < end && end <= v->n && thread >= 0 && thread < v->threads &&
                      (end - begin <= v->grain || v->threads == 1) && v->busy[thread]++ == 0;

    for (size_t i = begin; i < end; i++)
        v->times[i] += good ? 1 : 1000;
    v->busy[thread]--;
}

static void every_item_is_visited_once(void **state)
{
    static const size_t items[] = { 0, 1, 2, 3, 7, 64, 999, ITEMS_MAX };
    static const size_t grains[] = { 1, 2, 3, 100, ITEMS_MAX };
    static visits v;
    (void)state;

    for (int threads = 1; threads <= THREADS_MAX; threads++) {
        cpu_threads *t;
        dr_error err;

        assert_int_equal(cpu_threads_start(&t, threads, &err), DR_OK);
        for (int round = 0; round < 20; round++)
            for (size_t i = 0; i < sizeof(items) / sizeof(items[0]); i++)
                for (size_t g = 0; g < sizeof(grains) / sizeof(grains[0]); g++) {
                    v = (visits){ .n = items[i], .grain = grains[g], .threads = threads };
                    cpu_for(t, v.n, v.grain, visit, &v);
                    for (size_t k = 0; k < ITEMS_MAX; k++)
                        assert_int_equal(v.times[k], k < v.n);
                }
        cpu_threads_stop(t);
    }
    cpu_threads_stop(NULL);
}

/* Threads that have gone to sleep come back, and those that never had work end. */
static void sleepers_wake_and_end(void **state)
{
    static visits v;
    cpu_threads *t;
    dr_error err;
    (void)state;

    for (int i = 0; i < 20; i++) {
        assert_int_equal(cpu_threads_start(&t, 3, &err), DR_OK);
        usleep(i % 4 * 1000); /* spinning lasts some 50 us */
        v = (visits){ .n = 10, .grain = 1, .threads = 3 };
        if (i % 2)
            cpu_for(t, v.n, v.grain, visit, &v);
        for (size_t k = 0; k < 10; k++)
            assert_int_equal(v.times[k], i % 2);
        cpu_threads_stop(t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_item_is_visited_once),
        cmocka_unit_test(sleepers_wake_and_end),
    };
    return cmocka_run_group_tests_name("threads", tests, NULL, NULL);
}

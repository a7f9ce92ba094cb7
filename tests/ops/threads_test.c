/* Tests loops over threads: every piece is computed exactly once, whichever thread takes it, and the caller
 * may read what the piece wrote.  Pieces write plain memory, so ThreadSanitizer sees whether that is safe. */
#include "ops/cpu/threads.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

enum { THREADS_MAX = 8, N_MAX = 5000 };

static cpu_threads *start(int count)
{
    cpu_threads *t;
    dr_error err;

    assert_int_equal(cpu_threads_start(&t, count, &err), DR_OK);
    return t;
}

/* --- each piece once ----------------------------------------------------------------- */

typedef struct counted_loop {
    size_t n, grain;
    int threads;
    int times[N_MAX];             /* how often each index was computed */
    atomic_int busy[THREADS_MAX]; /* pieces that run with this thread number */
    atomic_int wrong;             /* cmocka's asserts belong to the caller's thread */
} counted_loop;

static void count_body(void *arg, size_t begin, size_t end, int thread)
{
    counted_loop *l = arg;

    if (begin >= end || end > l->n || thread < 0 || thread >= l->threads) {
        l->wrong++;
        return;
    }
    if (l->threads > 1 && (begin % l->grain != 0 || end - begin > l->grain))
        l->wrong++;
    if (atomic_fetch_add(&l->busy[thread], 1) != 0)
        l->wrong++;
    for (size_t i = begin; i < end; i++)
        l->times[i]++;
    atomic_fetch_sub(&l->busy[thread], 1);
}

static void run_counted(cpu_threads *t, int threads, size_t n, size_t grain)
{
    static counted_loop l;

    l = (counted_loop){ .n = n, .grain = grain, .threads = threads };
    cpu_for(t, n, grain, count_body, &l);
    assert_int_equal(l.wrong, 0);
    for (size_t i = 0; i < N_MAX; i++)
        if (l.times[i] != (i < n))
            fail_msg("%d threads, n %zu, grain %zu: index %zu computed %d times", threads, n, grain, i,
                     l.times[i]);
}

static void each_piece_is_computed_once(void **state)
{
    static const size_t n[] = { 0, 1, 2, 3, 7, 8, 9, 63, 64, 65, 1000, N_MAX };
    static const size_t grain[] = { 1, 2, 3, 8, 64, 999, N_MAX, 10 * N_MAX };
    (void)state;

    for (int threads = 1; threads <= THREADS_MAX; threads++) {
        cpu_threads *t = start(threads);

        for (size_t i = 0; i < sizeof(n) / sizeof(n[0]); i++)
            for (size_t k = 0; k < sizeof(grain) / sizeof(grain[0]); k++)
                run_counted(t, threads, n[i], grain[k]);
        cpu_threads_stop(t);
    }
}

/* --- loop after loop ------------------------------------------------------------------ */

typedef struct chained_loop {
    const uint32_t *from;
    uint32_t *to;
    size_t n;
} chained_loop;

/* Reads the values that other threads wrote in the previous loop. */
static void chain_body(void *arg, size_t begin, size_t end, int thread)
{
    const chained_loop *l = arg;
    (void)thread;

    for (size_t i = begin; i < end; i++)
        l->to[i] = 3 * l->from[(i + 1) % l->n] + l->from[i];
}

/* Runs thousands of loops of a few pieces each.  Threads come late to one loop, and early to the next. */
static void a_loop_sees_what_the_last_one_wrote(void **state)
{
    enum { N = 24, LOOPS = 2000 };
    (void)state;

    for (int threads = 1; threads <= THREADS_MAX; threads++) {
        cpu_threads *t = start(threads);
        uint32_t a[2][N], expected[2][N];

        for (size_t i = 0; i < N; i++)
            a[0][i] = expected[0][i] = (uint32_t)i;
        for (int k = 0; k < LOOPS; k++) {
            chained_loop l = { a[k % 2], a[(k + 1) % 2], N };
            chained_loop alone = { expected[k % 2], expected[(k + 1) % 2], N };

            cpu_for(t, N, (size_t)(1 + k % 5), chain_body, &l);
            chain_body(&alone, 0, N, 0);
            assert_memory_equal(l.to, alone.to, sizeof(a[0]));
        }
        cpu_threads_stop(t);
    }
}

/* --- whoever is free ------------------------------------------------------------------ */

typedef struct held_loop {
    size_t n;
    atomic_size_t computed;
    atomic_int holder; /* 1 + the thread number that the first piece keeps */
    atomic_int wrong;
} held_loop;

/* The first piece ends last. */
static void held_body(void *arg, size_t begin, size_t end, int thread)
{
    held_loop *l = arg;

    if (begin == 0) {
        atomic_store(&l->holder, thread + 1);
        while (atomic_load(&l->computed) != l->n - 1)
            sched_yield();
    } else if (atomic_load(&l->holder) == thread + 1) {
        l->wrong++;
    }
    atomic_fetch_add(&l->computed, end - begin);
}

/* If pieces were dealt out beforehand, those after the waiting one would never be computed. */
static void a_thread_that_is_held_up_holds_nobody_up(void **state)
{
    (void)state;

    for (int threads = 2; threads <= THREADS_MAX; threads++) {
        cpu_threads *t = start(threads);

        for (int k = 0; k < 50; k++) {
            held_loop l = { .n = 100 };

            cpu_for(t, l.n, 1, held_body, &l);
            assert_int_equal(l.computed, l.n);
            assert_int_equal(l.wrong, 0);
        }
        cpu_threads_stop(t);
    }
}

/* --- start and stop ------------------------------------------------------------------- */

static void threads_start_and_stop(void **state)
{
    (void)state;

    for (int k = 0; k < 200; k++) {
        const int threads = 1 + k % THREADS_MAX;
        cpu_threads *t = start(threads);

        if (k % 3 != 0) /* without this loop the threads are stopped at once, and some never saw a loop */
            run_counted(t, threads, 100, 7);
        cpu_threads_stop(t);
    }
    cpu_threads_stop(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_piece_is_computed_once),
        cmocka_unit_test(a_loop_sees_what_the_last_one_wrote),
        cmocka_unit_test(a_thread_that_is_held_up_holds_nobody_up),
        cmocka_unit_test(threads_start_and_stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

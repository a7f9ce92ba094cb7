/* threads.c - how a loop is handed out.
 *
 * The ticket holds the loop's number and how many of its pieces are left, in one word.
 *
 *     caller                                     a thread
 *     1. writes body, arg, n, grain, pieces
 *     2. ticket = { loop + 1, left = pieces }
 *                                                3. reads the ticket, then the loop's fields
 *                                                4. swaps in { same loop, left - 1 }: the piece is its own
 *     5. takes pieces as well                    5. computes it, counts it as done
 *     6. waits until all are done
 *
 * Fields are written only while no piece is left.  So a thread whose swap succeeds has read the fields of
 * this very loop: if they had changed, the ticket would have changed too.  A thread that comes late finds
 * no piece left and touches nothing. */
#include "ops/cpu/threads.h"

#include "base/relax.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

enum { SPINS = 1000 }; /* some 20 to 50 us */

typedef struct worker {
    cpu_threads *owner;
    int index;
    pthread_t thread;
} worker;

struct cpu_threads {
    _Atomic uint64_t ticket; /* loop << 32 | pieces left */
    _Atomic(cpu_body *) body;
    _Atomic(void *) arg;
    atomic_size_t n, grain;
    atomic_uint pieces, done;
    atomic_bool stopping;

    pthread_mutex_t lock; /* for sleeping only */
    pthread_cond_t work, finished;
    atomic_int sleepers;
    atomic_bool caller_sleeps;

    int count, started;
    worker worker[];
};

static uint32_t loop_of(uint64_t ticket)
{
    return (uint32_t)(ticket >> 32);
}

/* Take one piece of the current loop and compute it.  False: none is left. */
static bool take_piece(cpu_threads *t, int thread)
{
    uint64_t ticket = atomic_load(&t->ticket);
    cpu_body *body;
    void *arg;
    size_t begin, end, n, grain;
    uint32_t pieces;

    do {
        if ((uint32_t)ticket == 0)
            return false;
        pieces = atomic_load(&t->pieces);
        body = atomic_load(&t->body);
        arg = atomic_load(&t->arg);
        n = atomic_load(&t->n);
        grain = atomic_load(&t->grain);
    } while (!atomic_compare_exchange_weak(&t->ticket, &ticket, ticket - 1));

    begin = (size_t)(pieces - (uint32_t)ticket) * grain;
    end = n - begin < grain ? n : begin + grain;
    body(arg, begin, end, thread);
    if (atomic_fetch_add(&t->done, 1) + 1 == pieces && atomic_load(&t->caller_sleeps)) {
        pthread_mutex_lock(&t->lock);
        pthread_cond_signal(&t->finished);
        pthread_mutex_unlock(&t->lock);
    }
    return true;
}

/* Waits until there is another loop than `seen`, or the threads are to end. */
static void wait_for_work(cpu_threads *t, uint32_t seen)
{
    for (int i = 0; i < SPINS; i++) {
        if (loop_of(atomic_load(&t->ticket)) != seen || atomic_load(&t->stopping))
            return;
        dr_relax();
    }
    pthread_mutex_lock(&t->lock);
    atomic_fetch_add(&t->sleepers, 1);
    while (loop_of(atomic_load(&t->ticket)) == seen && !atomic_load(&t->stopping))
        pthread_cond_wait(&t->work, &t->lock);
    atomic_fetch_sub(&t->sleepers, 1);
    pthread_mutex_unlock(&t->lock);
}

static void *work(void *arg)
{
    const worker *w = arg;
    cpu_threads *t = w->owner;
    uint32_t seen = 0;

    while (!atomic_load(&t->stopping)) {
        wait_for_work(t, seen);
        seen = loop_of(atomic_load(&t->ticket));
        while (take_piece(t, w->index))
            ;
    }
    return NULL;
}

static void wake_workers(cpu_threads *t)
{
    if (atomic_load(&t->sleepers) == 0)
        return;
    pthread_mutex_lock(&t->lock);
    pthread_cond_broadcast(&t->work);
    pthread_mutex_unlock(&t->lock);
}

static void wait_for_done(cpu_threads *t, uint32_t pieces)
{
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load(&t->done) == pieces)
            return;
        dr_relax();
    }
    pthread_mutex_lock(&t->lock);
    atomic_store(&t->caller_sleeps, true);
    while (atomic_load(&t->done) != pieces)
        pthread_cond_wait(&t->finished, &t->lock);
    atomic_store(&t->caller_sleeps, false);
    pthread_mutex_unlock(&t->lock);
}

void cpu_for(cpu_threads *t, size_t n, size_t grain, cpu_body *body, void *arg)
{
    const size_t pieces = (n + grain - 1) / grain;

    dr_assert(grain > 0 && pieces <= UINT32_MAX / 2);
    if (n == 0)
        return;
    if (pieces == 1 || t->count == 1) {
        body(arg, 0, n, 0);
        return;
    }
    atomic_store(&t->body, body);
    atomic_store(&t->arg, arg);
    atomic_store(&t->n, n);
    atomic_store(&t->grain, grain);
    atomic_store(&t->done, 0);
    atomic_store(&t->pieces, (uint32_t)pieces);
    atomic_store(&t->ticket, (uint64_t)(loop_of(atomic_load(&t->ticket)) + 1) << 32 | pieces);
    wake_workers(t);
    while (take_piece(t, 0))
        ;
    wait_for_done(t, (uint32_t)pieces);
}

/* --- start and stop ------------------------------------------------------------------ */

dr_status cpu_threads_start(cpu_threads **out, int count, dr_error *err)
{
    cpu_threads *t;

    *out = NULL;
    dr_assert(count >= 1);
    t = calloc(1, sizeof(*t) + (size_t)count * sizeof(t->worker[0]));
    if (!t)
        return dr_fail(err, DR_ENOMEM, "no memory for %d threads", count);
    t->count = count;
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->work, NULL);
    pthread_cond_init(&t->finished, NULL);
    while (t->started < count - 1) {
        worker *w = &t->worker[t->started];

        *w = (worker){ .owner = t, .index = t->started + 1 };
        if (pthread_create(&w->thread, NULL, work, w)) {
            dr_fail(err, DR_ENOMEM, "no thread %d of %d could be started", w->index, count);
            cpu_threads_stop(t);
            return DR_ENOMEM;
        }
        t->started++;
    }
    *out = t;
    return DR_OK;
}

void cpu_threads_stop(cpu_threads *t)
{
    if (!t)
        return;
    pthread_mutex_lock(&t->lock);
    atomic_store(&t->stopping, true);
    pthread_cond_broadcast(&t->work);
    pthread_mutex_unlock(&t->lock);
    for (int i = 0; i < t->started; i++)
        pthread_join(t->worker[i].thread, NULL);
    pthread_cond_destroy(&t->finished);
    pthread_cond_destroy(&t->work);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

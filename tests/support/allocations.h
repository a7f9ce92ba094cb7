/* allocations.h - counts the allocations of Darkroom's own code, and makes them fail one by one.
 *
 * The linker redirects the calls of Darkroom's own objects to this file, but not those of libraries
 * (--wrap, see the Makefile):
 *
 *     malloc, calloc, realloc, aligned_alloc, strdup, strndup  ->  the nth fails; for_good: all after it, too
 *     free                                                     ->  memory of a library is freed like before
 *
 * Only one file of a program may include it.  Threads: any may allocate; one calls the functions of this
 * file. */
#ifndef DR_TESTS_SUPPORT_ALLOCATIONS_H
#define DR_TESTS_SUPPORT_ALLOCATIONS_H

#include "base/error.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The functions of libc, and the functions below that the linker calls in their place. */
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_aligned_alloc(size_t align, size_t size);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t most);
void __real_free(void *memory);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t most);
void __wrap_free(void *memory);

enum { LIVING_MAX = 1 << 16 /* a power of two, and more than ever live at once */ };

static struct {
    pthread_mutex_t lock;
    int asked;     /* allocations since the counting began */
    int fail_at;   /* number of the allocation that fails; 0: none */
    bool for_good; /* all after it fail, too */
    bool in_turn;  /* next the second after it fails, then the third after that, ... */
    int failed;    /* how many have failed */
    int living;
    void *place[LIVING_MAX]; /* a hash table of the allocations that live; NULL ends a search */
} allocations = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* Count from here on; the nth allocation fails.  0: none fails. */
static inline void allocations_fail(int nth, bool for_good)
{
    pthread_mutex_lock(&allocations.lock);
    allocations.asked = allocations.failed = 0;
    allocations.fail_at = nth;
    allocations.for_good = for_good;
    allocations.in_turn = false;
    pthread_mutex_unlock(&allocations.lock);
}

/* For code that begins anew after each failure: the first allocation of the first try fails, the second of
 * the second try, the third of the third, and so on. */
static inline void allocations_fail_in_turn(void)
{
    allocations_fail(1, false);
    allocations.in_turn = true;
}

/* How many allocations have failed since the counting began. */
static inline int allocations_failed(void)
{
    pthread_mutex_lock(&allocations.lock);
    const int failed = allocations.failed;
    pthread_mutex_unlock(&allocations.lock);
    return failed;
}

static inline size_t allocations_home(const void *memory)
{
    return (size_t)((uintptr_t)memory / 16 * UINT64_C(0x9e3779b97f4a7c15) >> 40) % LIVING_MAX;
}

static inline bool allocations_fails(void)
{
    pthread_mutex_lock(&allocations.lock);
    const int n = ++allocations.asked, at = allocations.fail_at;
    const bool yes = at && (n == at || (n > at && allocations.for_good));
    allocations.failed += yes;
    if (yes && allocations.in_turn) {
        allocations.fail_at++;
        allocations.asked = 0;
    }
    pthread_mutex_unlock(&allocations.lock);
    if (yes)
        errno = ENOMEM;
    return yes;
}

static inline void *allocations_enter(void *memory)
{
    size_t at = allocations_home(memory);

    if (!memory)
        return NULL;
    pthread_mutex_lock(&allocations.lock);
    dr_assert(allocations.living < LIVING_MAX / 2);
    while (allocations.place[at])
        at = (at + 1) % LIVING_MAX;
    allocations.place[at] = memory;
    allocations.living++;
    pthread_mutex_unlock(&allocations.lock);
    return memory;
}

/* Forget memory that is to be freed.  If it is not known, it is a library's. */
static inline void allocations_leave(void *memory)
{
    size_t at = allocations_home(memory), next;

    pthread_mutex_lock(&allocations.lock);
    while (allocations.place[at] && allocations.place[at] != memory)
        at = (at + 1) % LIVING_MAX;
    if (memory && allocations.place[at]) {
        allocations.living--;
        /* Move entries after it forward, as far as it was in their way. */
        for (next = (at + 1) % LIVING_MAX; allocations.place[next]; next = (next + 1) % LIVING_MAX) {
            const size_t home = allocations_home(allocations.place[next]);
            if ((next - home) % LIVING_MAX >= (next - at) % LIVING_MAX) {
                allocations.place[at] = allocations.place[next];
                at = next;
            }
        }
        allocations.place[at] = NULL;
    }
    pthread_mutex_unlock(&allocations.lock);
}

void *__wrap_malloc(size_t size)
{
    return allocations_fails() ? NULL : allocations_enter(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size)
{
    return allocations_fails() ? NULL : allocations_enter(__real_calloc(count, size));
}

void *__wrap_realloc(void *old, size_t size)
{
    void *memory;

    if (allocations_fails())
        return NULL;
    allocations_leave(old);
    memory = __real_realloc(old, size);
    dr_assert(memory);
    return allocations_enter(memory);
}

void *__wrap_aligned_alloc(size_t align, size_t size)
{
    return allocations_fails() ? NULL : allocations_enter(__real_aligned_alloc(align, size));
}

char *__wrap_strdup(const char *text)
{
    return allocations_fails() ? NULL : allocations_enter(__real_strdup(text));
}

char *__wrap_strndup(const char *text, size_t most)
{
    return allocations_fails() ? NULL : allocations_enter(__real_strndup(text, most));
}

void __wrap_free(void *memory)
{
    allocations_leave(memory);
    __real_free(memory);
}

/* Call `attempt` again and again, and make its allocation 1, 2, 3, ... fail, until it makes fewer; every
 * seventh time all after it fail, too.  Asserts that each attempt either succeeds, or fails with DR_ENOMEM
 * and retriable, and that it leaves no memory behind.  Returns how many allocations it makes. */
static inline int torture(dr_status (*attempt)(void *context, dr_error *err), void *context)
{
    for (int n = 1;; n++) {
        for (int good = 0; good <= (n % 7 == 0); good++) {
            const int before = allocations.living;
            dr_error err = { .status = DR_OK };
            dr_status rc;
            int asked;

            allocations_fail(n, good);
            rc = attempt(context, &err);
            asked = allocations.asked;
            allocations_fail(0, false);
            if (allocations.living != before)
                fail_msg("allocation %d failed: %d were not given back", n, allocations.living - before);
            if (rc && rc != DR_ENOMEM)
                fail_msg("allocation %d failed: status %s, %s", n, dr_status_name(rc), err.text);
            if (rc) {
                assert_int_equal(err.status, rc);
                assert_true(err.retriable && err.text[0]);
            } else if (asked < n) {
                return asked;
            }
        }
    }
}

#endif

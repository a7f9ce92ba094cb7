#include "ops/arena.h"

#include "base/error.h"

#include <stdint.h>
#include <string.h>

/* Addresses of a planning arena start above zero, so that no block looks like NULL. */
static char *origin(const dr_arena *a)
{
    return a->base ? a->base : (char *)(uintptr_t)DR_ARENA_ALIGN;
}

void dr_arena_init(dr_arena *a, void *base, size_t capacity)
{
    memset(a, 0, sizeof(*a));
    a->base = base;
    a->capacity = capacity;
}

dr_arena_mark dr_arena_mark_of(const dr_arena *a)
{
    return (dr_arena_mark){ .live = a->live, .end = a->live ? a->blocks[a->live - 1].end : 0 };
}

bool dr_arena_is_at(const dr_arena *a, dr_arena_mark mark)
{
    const dr_arena_mark now = dr_arena_mark_of(a);

    return now.live == mark.live && now.end == mark.end;
}

/* Block `at` lies between its neighbours, and inside. */
static void check_place(const dr_arena *a, int at)
{
    dr_assert(a->live <= DR_ARENA_BLOCKS_MAX && a->blocks[at].begin < a->blocks[at].end);
    dr_assert(a->blocks[at].end <= a->capacity && a->peak <= a->capacity);
    dr_assert(at == 0 || a->blocks[at - 1].end <= a->blocks[at].begin);
    dr_assert(at + 1 == a->live || a->blocks[at].end <= a->blocks[at + 1].begin);
}

void *dr_arena_take(dr_arena *a, size_t bytes)
{
    const size_t size = (bytes + DR_ARENA_ALIGN - 1) / DR_ARENA_ALIGN * DR_ARENA_ALIGN;
    size_t begin = 0;
    int at;

    if (a->live == DR_ARENA_BLOCKS_MAX || bytes == 0 || size < bytes)
        return NULL;
    for (at = 0; at < a->live; at++) {
        if (a->blocks[at].begin - begin >= size)
            break;
        begin = a->blocks[at].end;
    }
    if (size > a->capacity - begin)
        return NULL;
    memmove(&a->blocks[at + 1], &a->blocks[at], (size_t)(a->live - at) * sizeof(a->blocks[0]));
    a->blocks[at].begin = begin;
    a->blocks[at].end = begin + size;
    a->live++;
    if (begin + size > a->peak)
        a->peak = begin + size;
    check_place(a, at);
    return origin(a) + begin;
}

void dr_arena_release(dr_arena *a, const void *block)
{
    const size_t begin = (size_t)((const char *)block - origin(a));
    int at = 0;

    while (at < a->live && a->blocks[at].begin != begin)
        at++;
    dr_assert(at < a->live); /* released twice, or never taken */
    a->live--;
    memmove(&a->blocks[at], &a->blocks[at + 1], (size_t)(a->live - at) * sizeof(a->blocks[0]));
}

/* arena.h - the memory of activations.
 *
 * One span of device memory.  Blocks are taken first-fit and released one by one.  The same sequence of
 * calls always gives the same offsets.  So a pass is played once without memory (base NULL) to learn how
 * much it needs, and then runs in exactly that much:
 *
 *     0        take a   take b            release a     take c
 *     |        [a    ]  [a    ][b    ]    [     ][b ]   [c ][  ][b    ]
 *
 * Nothing here allocates.  One thread. */
#ifndef DR_OPS_ARENA_H
#define DR_OPS_ARENA_H

#include "base/limits.h"

#include <stdbool.h>
#include <stddef.h>

enum { DR_ARENA_ALIGN = 64 }; /* bytes: a cache line, and an AVX-512 vector */

typedef struct dr_arena {
    char *base;      /* NULL while planning */
    size_t capacity; /* bytes; SIZE_MAX while planning */
    size_t peak;     /* bytes: the highest end of a block so far */
    int live;
    struct {
        size_t begin, end;
    } blocks[DR_ARENA_BLOCKS_MAX]; /* in order of address */
} dr_arena;

/* An empty arena over base, which is borrowed.  base NULL and capacity SIZE_MAX: for planning. */
void dr_arena_init(dr_arena *a, void *base, size_t capacity);

/* How much is taken now: compare marks to see whether all that was taken since has been released. */
typedef struct dr_arena_mark {
    int live;
    size_t end; /* bytes: the highest end of a block */
} dr_arena_mark;
dr_arena_mark dr_arena_mark_of(const dr_arena *a);
bool dr_arena_is_at(const dr_arena *a, dr_arena_mark mark);

/* Takes a block: its address, or NULL where no gap is large enough, too many blocks are alive, or bytes is 0.
 * While planning the address is the offset plus DR_ARENA_ALIGN, never to be read from. */
void *dr_arena_take(dr_arena *a, size_t bytes);
void dr_arena_release(dr_arena *a, const void *block); /* a block that was taken and not yet released */

#endif

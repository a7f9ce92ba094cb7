/* arena.h - where activations live.
 *
 * One span of device memory, handed out first-fit and given back by hand.  The
 * same sequence of calls always gives the same offsets, so a pass is played once without
 * memory (base NULL) to learn how much it needs, and then run in exactly that much:
 *
 *     0        take a   take b            release a     take c
 *     |        [a    ]  [a    ][b    ]    [     ][b ]   [c ][  ][b    ]
 *
 * Nothing here allocates.  One thread. */
#ifndef DR_OPS_ARENA_H
#define DR_OPS_ARENA_H

#include "base/limits.h"

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

void dr_arena_init(dr_arena *a, void *base, size_t capacity);

/* The block's address, or NULL where no gap is large enough, too many blocks are alive, or bytes is 0.
 * While planning the address is the offset plus DR_ARENA_ALIGN, never to be read from. */
void *dr_arena_take(dr_arena *a, size_t bytes);
void dr_arena_release(dr_arena *a, const void *block);

#endif

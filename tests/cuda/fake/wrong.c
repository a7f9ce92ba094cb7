/* wrong.c - makes a kernel compute wrongly.  It compares all of the device's memory before and after, to find
 * what the kernel wrote. */
#include "tests/cuda/fake/runtime.h"

#include "base/error.h"
#include "tests/cuda/shim/run.h"

#include <stdlib.h>
#include <string.h>

enum { BLOCK_BYTES_MAX = 16 << 20 }; /* larger blocks are the libraries' workspaces */

typedef struct before {
    char *memory, *copy;
    size_t bytes;
} before;

typedef struct snapshot {
    before *block;
    int blocks;
} snapshot;

static void keep(char *memory, size_t bytes, void *arg)
{
    snapshot *s = arg;

    if (bytes > BLOCK_BYTES_MAX)
        return;
    s->block = realloc(s->block, (size_t)(s->blocks + 1) * sizeof(*s->block));
    dr_assert(s->block);
    s->block[s->blocks] = (before){ memory, malloc(bytes), bytes };
    dr_assert(s->block[s->blocks].copy);
    memcpy(s->block[s->blocks++].copy, memory, bytes);
}

/* Changes four bytes, the first of which the kernel changed: the upper bits of two 16-bit values, or of one
 * float32. */
static bool spoil(const before *b)
{
    for (size_t i = 0; i + 4 <= b->bytes; i += 4)
        if (memcmp(b->memory + i, b->copy + i, 4)) {
            b->memory[i + 1] ^= 0x40;
            b->memory[i + 3] ^= 0x40;
            return true;
        }
    return false;
}

void fake_cuda_run_wrongly(const shim_grid *grid)
{
    snapshot s = { 0 };
    bool spoilt = false;

    fake_cuda_each_block(keep, &s);
    shim_run_grid(grid);
    for (int i = 0; i < s.blocks; i++) {
        spoilt = spoilt || spoil(&s.block[i]);
        free(s.block[i].copy);
    }
    free(s.block);
}

#include "worker/jobs/proto_arena.h"

#include "base/error.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

enum {
    HEADER = alignof(max_align_t),
    /* For structs, arrays of repeated fields, and sizes: an honest Job or Result has less than a hundred
     * of them. */
    OVERHEAD_BYTES = 64 << 10,
};

static void *allocate(void *data, size_t size)
{
    dr_proto_arena *arena = data;
    const size_t room = arena->size - arena->used;
    char *at = arena->block + arena->used;
    size_t bytes;

    if (size > room || room - size < 2 * HEADER) {
        arena->full = true;
        return NULL;
    }
    bytes = HEADER + (size + HEADER - 1) / HEADER * HEADER;
    memcpy(at, &size, sizeof(size));
    arena->used += bytes;
    return at + HEADER;
}

static void free_nothing(void *data, void *memory)
{
    (void)data, (void)memory; /* the block is freed as a whole */
}

bool dr_proto_arena_open(dr_proto_arena *arena, size_t message_bytes)
{
    *arena = (dr_proto_arena){ .size = message_bytes + OVERHEAD_BYTES };
    arena->allocator =
        (ProtobufCAllocator){ .alloc = allocate, .free = free_nothing, .allocator_data = arena };
    arena->block = malloc(arena->size);
    return arena->block != NULL;
}

void dr_proto_arena_close(dr_proto_arena *arena)
{
    free(arena->block);
    arena->block = NULL;
}

size_t dr_proto_string_size(const dr_proto_arena *arena, const char *string)
{
    size_t size;

    if (string < arena->block || string >= arena->block + arena->used)
        return strlen(string); /* protobuf-c's constant for an absent string */
    memcpy(&size, string - HEADER, sizeof(size));
    dr_assert(size > 0);
    return size - 1; /* without the terminator */
}

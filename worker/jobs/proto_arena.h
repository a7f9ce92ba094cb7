/* proto_arena.h - memory for unpacking one protobuf message from a sender that is not trusted.
 *
 * By itself protobuf-c is unsafe here in two ways.  A message that is made for it (many empty
 * sub-messages, each an allocation) unpacks to 40 times its size.  And a string that holds a NUL ends
 * there.  With an arena protobuf-c allocates from one block, whose size is fixed before.  Every
 * allocation has its own size in front of it, from which dr_proto_string_size() tells how long a string
 * really is.
 *
 *     [size][string ... pad][size][sub-message ... pad] ... unused
 *
 * The arena owns the block.  All that is unpacked lives until dr_proto_arena_close().  One thread at a
 * time. */
#ifndef DR_WORKER_JOBS_PROTO_ARENA_H
#define DR_WORKER_JOBS_PROTO_ARENA_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>

typedef struct dr_proto_arena {
    ProtobufCAllocator allocator; /* give its address to an unpack function */
    char *block;
    size_t size, used;
    bool full; /* an allocation was refused: the block has no room for it */
} dr_proto_arena;

/* Make an arena with room for any honest message of that many bytes.  False without memory. */
bool dr_proto_arena_open(dr_proto_arena *arena, size_t message_bytes);
/* Free the block.  An arena that could not be opened, or is all zeros, is allowed. */
void dr_proto_arena_close(dr_proto_arena *arena);

/* How many bytes a string field of an unpacked message has, with those behind a NUL. */
size_t dr_proto_string_size(const dr_proto_arena *arena, const char *string);

#endif

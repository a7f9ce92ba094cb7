/* proto_arena.h - memory for unpacking one protobuf message that nobody trusts.
 *
 * protobuf-c makes 40 times the size of a message out of one that is built for it (empty
 * sub-messages, each its own allocation), and cuts a string that holds a NUL.  Here it allocates
 * from one block of a size fixed before, and every allocation remembers its own size, from which
 * dr_proto_string_size() tells the true length of a string.
 *
 *     [size][string ...pad][size][sub-message ...pad] ... unused
 *
 * Owns the block; everything unpacked lives until dr_proto_arena_close(). */
#ifndef DR_WORKER_JOBS_PROTO_ARENA_H
#define DR_WORKER_JOBS_PROTO_ARENA_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>

typedef struct dr_proto_arena {
    ProtobufCAllocator allocator; /* give its address to an unpack function */
    char *block;
    size_t size, used;
    bool full; /* an allocation was refused */
} dr_proto_arena;

/* Enough for an honest message of that many bytes, of any of our types. */
bool dr_proto_arena_open(dr_proto_arena *arena, size_t message_bytes);
void dr_proto_arena_close(dr_proto_arena *arena);

/* Bytes of a string field as they came, NULs included. */
size_t dr_proto_string_size(const dr_proto_arena *arena, const char *string);

#endif

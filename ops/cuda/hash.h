/* hash.h - a fast hash of 64 bits.  It tells results apart and finds a damaged file.  It does not protect
 * against somebody who forges a file. */
#ifndef DR_OPS_CUDA_HASH_H
#define DR_OPS_CUDA_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Continues `hash`, the hash of the bytes before, with these bytes.  Each step is one-to-one in either of
 * its inputs, so if a single word differs, the hash always differs. */
static inline uint64_t cuda_hash(uint64_t hash, const void *bytes, size_t count)
{
    const char *at = bytes;

    for (size_t n; count > 0; at += n, count -= n) {
        uint64_t word = 0;
        n = count < sizeof(word) ? count : sizeof(word);
        memcpy(&word, at, n);
        hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
        hash ^= hash >> 32;
    }
    return hash;
}

#endif

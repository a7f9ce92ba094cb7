/* hash.h - 64 bits of many bytes, fast: to tell results apart, and to find a damaged file.  It is no
 * protection against somebody who forges a file. */
#ifndef DR_OPS_CUDA_HASH_H
#define DR_OPS_CUDA_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The hash of what `hash` stands for, followed by these bytes.  Each step is one-to-one in either of its
 * inputs, so a single word that differs always shows. */
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

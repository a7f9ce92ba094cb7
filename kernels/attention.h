/* attention.h - softmax(scale q k^T) v for one head and a block of queries, in one pass over the keys.
 *
 * FlashAttention's online softmax (Dao et al. 2022), turned on its side: the lanes of a register are
 * queries.  Scores, weights and sums are kept transposed,
 *
 *     q^T [d, queries]    s^T [keys, queries]    o^T [d, queries]
 *
 *     s^T = K q^T         a key's values are broadcast, any stride
 *     o^T = V^T p^T       a value's channels are broadcast
 *
 * so that both products are the same small kernel, a query's maximum and sum never cross lanes, and a head
 * size of 7 or 40 wastes nothing: d is nowhere a vector.  Per block of keys, with m the
 * running maximum and l the running sum of each query:
 *
 *     m' = max(m, max s);  p = 2^(s - m');  l = l 2^(m - m') + sum p;  o = o 2^(m - m') + p v
 *
 * and y = o / l at the end.  Scores are in units of log2: scale * log2(e) goes into q.
 *
 * A query's bits depend on d, its keys and its own place in causal attention, on nothing else. */
#ifndef DR_KERNELS_ATTENTION_H
#define DR_KERNELS_ATTENTION_H

#include "kernels/isa.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct dr_attention_block {
    const float *q; /* [queries, d], q_ld from one to the next */
    float *y;       /* [queries, d], y_ld from one to the next */
    size_t q_ld, y_ld;
    size_t queries;     /* 1 to the kernels' block */
    const void *packed; /* all keys and values, block after block */
    size_t keys, d;
    float scale;
    bool causal; /* query i sees keys 0 to first + i */
    size_t first;
} dr_attention_block;

typedef struct dr_attention_kernels {
    size_t queries; /* of a full block */
    size_t keys;    /* of a full block: they are packed, and looked at, together */

    size_t (*packed_bytes)(size_t d); /* of a block, full or not */
    size_t (*scratch_bytes)(size_t d);

    /* One block of keys and values, 1 to `keys` of each. */
    void (*pack)(void *to, const float *k, size_t k_ld, const float *v, size_t v_ld, size_t keys, size_t d);

    /* `packed` and `scratch` are 64-byte aligned; the bytes of both are multiples of 64. */
    void (*block)(const dr_attention_block *a, void *scratch);
} dr_attention_kernels;

DR_EACH_ISA(dr_attention_kernels);
extern const dr_attention_kernels dr_attention_kernels_amx;

#endif

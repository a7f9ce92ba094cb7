/* attention.h - softmax(scale q k^T) v for one head and a block of queries, in one pass over the keys.
 *
 * This is FlashAttention's online softmax (Dao et al. 2022), transposed: the lanes of a register are
 * queries.  Scores, weights and sums are kept transposed,
 *
 *     q^T [d, queries]    s^T [keys, queries]    o^T [d, queries]
 *
 *     s^T = K q^T         the values of a key are broadcast; any stride will do
 *     o^T = V^T p^T       the channels of a value are broadcast
 *
 * So both products are the same small kernel, and the maximum and the sum of a query stay in one lane.  A
 * head size of 7 or 40 wastes nothing, because no vector runs along d. m is the running maximum of each
 * query and l its running sum.  Each block of keys changes them so:
 *
 *     m' = max(m, max s);  p = 2^(s - m');  l = l 2^(m - m') + sum p;  o = o 2^(m - m') + p v
 *
 * At the end, y = o / l.  Exponents are powers of 2, not of e, so q is multiplied by scale * log2(e).
 *
 * The bits of a query's result depend only on d, its keys, and (in causal attention) its position.
 * Threads: any; nothing here has a state. */
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
    const void *packed; /* all keys and values, block after block, as pack() wrote them */
    size_t keys, d;
    float scale;
    bool causal;  /* query i sees only keys 0 to first + i */
    size_t first; /* index of the first query */
} dr_attention_block;

typedef struct dr_attention_kernels {
    size_t queries; /* queries of a full block */
    size_t keys;    /* keys of a full block: so many are packed and read together */

    size_t (*packed_bytes)(size_t d);  /* of a packed block, full or not */
    size_t (*scratch_bytes)(size_t d); /* of block()'s scratch */

    /* Pack one block of 1 to `keys` keys and values, each [keys, d], k_ld and v_ld floats apart. */
    void (*pack)(void *to, const float *k, size_t k_ld, const float *v, size_t v_ld, size_t keys, size_t d);

    /* Compute one block of queries.  `packed` and `scratch` are 64-byte aligned; their sizes are multiples
     * of 64 bytes. */
    void (*block)(const dr_attention_block *a, void *scratch);
} dr_attention_kernels;

DR_EACH_ISA(dr_attention_kernels);
extern const dr_attention_kernels dr_attention_kernels_amx;

#endif

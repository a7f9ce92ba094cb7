/* attention_lanes.h - parts that all kernels of attention share.  They move queries into lanes and back,
 * and hide the scores of keys that a query may not see.  Only kernels/attention_*.c include this. */
#ifndef DR_KERNELS_ATTENTION_LANES_H
#define DR_KERNELS_ATTENTION_LANES_H

#include "kernels/attention.h"
#include "kernels/vec.h"

#include <string.h>

/* A loop that the compiler unrolls, so that arrays it indexes stay in registers. */
#define UNROLLED(i, n) _Pragma("GCC unroll 8") for (int i = 0; i < (n); i++)

/* to[j][i] = from[i][j] for i < rows, j < columns; in squares of four where they fit. */
static inline void transpose(float *to, size_t to_ld, const float *from, size_t from_ld, size_t rows,
                             size_t columns)
{
    size_t i = 0;

    for (; i + 4 <= rows; i += 4) {
        const float *f = from + i * from_ld;
        float *t = to + i;
        size_t j = 0;

        for (; j + 4 <= columns; j += 4) {
            __m128 r0 = _mm_loadu_ps(f + j), r1 = _mm_loadu_ps(f + from_ld + j);
            __m128 r2 = _mm_loadu_ps(f + 2 * from_ld + j), r3 = _mm_loadu_ps(f + 3 * from_ld + j);

            _MM_TRANSPOSE4_PS(r0, r1, r2, r3);
            _mm_storeu_ps(t + j * to_ld, r0);
            _mm_storeu_ps(t + (j + 1) * to_ld, r1);
            _mm_storeu_ps(t + (j + 2) * to_ld, r2);
            _mm_storeu_ps(t + (j + 3) * to_ld, r3);
        }
        for (; j < columns; j++)
            for (size_t k = 0; k < 4; k++)
                t[j * to_ld + k] = f[k * from_ld + j];
    }
    for (; i < rows; i++)
        for (size_t j = 0; j < columns; j++)
            to[j * to_ld + i] = from[i * from_ld + j];
}

/* Write at most `lanes` queries from `first` on as q^T [d, lanes], scaled so that the scores are powers
 * of 2.  A lane without a query gets zeros: its scores are 0, and its result is never stored. */
static inline void queries_to_lanes(float *q, size_t lanes, const dr_attention_block *a, size_t first)
{
    const dr_vec scale = vec_all(a->scale * 1.44269504f);
    const size_t left = a->queries > first ? a->queries - first : 0, count = left < lanes ? left : lanes;

    if (count < lanes)
        memset(q, 0, a->d * lanes * sizeof(*q));
    transpose(q, lanes, a->q + first * a->q_ld, a->q_ld, count, a->d);
    for (size_t i = 0; i < a->d * lanes; i += DR_LANES)
        vec_store(q + i, vec_load(q + i) * scale);
}

/* Write the results: y = (o^T)^T / sum.  o^T [d, lanes] is overwritten. */
static inline void lanes_to_queries(const dr_attention_block *a, size_t first, float *out, size_t lanes,
                                    const float *sum)
{
    const size_t left = a->queries > first ? a->queries - first : 0, count = left < lanes ? left : lanes;

    for (size_t v = 0; v < count; v += DR_LANES) {
        const dr_vec factor = vec_all(1.0f) / vec_load(sum + v);

        for (size_t i = v; i < a->d * lanes; i += lanes)
            vec_store(out + i, vec_load(out + i) * factor);
    }
    transpose(a->y + first * a->y_ld, a->y_ld, out, lanes, a->d, count);
}

/* How many keys the queries of the block can see. */
static inline size_t keys_seen(const dr_attention_block *a)
{
    return a->causal && a->first + a->queries < a->keys ? a->first + a->queries : a->keys;
}

/* The score of a hidden key: far below any other, so that its weight is 0.  It is finite, because infinity
 * minus infinity is NaN. */
#define HIDDEN (-1e30f)

/* Hide the keys that come after their query.  s: scores [keys, lanes] of the queries from `first` on. */
static inline void hide_later_keys(float *s, size_t lanes, const dr_attention_block *a, size_t first,
                                   size_t key, size_t keys)
{
    for (size_t i = 0; i < keys; i++)
        for (size_t q = 0; q < lanes && a->first + first + q < key + i; q++)
            s[i * lanes + q] = HIDDEN;
}

#endif

/* cuda_attention.h - what the attention kernels share.
 *
 * The kernels pass over the keys once, with an online softmax (FlashAttention-2, Dao 2023). m is a
 * query's running maximum, l its running sum and o its running output.  A tile of keys changes them so:
 *
 *     m' = max(m, max s);  p = 2^(s - m');  l = l 2^(m - m') + sum p;  o = o 2^(m - m') + p v
 *
 * At the end, y = o / l.  Exponents are powers of 2, not of e, so log2(e) is multiplied into the scale. */
#ifndef DR_KERNELS_CUDA_ATTENTION_H
#define DR_KERNELS_CUDA_ATTENTION_H

#include "kernels/cuda_device.h"

/* The sizes, and where a block finds its row and head. */
template <typename T> struct attention {
    const T *q, *k, *v;
    T *y;
    const int32_t *kv_row;
    size_t q_ld, k_ld, v_ld, y_ld;
    int d, q_tokens, kv_tokens;
    float scale; /* times log2(e) */
    bool causal;
};

template <typename T> static inline attention<T> attention_of(const dr_cuda_attention_args *a)
{
    return {
        (const T *)a->q, (const T *)a->k, (const T *)a->v,        (T *)a->y,       a->kv_row,
        (size_t)a->q_ld, (size_t)a->k_ld, (size_t)a->v_ld,        (size_t)a->y_ld, a->d,
        a->q_tokens,     a->kv_tokens,    a->scale * 1.44269504f, a->causal,
    };
}

/* The same, but only for row blockIdx.z and head blockIdx.y.  Token t is at q + t * q_ld. */
template <typename T> static __device__ __forceinline__ void to_head(attention<T> *a)
{
    const size_t row = blockIdx.z, kv_row = a->kv_row ? (size_t)a->kv_row[row] : row;
    const size_t channel = (size_t)blockIdx.y * (size_t)a->d;

    a->q += row * (size_t)a->q_tokens * a->q_ld + channel;
    a->k += kv_row * (size_t)a->kv_tokens * a->k_ld + channel;
    a->v += kv_row * (size_t)a->kv_tokens * a->v_ld + channel;
    a->y += row * (size_t)a->q_tokens * a->y_ld + channel;
}

/* How many of the keys can be seen by the queries before `end`. */
template <typename T> static __device__ __forceinline__ int keys_seen(const attention<T> &a, int end)
{
    return a.causal && end < a.kv_tokens ? end : a.kv_tokens;
}

/* Clears channels d to `end`, which no copy writes. */
template <typename T>
static __device__ __forceinline__ void clear_padding(T *to, int stride, int tokens, int d, int end,
                                                     int threads)
{
    const int pad = end - d;

    for (int i = (int)threadIdx.x; i < tokens * pad; i += threads)
        to[i / pad * stride + d + i % pad].bits = 0;
}

/* The maximum, and the sum, over the four lanes that hold a row of a C tile. */
static __device__ __forceinline__ float row_max(float x)
{
    x = fmaxf(x, __shfl_xor_sync(0xffffffff, x, 1));
    return fmaxf(x, __shfl_xor_sync(0xffffffff, x, 2));
}

static __device__ __forceinline__ float row_sum(float x)
{
    x += __shfl_xor_sync(0xffffffff, x, 1);
    return x + __shfl_xor_sync(0xffffffff, x, 2);
}

/* The kernels among which dr_cuda_attention() chooses. */
void dr_cuda_attention_wgmma(dr_stream stream, const dr_cuda_attention_args *a);
void dr_cuda_attention_wide(dr_stream stream, const dr_cuda_attention_args *a);
void dr_cuda_attention_any(dr_stream stream, const dr_cuda_attention_args *a);

#endif

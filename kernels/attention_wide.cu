/* attention_wide.cu - attention on the tensor cores for heads of more than 160 channels: the VAE's one
 * head of 512.
 *
 * No warp can hold 512 output channels of its queries.  So the four warps of a block share 32 queries, and
 * divide the work:
 *
 *     s = q k^T   [32, 32]    into quarters: 16 queries and 16 keys each, over all channels
 *     o += p v    [32, d]     by channels: 16 of every 64 each, over all 32 queries and keys
 *
 * q lies in shared memory. p passes through it. k and v of 32 tokens take turns in one tile of it.  Two
 * or three blocks fit on a multiprocessor, so others compute while one waits for its tile.
 *
 * The kernel reads q once and writes y once.  It reads k and v once for each 32 queries, from the L2
 * cache.  A row of 4096 tokens with 512 channels in f16 moves 16 MB in memory and 1.1 GB in L2, for 34
 * GFLOP. */
#include "kernels/cuda_attention.h"

enum {
    WARPS = 4,
    THREADS = 32 * WARPS,
    TOKENS = 32,                               /* queries of a block; keys of a tile */
    PAIRS = DR_CUDA_HEAD_DIM_MAX / 16 / WARPS, /* of 8 output channels, of a warp */
    P_STRIDE = TOKENS + 8,
};

static DR_HD int padded(int d)
{
    return (d + 15) / 16 * 16;
}

/* Shared memory, in order.  Rows of 16-bit values are 8 values longer than they need to be, so that
 * ldmatrix uses all banks. */
template <typename T> struct areas {
    T *q;          /* [TOKENS, stride] */
    T *tile;       /* k, then v, in rows of the same length */
    T *p;          /* [TOKENS, P_STRIDE] */
    float *part;   /* [2, TOKENS]: for each half of the keys the maxima, and at the end the sums */
    float *factor; /* [TOKENS] */
    int stride;
};

template <typename T> static __device__ __forceinline__ areas<T> areas_of(int d)
{
    areas<T> s;

    s.stride = padded(d) + 8;
    s.q = (T *)dr_shared();
    s.tile = s.q + TOKENS * s.stride;
    s.p = s.tile + TOKENS * s.stride;
    s.part = (float *)(s.p + TOKENS * P_STRIDE);
    s.factor = s.part + 2 * TOKENS;
    return s;
}

static size_t shared_bytes(int d)
{
    return (size_t)TOKENS * (size_t)(2 * (padded(d) + 8) + P_STRIDE) * 2 + 3 * TOKENS * sizeof(float);
}

/* Start the copies of TOKENS tokens from `first` on; a warp copies a whole token.  Tokens beyond the last
 * become zeros. */
template <typename T>
static __device__ __forceinline__ void copy_tokens(T *to, int stride, const T *from, size_t ld, int first,
                                                   int tokens, int d)
{
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32;

    for (int i = warp; i < TOKENS; i += WARPS) {
        const bool there = first + i < tokens;

        for (int c = 8 * lane; c < d; c += 8 * 32)
            dr_copy_async(to + i * stride + c, from + (there ? (size_t)(first + i) * ld : 0) + c, there);
    }
}

/* A warp's quarter of the scores. s[n] holds keys 8 n to 8 n + 7 of the warp's 16. */
template <typename T>
static __device__ __forceinline__ void score(float s[2][4], const areas<T> &m, int d, int query, int key)
{
    const int lane = (int)threadIdx.x % 32;
    const T *q = m.q + (query + lane % 16) * m.stride + lane / 16 * 8;
    const T *k = m.tile + (key + lane / 16 * 8 + lane % 8) * m.stride + lane / 8 % 2 * 8;

    for (int n = 0; n < 2; n++)
        for (int j = 0; j < 4; j++)
            s[n][j] = 0.0f;
#pragma unroll 4
    for (int c = 0; c < d; c += 16) {
        uint32_t a[4], b[4];

        dr_ldmatrix(a, q + c);
        dr_ldmatrix(b, k + c);
        dr_mma(T(), s[0], a, b);
        dr_mma(T(), s[1], a, b + 2);
    }
}

/* A key that does not exist, or comes after the query, gets the score -infinity. */
template <typename T>
static __device__ __forceinline__ void mask(float s[2][4], const attention<T> &a, int query, int key)
{
    const int g = (int)threadIdx.x % 32 / 4, t = (int)threadIdx.x % 4;

    for (int n = 0; n < 2; n++)
        for (int j = 0; j < 4; j++) {
            const int at = key + 8 * n + 2 * t + j % 2;

            if (at >= a.kv_tokens || (a.causal && at > query + g + j / 2 * 8))
                s[n][j] = -INFINITY;
        }
}

/* o = o factor + p v, for the warp's channels of all queries. */
template <typename T>
static __device__ __forceinline__ void gather_values(float o[2][PAIRS][2][4], const areas<T> &m, int d)
{
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32, g = lane / 4;
    const T *v = m.tile + lane % 16 * m.stride + lane / 16 * 8;
    uint32_t p[2][TOKENS / 16][4];

#pragma unroll
    for (int i = 0; i < 2; i++) {
        const float factor[2] = { m.factor[16 * i + g], m.factor[16 * i + g + 8] };

#pragma unroll
        for (int n = 0; n < 2 * PAIRS; n++)
#pragma unroll
            for (int j = 0; j < 4; j++)
                o[i][n / 2][n % 2][j] *= factor[j / 2];
#pragma unroll
        for (int k = 0; k < TOKENS / 16; k++)
            dr_ldmatrix(p[i][k], m.p + (16 * i + lane % 16) * P_STRIDE + 16 * k + lane / 16 * 8);
    }
#pragma unroll
    for (int n = 0; n < PAIRS; n++) {
        const int c = 16 * (WARPS * n + warp);

        if (c >= d)
            break;
#pragma unroll
        for (int k = 0; k < TOKENS / 16; k++) {
            uint32_t b[4];

            dr_ldmatrix_transposed(b, v + 16 * k * m.stride + c);
#pragma unroll
            for (int i = 0; i < 2; i++) {
                dr_mma(T(), o[i][n][0], p[i][k], b);
                dr_mma(T(), o[i][n][1], p[i][k], b + 2);
            }
        }
    }
}

template <typename T>
static __device__ __forceinline__ void store_output(float o[2][PAIRS][2][4], const attention<T> &a,
                                                    const areas<T> &m)
{
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32, g = lane / 4, t = lane % 4;

#pragma unroll
    for (int i = 0; i < 2; i++)
#pragma unroll
        for (int h = 0; h < 2; h++) {
            const int row = 16 * i + g + 8 * h, token = (int)blockIdx.x * TOKENS + row;
            const float l = m.part[row] + m.part[TOKENS + row];

#pragma unroll
            for (int n = 0; n < 2 * PAIRS; n++) {
                const int c = 16 * (WARPS * (n / 2) + warp) + 8 * (n % 2);
                const float *pair = &o[i][n / 2][n % 2][2 * h];

                if (token < a.q_tokens && c < a.d)
                    *(uint32_t *)(a.y + (size_t)token * a.y_ld + c + 2 * t) =
                        dr_pair(T(), pair[0] / l, pair[1] / l);
            }
        }
}

/* Grid: blocks of queries, heads, rows. */
template <typename T> static __global__ __launch_bounds__(THREADS) void attention_wide_kernel(attention<T> a)
{
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32, g = lane / 4, t = lane % 4;
    const int first = (int)blockIdx.x * TOKENS, keys = keys_seen(a, first + TOKENS);
    const int query = warp % 2 * 16, half = warp / 2; /* the warp's part of the scores */
    const areas<T> shared = areas_of<T>(a.d);
    float s[2][4], o[2][PAIRS][2][4] = {}, m[2] = { -INFINITY, -INFINITY }, l[2] = { 0.0f, 0.0f };

    to_head(&a);
    clear_padding(shared.q, shared.stride, 2 * TOKENS, a.d, padded(a.d), THREADS);
    copy_tokens(shared.q, shared.stride, a.q, a.q_ld, first, a.q_tokens, a.d);
    for (int key = 0; key < keys; key += TOKENS) {
        copy_tokens(shared.tile, shared.stride, a.k, a.k_ld, key, a.kv_tokens, a.d);
        dr_copy_commit();
        dr_copy_wait<0>();
        __syncthreads(); /* all threads see k */
        score(s, shared, a.d, query, half * 16);
        mask(s, a, first + query, key + half * 16);
        for (int h = 0; h < 2; h++) {
            const float larger =
                row_max(fmaxf(fmaxf(s[0][2 * h], s[0][2 * h + 1]), fmaxf(s[1][2 * h], s[1][2 * h + 1])));

            if (t == 0)
                shared.part[half * TOKENS + query + g + 8 * h] = larger;
        }
        __syncthreads(); /* both halves' maxima are known, and nobody reads k any more */
        copy_tokens(shared.tile, shared.stride, a.v, a.v_ld, key, a.kv_tokens, a.d);
        dr_copy_commit();
        for (int h = 0; h < 2; h++) {
            const int row = query + g + 8 * h;
            const float larger = fmaxf(m[h], fmaxf(shared.part[row], shared.part[TOKENS + row]));
            const float factor = dr_exp2((m[h] - larger) * a.scale), shift = -larger * a.scale;

            l[h] *= factor;
            for (int n = 0; n < 2; n++) {
                const float low = dr_exp2(fmaf(s[n][2 * h], a.scale, shift));
                const float high = dr_exp2(fmaf(s[n][2 * h + 1], a.scale, shift));

                l[h] += low + high;
                *(uint32_t *)(shared.p + row * P_STRIDE + half * 16 + 8 * n + 2 * t) =
                    dr_pair(T(), low, high);
            }
            if (half == 0 && t == 0)
                shared.factor[row] = factor;
            m[h] = larger;
        }
        dr_copy_wait<0>();
        __syncthreads(); /* all threads see v, p and the factors */
        gather_values(o, shared, a.d);
        __syncthreads(); /* nobody reads v, p and the factors any more */
    }
    for (int h = 0; h < 2; h++) {
        const float sum = row_sum(l[h]);

        if (t == 0)
            shared.part[half * TOKENS + query + g + 8 * h] = sum;
    }
    __syncthreads();
    store_output(o, a, shared);
}

template <typename T> static void launch(dr_stream stream, const dr_cuda_attention_args *a)
{
    dr_launch(stream, DR_KERNEL(attention_wide_kernel<T>),
              dim3(dr_blocks((size_t)a->q_tokens, TOKENS), (unsigned)a->heads, (unsigned)a->n), THREADS,
              shared_bytes(a->d), attention_of<T>(a));
}

void dr_cuda_attention_wide(dr_stream stream, const dr_cuda_attention_args *a)
{
    if (a->dtype == DR_F16)
        launch<dr_f16>(stream, a);
    else
        launch<dr_bf16>(stream, a);
}

/* attention.cu - attention on the tensor cores, for f16 and bf16 and heads of up to 160 channels.
 *
 *     q [n, q_tokens, heads d], k and v [n, kv_tokens, heads d]: a token's heads side by side, ld apart
 *
 * A block has one head of one row, and a fixed number of its queries: each of its four warps has TILES
 * times 16 of them.  The block walks over the keys in tiles.  Everything but the tiles stays in
 * registers:
 *
 *     q       A fragments, loaded once
 *     k, v    two tiles of each in shared memory: the next are on their way (cp.async) while this is used
 *     s       KEYS scores for each query: C fragments, which rounded to pairs are the A of p v
 *     o, l, m float32
 *
 * Shared rows are 16 bytes longer than the head, which spreads ldmatrix over the banks.  D is the head's
 * size in s = q k^T, a multiple of 16: the channels beyond d are zeros.  DV is the head's size in p v, a
 * multiple of 8.  A head of 40 channels has D = 48 and DV = 40.  A head of another size uses the next
 * larger D and DV that there are.
 *
 * A launch reads q once, writes y once, and reads k and v once for each block of queries, from the L2 cache:
 * 4096 tokens of 8 heads of 40 in f16 are 10 MB in memory, and 168 MB in L2 for 21 GFLOP. */
#include "kernels/cuda_attention.h"

enum { WARPS = 4, THREADS = 32 * WARPS };

/* The sizes of one kernel. */
template <int D_, int DV_, int TILES_, int KEYS_, int BLOCKS_> struct sizes {
    static constexpr int D = D_, DV = DV_;
    static constexpr int TILES = TILES_;   /* tiles of 16 queries that a warp has */
    static constexpr int KEYS = KEYS_;     /* keys of a tile */
    static constexpr int BLOCKS = BLOCKS_; /* blocks that shall fit into the registers of a multiprocessor */
    static constexpr int QUERIES = 16 * TILES * WARPS;
    static constexpr int STRIDE = D + 8;              /* from one token to the next in shared memory */
    static constexpr int TILE = KEYS * STRIDE;        /* a tile of k or of v */
    static constexpr int SHARED_BYTES = 4 * TILE * 2; /* two tiles of k, two of v */
};

/* A warp's queries and their running results. */
template <typename S> struct queries {
    uint32_t q[S::TILES][S::D / 16][4];
    float s[S::TILES][S::KEYS / 8][4];
    float o[S::TILES][S::DV / 8][4];
    float m[S::TILES][2], l[S::TILES][2]; /* rows g, g + 8; l: summed over this lane's keys */
    int first;                            /* the warp's first query */
};

/* Start the copies of KEYS tokens of k or v from `first` on.  Tokens beyond the last become zeros. */
template <typename S, typename T>
static __device__ __forceinline__ void copy_tile(T *to, const attention<T> &a, const T *from, size_t ld,
                                                 int first)
{
    constexpr int PIECES = S::D / 8; /* pieces of 16 bytes in a token */

#pragma unroll 1 /* if it is unrolled, the addresses take the registers of o */
    for (int j = 0; j < S::KEYS * PIECES; j += THREADS) {
        const int i = j + (int)threadIdx.x, token = i / PIECES, c = i % PIECES * 8;
        const bool there = first + token < a.kv_tokens;

        if (i < S::KEYS * PIECES && c < a.d)
            dr_copy_async(to + token * S::STRIDE + c, from + (there ? (size_t)(first + token) * ld : 0) + c,
                          there);
    }
}

template <typename S, typename T>
static __device__ __forceinline__ void load_queries(queries<S> &w, const attention<T> &a)
{
    const int lane = (int)threadIdx.x % 32, g = lane / 4, t = lane % 4;

    w.first = (int)blockIdx.x * S::QUERIES + (int)threadIdx.x / 32 * 16 * S::TILES;
#pragma unroll
    for (int i = 0; i < S::TILES; i++) {
#pragma unroll
        for (int k = 0; k < S::D / 16; k++)
#pragma unroll
            for (int r = 0; r < 4; r++) {
                const int token = w.first + 16 * i + g + r % 2 * 8, c = 16 * k + 2 * t + r / 2 * 8;
                const bool there = token < a.q_tokens && c < a.d;

                w.q[i][k][r] = there ? *(const uint32_t *)(a.q + (size_t)token * a.q_ld + c) : 0;
            }
#pragma unroll
        for (int n = 0; n < S::DV / 8; n++)
            for (int j = 0; j < 4; j++)
                w.o[i][n][j] = 0.0f;
        for (int h = 0; h < 2; h++) {
            w.m[i][h] = -INFINITY;
            w.l[i][h] = 0.0f;
        }
    }
}

/* s = q k^T */
template <typename S, typename T> static __device__ __forceinline__ void score(queries<S> &w, const T *k)
{
    const int lane = (int)threadIdx.x % 32;
    const T *row = k + (lane / 16 * 8 + lane % 8) * S::STRIDE + lane / 8 % 2 * 8;

#pragma unroll
    for (int i = 0; i < S::TILES; i++)
#pragma unroll
        for (int n = 0; n < S::KEYS / 8; n++)
            for (int j = 0; j < 4; j++)
                w.s[i][n][j] = 0.0f;
#pragma unroll
    for (int c = 0; c < S::D / 16; c++)
#pragma unroll
        for (int n = 0; n < S::KEYS / 16; n++) {
            uint32_t b[4];

            dr_ldmatrix(b, row + 16 * n * S::STRIDE + 16 * c);
#pragma unroll
            for (int i = 0; i < S::TILES; i++) {
                dr_mma(T(), w.s[i][2 * n], w.q[i][c], b);
                dr_mma(T(), w.s[i][2 * n + 1], w.q[i][c], b + 2);
            }
        }
}

/* A key that does not exist, or comes after the query, gets the score -infinity. */
template <typename S, typename T>
static __device__ __forceinline__ void mask(queries<S> &w, const attention<T> &a, int first_key)
{
    const int lane = (int)threadIdx.x % 32, g = lane / 4, t = lane % 4;
    const int after = first_key + S::KEYS;

    if (after <= a.kv_tokens && (!a.causal || after <= w.first + 1))
        return;
#pragma unroll
    for (int i = 0; i < S::TILES; i++)
#pragma unroll
        for (int n = 0; n < S::KEYS / 8; n++)
#pragma unroll
            for (int j = 0; j < 4; j++) {
                const int key = first_key + 8 * n + 2 * t + j % 2, query = w.first + 16 * i + g + j / 2 * 8;

                if (key >= a.kv_tokens || (a.causal && key > query))
                    w.s[i][n][j] = -INFINITY;
            }
}

/* Turn the scores s into weights p, and scale o and l to the new maximum.  Every query has seen a key by
 * now, so m is finite. */
template <typename S> static __device__ __forceinline__ void soften(queries<S> &w, float scale)
{
#pragma unroll
    for (int i = 0; i < S::TILES; i++)
#pragma unroll
        for (int h = 0; h < 2; h++) {
            float m = -INFINITY, sum = 0.0f;

#pragma unroll
            for (int n = 0; n < S::KEYS / 8; n++)
                m = fmaxf(m, fmaxf(w.s[i][n][2 * h], w.s[i][n][2 * h + 1]));
            m = fmaxf(w.m[i][h], row_max(m));
            const float factor = dr_exp2((w.m[i][h] - m) * scale), shift = -m * scale;

#pragma unroll
            for (int n = 0; n < S::KEYS / 8; n++)
#pragma unroll
                for (int j = 2 * h; j < 2 * h + 2; j++) {
                    w.s[i][n][j] = dr_exp2(fmaf(w.s[i][n][j], scale, shift));
                    sum += w.s[i][n][j];
                }
#pragma unroll
            for (int n = 0; n < S::DV / 8; n++) {
                w.o[i][n][2 * h] *= factor;
                w.o[i][n][2 * h + 1] *= factor;
            }
            w.l[i][h] = fmaf(w.l[i][h], factor, sum);
            w.m[i][h] = m;
        }
}

/* o += p v */
template <typename S, typename T>
static __device__ __forceinline__ void gather_values(queries<S> &w, const T *v)
{
    const int lane = (int)threadIdx.x % 32;
    const T *row = v + lane % 16 * S::STRIDE + lane / 16 * 8;

#pragma unroll
    for (int k = 0; k < S::KEYS / 16; k++) {
        uint32_t p[S::TILES][4];

#pragma unroll
        for (int i = 0; i < S::TILES; i++)
#pragma unroll
            for (int r = 0; r < 4; r++) {
                const float *pair = &w.s[i][2 * k + r / 2][r % 2 * 2];

                p[i][r] = dr_pair(T(), pair[0], pair[1]);
            }
#pragma unroll
        for (int n = 0; n < S::DV / 8; n += 2) {
            uint32_t b[4];

            dr_ldmatrix_transposed(b, row + 16 * k * S::STRIDE + 8 * n);
#pragma unroll
            for (int i = 0; i < S::TILES; i++) {
                dr_mma(T(), w.o[i][n], p[i], b);
                if (n + 1 < S::DV / 8)
                    dr_mma(T(), w.o[i][n + 1], p[i], b + 2);
            }
        }
    }
}

template <typename S, typename T>
static __device__ __forceinline__ void store_output(queries<S> &w, const attention<T> &a)
{
    const int lane = (int)threadIdx.x % 32, g = lane / 4, t = lane % 4;

#pragma unroll
    for (int i = 0; i < S::TILES; i++)
#pragma unroll
        for (int h = 0; h < 2; h++) {
            const float l = row_sum(w.l[i][h]);
            const int token = w.first + 16 * i + g + 8 * h;

            if (token >= a.q_tokens)
                continue; /* so do the other lanes of the row */
#pragma unroll
            for (int n = 0; n < S::DV / 8; n++)
                if (8 * n < a.d)
                    *(uint32_t *)(a.y + (size_t)token * a.y_ld + 8 * n + 2 * t) =
                        dr_pair(T(), w.o[i][n][2 * h] / l, w.o[i][n][2 * h + 1] / l);
        }
}

/* Grid: blocks of queries, heads, rows. */
template <typename T, typename S>
static __global__ __launch_bounds__(THREADS, S::BLOCKS) void attention_kernel(attention<T> a)
{
    T *k = (T *)dr_shared(), *v = k + 2 * S::TILE;
    queries<S> w;

    to_head(&a);
    const int tiles = (keys_seen(a, ((int)blockIdx.x + 1) * S::QUERIES) + S::KEYS - 1) / S::KEYS;

    clear_padding(k, S::STRIDE, 4 * S::KEYS, a.d, S::D, THREADS);
    copy_tile<S>(k, a, a.k, a.k_ld, 0);
    copy_tile<S>(v, a, a.v, a.v_ld, 0);
    dr_copy_commit();
    load_queries(w, a);
    for (int tile = 0; tile < tiles; tile++) {
        const int now = tile % 2 * S::TILE, next = S::TILE - now;

        dr_copy_wait<0>();
        __syncthreads(); /* all threads see this tile, and none still reads the one before */
        if (tile + 1 < tiles) {
            copy_tile<S>(k + next, a, a.k, a.k_ld, (tile + 1) * S::KEYS);
            copy_tile<S>(v + next, a, a.v, a.v_ld, (tile + 1) * S::KEYS);
            dr_copy_commit();
        }
        score(w, k + now);
        mask(w, a, tile * S::KEYS);
        soften(w, a.scale);
        gather_values(w, v + now);
    }
    store_output(w, a);
}

/* --- launches ------------------------------------------------------------------------------- */

template <typename T, typename S> static void launch(dr_stream stream, const dr_cuda_attention_args *a)
{
    dr_launch(stream, DR_KERNEL(attention_kernel<T, S>),
              dim3(dr_blocks((size_t)a->q_tokens, S::QUERIES), (unsigned)a->heads, (unsigned)a->n), THREADS,
              S::SHARED_BYTES, attention_of<T>(a));
}

/* Larger heads leave registers for fewer queries or keys. */
template <typename T> static void launch_sizes(dr_stream stream, const dr_cuda_attention_args *a)
{
    if (a->d <= 40)
        launch<T, sizes<48, 40, 2, 64, 3>>(stream, a);
    else if (a->d <= 64)
        launch<T, sizes<64, 64, 2, 64, 2>>(stream, a);
    else if (a->d <= 80)
        launch<T, sizes<80, 80, 2, 32, 2>>(stream, a);
    else if (a->d <= 128)
        launch<T, sizes<128, 128, 1, 64, 3>>(stream, a);
    else
        launch<T, sizes<160, 160, 1, 64, 2>>(stream, a);
}

static bool has_vectors(const dr_cuda_attention_args *a)
{
    return a->d % 8 == 0 && (a->q_ld | a->k_ld | a->v_ld | a->y_ld) % 8 == 0 && dr_is_aligned(a->q) &&
           dr_is_aligned(a->k) && dr_is_aligned(a->v) && dr_is_aligned(a->y);
}

void dr_cuda_attention(dr_stream stream, const dr_cuda_attention_args *a)
{
    dr_assert(a->d > 0 && a->d <= DR_CUDA_HEAD_DIM_MAX && a->kv_tokens > 0 && a->scale > 0.0f);
    if (a->n == 0 || a->heads == 0 || a->q_tokens == 0)
        return;
    if (a->dtype == DR_F32 || !has_vectors(a))
        dr_cuda_attention_any(stream, a);
    else if (a->d > 160)
        dr_cuda_attention_wide(stream, a);
    else if (a->wgmma)
        dr_cuda_attention_wgmma(stream, a);
    else if (a->dtype == DR_F16)
        launch_sizes<dr_f16>(stream, a);
    else
        launch_sizes<dr_bf16>(stream, a);
}

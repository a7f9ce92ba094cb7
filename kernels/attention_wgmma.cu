/* attention_wgmma.cu - attention by Hopper's products of a warpgroup, for f16 and bf16 and heads of up to
 * 160 channels.
 *
 * A warpgroup has 64 queries of one head of one row.  Two or three warpgroups are a block and share the
 * keys and values, which are read in tiles.  While the threads of a warpgroup compute the exponentials of
 * one tile, the tensor cores work on its next one.  FlashAttention-3 (Shah, Bikshandi, Zhang, Thakkar,
 * Ramani, Dao 2024) does that within a warpgroup:
 *
 *     threads            softmax 0        o *=   softmax 1        o *=   softmax 2
 *     tensor cores    s0 s1 ............  p0 v0  s2 ............  p1 v1  s3 ...          s = q k^T
 *
 * By calculation the exponentials would take most of the time: in a cycle, a multiprocessor does 16
 * exponentials and 2048 products.  For 40 channels, 64 x 64 scores take 256 cycles of exponentials and
 * 176 cycles of products: 432 cycles if one follows the other.
 *
 *     q       A fragments, loaded once
 *     s       the scores of two tiles, in turns; rounded to pairs they are the A of p v
 *     k, v    a ring of four tiles of each in shared memory, in columns of chunks: 8 channels of all tokens
 *
 *         chunk 0   token 0 1 2 ... KEYS - 1, and some more      16 bytes each
 *         chunk 1   token 0 1 2 ...
 *
 * Both k and v use this layout, which is the layout of the products without a swizzle (cuda_wgmma.h). k
 * is K-major: its chunks lead. v is MN-major: its tokens lead.  The layout takes 40 or 80 channels as
 * they are; with a swizzle, rows would have 64 channels. 8 tokens of a chunk are 128 bytes, so a product
 * asks no bank twice.  The number of extra tokens is chosen so that copies ask no bank twice either.
 *
 * At the barrier of a tile, every warpgroup has waited for its scores of the tile before, and for its
 * products with the values of the tile before that.  So the newest copies go to the places of those keys
 * and values.
 *
 *     scores of tile + 2   k    tile       tile + 1     tile + 2    tile + 3     tile + 4, where tile was
 *     products with tile   v    tile - 1   tile         tile + 1    tile + 2     tile + 3, where tile - 1 was
 *                               done       done, used   there now   on its way   asked for
 */
#include "kernels/cuda_attention.h"
#include "kernels/cuda_wgmma.h"

enum {
    RING = 4,
    QUERIES = 64, /* queries of a warpgroup */
    STEP = 16,    /* channels, or keys, of a product */
    CHUNK = 8,    /* values in 16 bytes */
};

/* The sizes of one kernel.  D is the head's size in q k^T, in STEPs: the channels beyond d are zeros.  DV
 * is the head's size in p v. */
template <int D_, int DV_, int KEYS_, int WARPGROUPS_> struct sizes {
    static constexpr int D = D_, DV = DV_;
    static constexpr int KEYS = KEYS_; /* keys of a tile */
    static constexpr int WARPGROUPS =
        WARPGROUPS_; /* of a block, at most; with three, a thread has 168 registers */
    static constexpr int PIECES = DV / CHUNK; /* copies of 16 bytes for a token */
    /* Lane i copies piece i % PIECES of token i / PIECES. 8 neighbouring lanes write to 8 different
     * places of 128 bytes if TOKENS times PIECES is 1 more than a multiple of 8.  They nearly do if
     * TOKENS is odd. */
    static constexpr int TOKENS = KEYS + (PIECES % 2 ? PIECES % 8 : 1);
    static constexpr int COLUMN = TOKENS * CHUNK;
    static constexpr int K_TILE = D / CHUNK * COLUMN, V_TILE = DV / CHUNK * COLUMN;
    static constexpr int SHARED_BYTES = RING * (K_TILE + V_TILE) * 2;
};

/* A warpgroup's queries and their running results, without the scores. */
template <typename S> struct queries {
    uint32_t q[S::D / STEP][4];
    uint32_t p[S::KEYS / STEP][4];
    float o[S::DV / 2];
    float m[2], l[2]; /* rows g, g + 8; l: summed over this lane's keys */
    int first;        /* this lane's query g */
};

/* The block's shared memory. */
template <typename T> struct tiles {
    T *k, *v;                    /* [RING]: tiles of each */
    uint64_t k_matrix, v_matrix; /* of the first tile */
    int count;                   /* number of keys that the block's queries see */
};

template <typename S, typename T>
static __device__ __forceinline__ void copy_tile(T *to, const attention<T> &a, const T *from, size_t ld,
                                                 int tile)
{
#pragma unroll 1 /* if it is unrolled, the addresses take the registers of o */
    for (int i = (int)threadIdx.x; i < S::KEYS * S::PIECES; i += (int)blockDim.x) {
        const int token = i / S::PIECES, c = i % S::PIECES, key = tile * S::KEYS + token;
        const bool there = key < a.kv_tokens;

        if (c * CHUNK < a.d)
            dr_copy_async(to + c * S::COLUMN + token * CHUNK,
                          from + (there ? (size_t)key * ld : 0) + c * CHUNK, there);
    }
}

/* Start the copies of a tile's keys and of the values of the tile before it, as far as these tiles exist. */
template <typename S, typename T>
static __device__ __forceinline__ void ask(const tiles<T> &t, const attention<T> &a, int tile)
{
    if (tile < t.count)
        copy_tile<S>(t.k + tile % RING * S::K_TILE, a, a.k, a.k_ld, tile);
    if (tile > 0 && tile <= t.count)
        copy_tile<S>(t.v + (tile - 1) % RING * S::V_TILE, a, a.v, a.v_ld, tile - 1);
}

/* Wait until all copies but the newest group are done, and the products of all warpgroups can read them. */
static __device__ __forceinline__ void meet(void)
{
    dr_copy_wait<1>();
    dr_async_proxy_fence();
    __syncthreads();
}

/* Clear the channels of k for which q has zeros.  What v holds in such channels goes to output channels
 * that nobody stores. */
template <typename S, typename T> static __device__ __forceinline__ void clear_keys(const tiles<T> &t, int d)
{
    const int first = d / CHUNK, chunks = S::D / CHUNK - first;

    for (int i = (int)threadIdx.x; i < RING * chunks * S::KEYS; i += (int)blockDim.x) {
        const int token = i % S::KEYS, c = first + i / S::KEYS % chunks, tile = i / S::KEYS / chunks;

        dr_save<CHUNK>(t.k + tile * S::K_TILE + c * S::COLUMN + token * CHUNK, dr_pack<T, CHUNK>{});
    }
}

template <typename S, typename T> static __device__ __forceinline__ tiles<T> tiles_of(const attention<T> &a)
{
    const int end = ((int)blockIdx.x + 1) * (int)blockDim.x / DR_WARPGROUP * QUERIES;
    tiles<T> t;

    t.k = (T *)dr_shared();
    t.v = t.k + RING * S::K_TILE;
    t.k_matrix = dr_wgmma_matrix<DR_SWIZZLE_NONE, S::COLUMN * 2, 8 * CHUNK * 2>(t.k);
    t.v_matrix = dr_wgmma_matrix<DR_SWIZZLE_NONE, 8 * CHUNK * 2, S::COLUMN * 2>(t.v);
    t.count = (keys_seen(a, end) + S::KEYS - 1) / S::KEYS;
    return t;
}

template <typename S, typename T>
static __device__ __forceinline__ void load_queries(queries<S> &w, const attention<T> &a)
{
    const int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32, t = lane % 4;

    w.first = (int)blockIdx.x * (int)blockDim.x / DR_WARPGROUP * QUERIES + warp * 16 + lane / 4;
#pragma unroll
    for (int k = 0; k < S::D / STEP; k++)
#pragma unroll
        for (int r = 0; r < 4; r++) {
            const int token = w.first + r % 2 * 8, c = STEP * k + 2 * t + r / 2 * 8;
            const bool there = token < a.q_tokens && c < a.d;

            w.q[k][r] = there ? *(const uint32_t *)(a.q + (size_t)token * a.q_ld + c) : 0;
        }
#pragma unroll
    for (int i = 0; i < S::DV / 2; i++)
        w.o[i] = 0.0f;
    for (int h = 0; h < 2; h++) {
        w.m[h] = -INFINITY;
        w.l[h] = 0.0f;
    }
}

/* s = q k^T */
template <typename S, typename T>
static __device__ __forceinline__ void score(float (&s)[S::KEYS / 2], queries<S> &w, const tiles<T> &t,
                                             int tile)
{
    const uint64_t k = dr_wgmma_moved(t.k_matrix, (uint32_t)(tile % RING) * S::K_TILE * 2);

    dr_wgmma<S::KEYS, DR_K_MAJOR>(T(), s, w.q[0], k);
#pragma unroll
    for (int c = 1; c < S::D / STEP; c++)
        dr_wgmma<S::KEYS, DR_K_MAJOR>(T(), s, w.q[c], dr_wgmma_moved(k, (uint32_t)c * 2 * S::COLUMN * 2),
                                      true);
}

/* A key that does not exist, or comes after the query, gets the score -infinity. */
template <typename S, typename T>
static __device__ __forceinline__ void mask(float (&s)[S::KEYS / 2], const queries<S> &w,
                                            const attention<T> &a, int tile)
{
    const int first_key = tile * S::KEYS, after = first_key + S::KEYS, t = (int)threadIdx.x % 4;

    if (after <= a.kv_tokens && (!a.causal || after <= w.first - (int)threadIdx.x % 32 / 4 + 1))
        return;
#pragma unroll
    for (int i = 0; i < S::KEYS / 2; i++) {
        const int key = first_key + i / 4 * 8 + 2 * t + i % 2, query = w.first + i / 2 % 2 * 8;

        if (key >= a.kv_tokens || (a.causal && key > query))
            s[i] = -INFINITY;
    }
}

/* Turn the scores s into weights p, and update m and l.  The caller must then multiply o by `factor`.
 * Every query has seen a key by now, so m is finite. */
template <typename S>
static __device__ __forceinline__ void soften(float (&s)[S::KEYS / 2], queries<S> &w, float scale,
                                              float factor[2])
{
#pragma unroll
    for (int h = 0; h < 2; h++) {
        float m = -INFINITY, sum = 0.0f;

#pragma unroll
        for (int i = 2 * h; i < S::KEYS / 2; i += 4)
            m = fmaxf(m, fmaxf(s[i], s[i + 1]));
        m = fmaxf(w.m[h], row_max(m));
        const float shift = -m * scale;

        factor[h] = dr_exp2((w.m[h] - m) * scale);
#pragma unroll
        for (int i = 2 * h; i < S::KEYS / 2; i += 4)
#pragma unroll
            for (int j = i; j < i + 2; j++) {
                s[j] = dr_exp2(fmaf(s[j], scale, shift));
                sum += s[j];
            }
        w.l[h] = fmaf(w.l[h], factor[h], sum);
        w.m[h] = m;
    }
}

/* Bring p and o into the form that the products take. */
template <typename S, typename T>
static __device__ __forceinline__ void prepare(queries<S> &w, const float (&s)[S::KEYS / 2],
                                               const float factor[2])
{
#pragma unroll
    for (int i = 0; i < S::KEYS / 4; i++)
        w.p[i / 4][i % 4] = dr_pair(T(), s[2 * i], s[2 * i + 1]);
#pragma unroll
    for (int i = 0; i < S::DV / 2; i++)
        w.o[i] *= factor[i / 2 % 2];
}

/* o += p v */
template <typename S, typename T>
static __device__ __forceinline__ void gather_values(queries<S> &w, const tiles<T> &t, int tile)
{
    const uint64_t v = dr_wgmma_moved(t.v_matrix, (uint32_t)(tile % RING) * S::V_TILE * 2);

#pragma unroll
    for (int k = 0; k < S::KEYS / STEP; k++)
        dr_wgmma<S::DV, DR_MN_MAJOR>(T(), w.o, w.p[k], dr_wgmma_moved(v, (uint32_t)k * 2 * 8 * CHUNK * 2),
                                     true);
}

/* Process a tile whose scores are in s.  Meanwhile the tensor cores compute the scores of the next tile,
 * and the products with the values of the tile before. */
template <typename S, bool MORE, typename T>
static __device__ __forceinline__ void step(float (&s)[S::KEYS / 2], float (&next)[S::KEYS / 2],
                                            queries<S> &w, const tiles<T> &t, const attention<T> &a, int tile)
{
    float factor[2];

    mask<S>(s, w, a, tile);
    soften<S>(s, w, a.scale, factor);
    dr_wgmma_wait<0>(next, w.o, w.p);
    prepare<S, T>(w, s, factor);
    meet();
    ask<S>(t, a, tile + 4);
    dr_copy_commit();
    dr_wgmma_fence(w.o, w.p, w.q);
    gather_values<S>(w, t, tile);
    if (MORE)
        score<S>(s, w, t, tile + 2);
    dr_wgmma_commit();
}

template <typename S, typename T>
static __device__ __forceinline__ void store_output(const queries<S> &w, const attention<T> &a)
{
    const int t = (int)threadIdx.x % 4;

#pragma unroll
    for (int h = 0; h < 2; h++) {
        const float l = row_sum(w.l[h]);
        const int token = w.first + 8 * h;

        if (token >= a.q_tokens)
            continue; /* so do the other lanes of the row */
#pragma unroll
        for (int n = 0; n < S::DV / 8; n++)
            if (8 * n < a.d)
                *(uint32_t *)(a.y + (size_t)token * a.y_ld + 8 * n + 2 * t) =
                    dr_pair(T(), w.o[4 * n + 2 * h] / l, w.o[4 * n + 2 * h + 1] / l);
    }
}

/* Grid: blocks of queries, heads, rows. */
template <typename T, typename S>
static __global__ __launch_bounds__(DR_WARPGROUP *S::WARPGROUPS,
                                    1) void attention_wgmma_kernel(attention<T> a)
{
    float even[S::KEYS / 2], odd[S::KEYS / 2];
    queries<S> w;
    int tile = 0;

    to_head(&a);
    const tiles<T> t = tiles_of<S>(a);

    clear_keys<S>(t, a.d);
    ask<S>(t, a, 0);
    ask<S>(t, a, 1);
    dr_copy_commit();
    ask<S>(t, a, 2);
    dr_copy_commit();
    load_queries(w, a);
    meet();
    ask<S>(t, a, 3);
    dr_copy_commit();
    dr_wgmma_fence(w.q, w.o);
    score<S>(even, w, t, 0);
    dr_wgmma_commit();
    dr_wgmma_wait<0>(even);
    dr_wgmma_fence(w.q, w.o);
    score<S>(odd, w, t, 1); /* if there is no tile 1, these scores mean nothing and are never read */
    dr_wgmma_commit();
    for (; tile + 3 < t.count; tile += 2) {
        step<S, true>(even, odd, w, t, a, tile);
        step<S, true>(odd, even, w, t, a, tile + 1);
    }
    if (tile + 3 == t.count) {
        step<S, true>(even, odd, w, t, a, tile);
        step<S, false>(odd, even, w, t, a, tile + 1);
        step<S, false>(even, odd, w, t, a, tile + 2);
    } else {
        step<S, false>(even, odd, w, t, a, tile);
        if (tile + 2 == t.count)
            step<S, false>(odd, even, w, t, a, tile + 1);
    }
    dr_wgmma_wait<0>(w.o);
    store_output(w, a);
}

/* --- launches ------------------------------------------------------------------------------- */

/* As many warpgroups as have work: where a row has fewer queries than a block, or only a few more, fewer
 * warpgroups leave fewer of them idle. */
template <typename T, typename S> static void launch(dr_stream stream, const dr_cuda_attention_args *a)
{
    const unsigned parts = dr_blocks((size_t)a->q_tokens, QUERIES), blocks = dr_blocks(parts, S::WARPGROUPS);

    dr_launch(stream, DR_KERNEL(attention_wgmma_kernel<T, S>),
              dim3(blocks, (unsigned)a->heads, (unsigned)a->n), DR_WARPGROUP * dr_blocks(parts, blocks),
              S::SHARED_BYTES, attention_of<T>(a));
}

/* Larger heads leave registers for fewer warpgroups or keys.  80 keys take a prompt's 77 in one tile. */
template <typename T> static void launch_sizes(dr_stream stream, const dr_cuda_attention_args *a)
{
    if (a->d <= 40)
        launch<T, sizes<48, 40, 80, 3>>(stream, a);
    else if (a->d <= 64)
        launch<T, sizes<64, 64, 64, 3>>(stream, a);
    else if (a->d <= 80)
        launch<T, sizes<80, 80, 80, 2>>(stream, a);
    else if (a->d <= 128)
        launch<T, sizes<128, 128, 80, 2>>(stream, a);
    else
        launch<T, sizes<160, 160, 64, 2>>(stream, a);
}

void dr_cuda_attention_wgmma(dr_stream stream, const dr_cuda_attention_args *a)
{
    if (a->dtype == DR_F16)
        launch_sizes<dr_f16>(stream, a);
    else
        launch_sizes<dr_bf16>(stream, a);
}

/* conv.cu - convolutions on the tensor cores of any GPU from Ampere on: mma.sync.  cuda_conv.h explains
 * the problem.
 *
 *     step of K     0    1    2    3    4 ...       a block has a tile of Y, [M, N]
 *                 +----+----+----+----+
 *     X, M rows   |    |    |    |    |             [M, 32] and [N, 32] of one step, in a ring of 4 stages:
 *     W, N rows   |    |    |    |    |             while one is multiplied three are on their way
 *                 +----+----+----+----+
 *
 * A row of a stage is 64 bytes in 4 chunks.  Chunk c of row r lies in place c ^ (r / 2 % 4).  So the 8
 * rows that ldmatrix reads at a time use all 32 banks, and so do the 8 lanes for which cp.async writes at
 * a time.
 *
 * Every sum adds the same 16 products at a time, in the order of K, in one accumulator.  This is so in
 * every tile and at every place in a tile.  So the choice of a tile changes no bits, and a tile may hold
 * pixels of several rows. */
#include "kernels/cuda_conv.h"
#include "kernels/cuda_conv_store.h"

enum {
    THREADS = 128,
    WARPS = THREADS / 32,
    STEP = DR_CUDA_CONV_STEP, /* of K */
    STAGES =
        4, /* 72 KiB in the largest tile: one block on an SM of sm_86 and sm_89, two on sm_80 and sm_90 */
    STEP_CHUNKS = STEP / CHUNK,
    LOAD_ROWS = THREADS / STEP_CHUNKS, /* rows that the block loads at a time, a chunk for each thread */
};

/* --- tiles ----------------------------------------------------------------------------------- */

/* WARPS_M of the warps lie along the pixels; each has M / WARPS_M pixels by N / WARPS_N outputs. */
template <int M_, int N_, int WARPS_M_> struct tile {
    static constexpr int M = M_, N = N_;
    static constexpr int WARPS_M = WARPS_M_, WARPS_N = WARPS / WARPS_M;
    static constexpr int WARP_M = M / WARPS_M, WARP_N = N / WARPS_N;
    static constexpr int STAGE_VALUES = (M + N) * STEP;
    static constexpr size_t SHARED_BYTES = STAGES * STAGE_VALUES * sizeof(uint16_t);

    /* The first of 16 pixels of the tile that the warps of a share have. */
    static __device__ __forceinline__ int pixel_of(int share, int i)
    {
        return share * WARP_M + i * 16;
    }

    static_assert(M % LOAD_ROWS == 0 && N % LOAD_ROWS == 0 && WARP_M % 16 == 0 && WARP_N % 16 == 0,
                  "whole rounds");
};

/* Operations for each byte that a block loads are M N / (M + N): 71, 64, 32 and 26. */
typedef tile<128, 160, 2> tile_wide; /* 320, 640 and 1280 outputs are multiples of 160 */
typedef tile<128, 128, 2> tile_square;
typedef tile<64, 64, 2> tile_small; /* for small maps: four times as many blocks */
typedef tile<128, 32, 4> tile_thin; /* for few outputs */

/* --- loads: x and W to a stage ------------------------------------------------------------------ */

/* Where chunk `chunk` of row `row` lies in a stage's X or W. */
static __device__ __forceinline__ int place(int row, int chunk)
{
    return row * STEP + (chunk ^ (row / 2 % STEP_CHUNKS)) * CHUNK;
}

/* Loads x in whole chunks. */
template <typename T, int ROWS>
static __device__ __forceinline__ void load_chunks(const conv<T> &a, T *to, const window (&windows)[ROWS],
                                                   const k_position &k)
{
#pragma unroll
    for (int i = 0; i < ROWS; i++) {
        const int pixel = pixel_under(a, windows[i], k);
        const ptrdiff_t at = (ptrdiff_t)pixel * a.x_ld + k.channel;

        dr_copy_async(to + i * LOAD_ROWS * STEP, (const T *)a.x + (pixel < 0 ? 0 : at), pixel >= 0);
    }
}

/* Loads x value by value: a chunk may hold channels of several pixels. */
template <typename T, int ROWS>
static __device__ __forceinline__ void load_values(const conv<T> &a, T *to, const window (&windows)[ROWS],
                                                   k_position k)
{
    dr_pack<T, CHUNK> chunks[ROWS] = {};

#pragma unroll
    for (int j = 0; j < CHUNK; j++) {
#pragma unroll
        for (int i = 0; i < ROWS; i++) {
            const int pixel = pixel_under(a, windows[i], k);

            if (pixel >= 0)
                chunks[i].at[j] = ((const T *)a.x)[(ptrdiff_t)pixel * a.x_ld + k.channel];
        }
        go_on(a, k, 1);
    }
#pragma unroll
    for (int i = 0; i < ROWS; i++)
        dr_save<CHUNK>(to + i * LOAD_ROWS * STEP, chunks[i]);
}

/* What one thread loads: the same chunk of a step for some rows of X and of W, LOAD_ROWS apart. */
template <typename T, typename TILE> struct loader {
    static constexpr int X_ROWS = TILE::M / LOAD_ROWS, W_ROWS = TILE::N / LOAD_ROWS;
    window windows[X_ROWS];
    k_position k;
    const T *weight; /* of the thread's first row */
    int weight_rows; /* number of the thread's rows that exist, LOAD_ROWS apart */
    int at;          /* the place in a stage */
};

template <typename T, typename TILE>
static __device__ __forceinline__ loader<T, TILE> loader_of(const conv<T> &a, int first_pixel, int first_out)
{
    const int chunk = (int)threadIdx.x % STEP_CHUNKS, row = (int)threadIdx.x / STEP_CHUNKS;
    const int out = first_out + row;
    loader<T, TILE> l;

#pragma unroll
    for (int i = 0; i < l.X_ROWS; i++)
        l.windows[i] = window_of(a, first_pixel + row + i * LOAD_ROWS);
    l.k = { 0, a.slice, 0, 0 };
    go_on(a, l.k, chunk * CHUNK);
    l.weight_rows = out < a.out ? (a.out - out + LOAD_ROWS - 1) / LOAD_ROWS : 0;
    l.weight = (const T *)a.weight + blockIdx.y * a.phase_values +
               (l.weight_rows ? (ptrdiff_t)out * a.weight_ld + chunk * CHUNK : 0);
    l.at = place(row, chunk);
    return l;
}

template <typename T, typename TILE, bool CHUNKS>
static __device__ __forceinline__ void load_step(const conv<T> &a, loader<T, TILE> &l, T *stage)
{
    T *w = stage + TILE::M * STEP + l.at;

    if (CHUNKS)
        load_chunks(a, stage + l.at, l.windows, l.k);
    else
        load_values(a, stage + l.at, l.windows, l.k);
    go_on(a, l.k, STEP);
#pragma unroll
    for (int i = 0; i < l.W_ROWS; i++) {
        const bool there = i < l.weight_rows;

        dr_copy_async(w + i * LOAD_ROWS * STEP,
                      l.weight + (there ? (ptrdiff_t)i * LOAD_ROWS * a.weight_ld : 0), there);
    }
    l.weight += STEP;
}

/* --- products ----------------------------------------------------------------------------------- */

/* A warp's part of a tile; pieces of 16 x 8 as mma's C. */
template <typename TILE> struct warp_sums {
    float at[TILE::WARP_M / 16][TILE::WARP_N / 2];
};

/* sums += X W^T of one stage. */
template <typename T, typename TILE>
static __device__ __forceinline__ void multiply(warp_sums<TILE> &sums, const T *stage)
{
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32;
    /* Lanes name rows of four 8 x 8 matrices.  For X, the four lie as A has them.  For W, they are the B
     * of two neighbours. */
    const int x_row = warp / TILE::WARPS_N * TILE::WARP_M + lane % 16;
    const int w_row = TILE::M + warp % TILE::WARPS_N * TILE::WARP_N + lane / 16 * 8 + lane % 8;
    const int x_at = place(x_row, lane / 16), w_at = place(w_row, lane / 8 % 2);

#pragma unroll
    for (int k = 0; k < STEP; k += 16) {
        uint32_t x[TILE::WARP_M / 16][4];

#pragma unroll
        for (int i = 0; i < TILE::WARP_M / 16; i++)
            dr_ldmatrix(x[i], stage + (x_at ^ k) + i * 16 * STEP); /* two chunks on, among the row's four */
#pragma unroll
        for (int j = 0; j < TILE::WARP_N / 16; j++) {
            uint32_t w[4];

            dr_ldmatrix(w, stage + (w_at ^ k) + j * 16 * STEP);
#pragma unroll
            for (int i = 0; i < TILE::WARP_M / 16; i++) {
                dr_mma(T(), sums.at[i] + 8 * j, x[i], w);
                dr_mma(T(), sums.at[i] + 8 * j + 4, x[i], w + 2);
            }
        }
    }
}

/* --- the kernel ---------------------------------------------------------------------------------- */

/* CHUNKS: x can be read in aligned chunks of 16 bytes. */
template <typename T, typename TILE, bool CHUNKS>
static __global__ __launch_bounds__(THREADS) void conv_kernel(conv<T> a)
{
    T *stages = (T *)dr_shared();
    const int steps = a.weight_ld / STEP;
    warp_sums<TILE> sums = {};
    int m, n;

    place_block(a.tiles_m, a.tiles_n, &m, &n);
    loader<T, TILE> l = loader_of<T, TILE>(a, m * TILE::M, n * TILE::N);

    for (int i = 0; i < STAGES - 1; i++) {
        if (i < steps)
            load_step<T, TILE, CHUNKS>(a, l, stages + i * TILE::STAGE_VALUES);
        dr_copy_commit();
    }
#pragma unroll 1
    for (int i = 0; i < steps; i++) {
        dr_copy_wait<STAGES - 2>();
        __syncthreads(); /* all see stage i; and nobody reads stage i - 1 any more, which is loaded next */
        if (i + STAGES - 1 < steps)
            load_step<T, TILE, CHUNKS>(a, l, stages + (i + STAGES - 1) % STAGES * TILE::STAGE_VALUES);
        dr_copy_commit();
        multiply<T, TILE>(sums, stages + i % STAGES * TILE::STAGE_VALUES);
    }
    __syncthreads(); /* the stages' memory is free for the sums */
    store<T, TILE>(a, sums.at, m * TILE::M, n * TILE::N);
}

/* --- launches ------------------------------------------------------------------------------------ */

template <typename T, typename TILE, bool CHUNKS> static void launch(dr_stream stream, conv<T> c)
{
    c.tiles_m = (int)dr_blocks((size_t)c.pixels, TILE::M);
    c.tiles_n = (int)dr_blocks((size_t)c.out, TILE::N);
    dr_launch(stream, DR_KERNEL(conv_kernel<T, TILE, CHUNKS>),
              dim3((unsigned)c.tiles_m * (unsigned)c.tiles_n, c.phases ? DR_CUDA_CONV_PHASES : 1), THREADS,
              TILE::SHARED_BYTES, c);
}

/* The tile follows from the layer and the map of one row (or one phase of that map). */
typedef enum tile_name { THIN, SMALL, SQUARE, WIDE } tile_name;

static tile_name tile_for(const dr_cuda_conv_args *a)
{
    if (a->out <= tile_thin::N)
        return THIN;
    if (!in_chunks(a) || map_of(a) < tile_square::M || a->out <= tile_small::N)
        return SMALL;
    return a->out % tile_wide::N == 0 ? WIDE : SQUARE;
}

template <typename T> static void launch_best(dr_stream stream, const dr_cuda_conv_args *a)
{
    const conv<T> c = conv_of<T>(a);

    switch (tile_for(a)) {
    case THIN:
        if (in_chunks(a))
            launch<T, tile_thin, true>(stream, c);
        else
            launch<T, tile_thin, false>(stream, c);
        break;
    case SMALL:
        if (in_chunks(a))
            launch<T, tile_small, true>(stream, c);
        else
            launch<T, tile_small, false>(stream, c);
        break;
    case SQUARE:
        launch<T, tile_square, true>(stream, c);
        break;
    case WIDE:
        launch<T, tile_wide, true>(stream, c);
        break;
    }
}

int dr_cuda_conv_parts(const dr_cuda_conv_args *a)
{
    if (a->dtype == DR_E4M3)
        return dr_cuda_conv_e4m3_parts(a);
    if (dr_cuda_conv_is_wgmma(a))
        return dr_cuda_conv_wgmma_parts(a);
    switch (tile_for(a)) {
    case THIN:
        return parts_of<tile_thin::M, tile_thin::N>(a);
    case SMALL:
        return parts_of<tile_small::M, tile_small::N>(a);
    case SQUARE:
        return parts_of<tile_square::M, tile_square::N>(a);
    default:
        return parts_of<tile_wide::M, tile_wide::N>(a);
    }
}

/* How many pixels y has along a side on which x has `pixels`. */
static int side(const dr_cuda_conv_args *a, int pixels)
{
    const int zeros = a->kernel == 1 ? 0 : a->before + 1;

    return (pixels + zeros - a->kernel + a->stride) / a->stride;
}

static bool map_fits(const dr_cuda_conv_args *a)
{
    if (a->upsample)
        return a->kernel == 3 && a->stride == 1 && a->before == 1 && (a->y_h + 1) / 2 == a->x_h &&
               (a->y_w + 1) / 2 == a->x_w;
    return a->y_h == side(a, a->x_h) && a->y_w == side(a, a->x_w);
}

void dr_cuda_conv(dr_stream stream, const dr_cuda_conv_args *a)
{
    dr_assert(a->dtype == DR_F16 || a->dtype == DR_BF16 || a->dtype == DR_E4M3);
    dr_assert(a->y_dtype == a->dtype || (a->y_dtype == DR_F32) != (a->dtype == DR_E4M3));
    dr_assert((a->kernel == 1 || a->kernel == 3) && (a->stride == 1 || a->stride == 2));
    dr_assert(a->before == 0 || (a->before == 1 && a->kernel == 3));
    dr_assert(map_fits(a));
    dr_assert(a->in > 0 && a->out > 0 && a->x_ld >= a->in && a->y_ld >= a->out);
    dr_assert(a->slice > 0 && a->in % a->slice == 0);
    dr_assert(!a->residual || a->residual_ld >= a->out);
    dr_assert(dr_is_aligned(a->weight) && dr_is_aligned(a->phases) && dr_is_aligned(a->bias));
    dr_assert(!a->parts || (dr_cuda_conv_parts(a) > 0 && dr_is_aligned(a->parts)));
    /* pixels have 32-bit numbers; addresses are wider */
    dr_assert((int64_t)a->n * a->x_h * a->x_w <= INT_MAX && (int64_t)a->n * a->y_h * a->y_w <= INT_MAX / 2);
    if (a->n == 0 || a->y_h == 0 || a->y_w == 0)
        return;
    if (a->dtype == DR_E4M3)
        dr_cuda_conv_e4m3(stream, a);
    else if (dr_cuda_conv_is_wgmma(a))
        dr_cuda_conv_wgmma(stream, a);
    else if (a->dtype == DR_F16)
        launch_best<dr_f16>(stream, a);
    else
        launch_best<dr_bf16>(stream, a);
}

/* conv.cu - convolutions as one matrix product on the tensor cores, without the matrix.
 *
 *     Y [pixels, out] = X [pixels, K] W [out, K]^T       K: (tap, channel), the channel fastest
 *
 * Row p of X would be the 3 x 3 (or 1 x 1) pixels under the kernel at pixel p of y, zeros where there are
 * none.  It is never in memory: channels lie last, so 8 neighbours in K are 16 bytes of some pixel of x, and
 * go from there to shared memory directly.  W is packed to just this shape, with zeros up to whole steps.
 *
 *     step of K     0    1    2    3    4 ...       a block has a tile of Y, [M, N]
 *                 +----+----+----+----+
 *     X, M rows   |    |    |    |    |             [M, 32] and [N, 32] of one step, in a ring of 4 stages:
 *     W, N rows   |    |    |    |    |             while one is multiplied three are on their way
 *                 +----+----+----+----+
 *
 * After an upsampling the kernel slides over x with every pixel doubled both ways, by the addresses alone.  As
 * neighbours there are mostly one pixel, the output's pixels of one phase, (2i + a, 2j + b), are a convolution of
 * x itself by 2 x 2 sums of weights: 4/9 of the products.
 *
 *     lines of the doubled x    0 0 1 1 2 2         W0 .. W2: the kernel's lines (and its columns, likewise)
 *     a = 0, output line 2      . W W W . .         lines 0, 1 of x by W0, W1 + W2
 *     a = 1, output line 3      . . W W W .         lines 1, 2 of x by W0 + W1, W2
 *
 * The zeros beyond x's edges are those beyond the doubled one's.  (Not where y has one line less: then x's last line is
 * there once, and addresses do it.)  The four phases are one launch; their outputs never meet.
 *
 * A row of a stage is 64 bytes in 4 chunks, and chunk c of row r lies in place c ^ (r / 2 % 4): 8 rows under
 * ldmatrix, as the 8 lanes that cp.async writes for, meet all 32 banks.
 *
 * Every sum adds the same 16 products at a time, in the order of K, in one accumulator, whatever the tile and
 * wherever in it: so tiles change no bits, and a tile may hold pixels of several rows. */
#include "kernels/cuda_device.h"

#include "base/half.h"

#include <limits.h>

enum {
    THREADS = 128,
    WARPS = THREADS / 32,
    STEP = 32, /* of K */
    CHUNK = 8, /* values in 16 bytes */
    STAGES =
        4, /* 72 KiB in the largest tile: one block on an SM of sm_86 and sm_89, two on sm_80 and sm_90 */
    STEP_CHUNKS = STEP / CHUNK,
    LOAD_ROWS = THREADS / STEP_CHUNKS, /* of a stage: what the block loads with a chunk for each thread */
    GROUP_TILES = 8,                   /* of pixels: see place_block() */
};

/* --- tiles ----------------------------------------------------------------------------------- */

/* WARPS_M of the warps lie along the pixels; each has M / WARPS_M pixels by N / WARPS_N outputs. */
template <int M_, int N_, int WARPS_M_> struct tile {
    static constexpr int M = M_, N = N_;
    static constexpr int WARPS_M = WARPS_M_, WARPS_N = WARPS / WARPS_M;
    static constexpr int WARP_M = M / WARPS_M, WARP_N = N / WARPS_N;
    static constexpr int STAGE_VALUES = (M + N) * STEP;
    static constexpr int SUMS_LD = WARP_N + 8; /* a warp's 16 pixels of float32 sums: writes meet all banks */
    static constexpr size_t SHARED_BYTES = STAGES * STAGE_VALUES * sizeof(uint16_t);

    static_assert(M % LOAD_ROWS == 0 && N % LOAD_ROWS == 0 && WARP_M % 16 == 0 && WARP_N % 16 == 0,
                  "whole rounds");
    static_assert(WARPS * 16 * SUMS_LD * sizeof(float) <= SHARED_BYTES, "sums fit where the stages were");
};

/* Operations for each byte that a block loads, M N / (M + N): 71, 64, 32 and 26. */
typedef tile<128, 160, 2> tile_wide; /* 320, 640 and 1280 outputs are whole numbers of it */
typedef tile<128, 128, 2> tile_square;
typedef tile<64, 64, 2> tile_small; /* small maps: four times the blocks */
typedef tile<128, 32, 4> tile_thin; /* few outputs */

template <typename T> struct conv {
    const T *x, *weight;
    const float *bias, *row_table;
    const int32_t *row_index;
    size_t row_stride;
    const void *residual;
    void *y;
    int x_ld, y_ld, residual_ld, weight_ld;
    int pixels, map, y_w; /* pixels of y, or of a phase of it, in all, of a row, and in a line */
    bool phases;          /* blockIdx.y says which */
    size_t phase_values;  /* weights of one */
    int h, w;             /* what the kernel slides over: x's, or twice that */
    int shift;            /* 1: it is twice that */
    int x_map, x_w;       /* pixels of a row of x, and in a line */
    int in, out, kernel, stride, before;
    int tiles_m, tiles_n;
    dr_activation activation;
    bool y_float;    /* y and residual are float32 */
    bool y_wide;     /* they, and */
    bool table_wide; /* entries of the table, can be read 16 bytes at a time */
};

/* --- loads: x and W to a stage ------------------------------------------------------------------ */

/* Where chunk `chunk` of row `row` lies in a stage's X or W. */
static __device__ __forceinline__ int place(int row, int chunk)
{
    return row * STEP + (chunk ^ (row / 2 % STEP_CHUNKS)) * CHUNK;
}

/* The line and column that a block's phase begins with. */
static __device__ __forceinline__ int phase_y()
{
    return (int)blockIdx.y / 2;
}

static __device__ __forceinline__ int phase_x()
{
    return (int)blockIdx.y % 2;
}

/* A pixel of y, as its loads see it: the first pixel of its row of x, and where tap (0, 0) lies. */
typedef struct window {
    int first, y, x;
} window;

template <typename T> static __device__ __forceinline__ window window_of(const conv<T> &a, int pixel)
{
    const int n = pixel / a.map, at = pixel % a.map;

    if (pixel >= a.pixels)
        return { 0, INT_MIN / 2, 0 }; /* everything is outside */
    return { n * a.x_map, at / a.y_w * a.stride - a.before + phase_y(),
             at % a.y_w * a.stride - a.before + phase_x() };
}

/* The pixel of x under a tap; -1: outside, a zero. */
template <typename T>
static __device__ __forceinline__ int pixel_under(const conv<T> &a, window v, int ky, int kx)
{
    const int y = v.y + ky, x = v.x + kx;

    if (ky >= a.kernel || (unsigned)y >= (unsigned)a.h || (unsigned)x >= (unsigned)a.w)
        return -1;
    return v.first + (y >> a.shift) * a.x_w + (x >> a.shift);
}

/* A thread's chunk of K in the next step to load. */
typedef struct k_position {
    int channel, ky, kx;
} k_position;

template <typename T>
static __device__ __forceinline__ void go_on(const conv<T> &a, k_position &k, int channels)
{
    k.channel += channels;
    while (k.channel >= a.in) {
        k.channel -= a.in;
        if (++k.kx == a.kernel) {
            k.kx = 0;
            k.ky++;
        }
    }
}

/* x in whole chunks. */
template <typename T, int ROWS>
static __device__ __forceinline__ void load_chunks(const conv<T> &a, T *to, const window (&windows)[ROWS],
                                                   const k_position &k)
{
#pragma unroll
    for (int i = 0; i < ROWS; i++) {
        const int pixel = pixel_under(a, windows[i], k.ky, k.kx);
        const ptrdiff_t at = (ptrdiff_t)pixel * a.x_ld + k.channel;

        dr_copy_async(to + i * LOAD_ROWS * STEP, a.x + (pixel < 0 ? 0 : at), pixel >= 0);
    }
}

/* x value by value: a chunk may hold channels of several pixels. */
template <typename T, int ROWS>
static __device__ __forceinline__ void load_values(const conv<T> &a, T *to, const window (&windows)[ROWS],
                                                   k_position k)
{
    dr_pack<T, CHUNK> chunks[ROWS] = {};

#pragma unroll
    for (int j = 0; j < CHUNK; j++) {
#pragma unroll
        for (int i = 0; i < ROWS; i++) {
            const int pixel = pixel_under(a, windows[i], k.ky, k.kx);

            if (pixel >= 0)
                chunks[i].at[j] = a.x[(ptrdiff_t)pixel * a.x_ld + k.channel];
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
    const T *weight; /* of its first row */
    int weight_rows; /* how many of its rows there are, LOAD_ROWS apart */
    int at;          /* in a stage */
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
    l.k = { 0, 0, 0 };
    go_on(a, l.k, chunk * CHUNK);
    l.weight_rows = out < a.out ? (a.out - out + LOAD_ROWS - 1) / LOAD_ROWS : 0;
    l.weight = a.weight + blockIdx.y * a.phase_values +
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
    float at[TILE::WARP_M / 16][TILE::WARP_N / 8][4];
};

/* sums += X W^T of one stage. */
template <typename T, typename TILE>
static __device__ __forceinline__ void multiply(warp_sums<TILE> &sums, const T *stage)
{
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32;
    /* Lanes name rows of four 8 x 8 matrices: X's as A has them, W's as the B of two neighbours. */
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
                dr_mma(T(), sums.at[i][2 * j], x[i], w);
                dr_mma(T(), sums.at[i][2 * j + 1], x[i], w + 2);
            }
        }
    }
}

/* --- what is added, and where it goes ------------------------------------------------------------ */

/* to += `count` of CHUNK floats. */
static __device__ __forceinline__ void add_floats(float (&to)[CHUNK], const float *from, int count, bool wide)
{
    float more[CHUNK] = {};

    if (wide && count == CHUNK)
        dr_load_floats(more, from);
    else
        for (int j = 0; j < CHUNK; j++)
            if (j < count)
                more[j] = from[j];
    for (int j = 0; j < CHUNK; j++)
        to[j] += more[j];
}

/* y = values + residual, for `count` of CHUNK neighbours. */
template <typename Y>
static __device__ __forceinline__ void finish(Y *y, const Y *residual, float (&values)[CHUNK], int count,
                                              bool wide)
{
    constexpr int N = dr_wide<Y>::count;

    if (wide && count == CHUNK) {
        for (int j = 0; j < CHUNK; j += N) {
            dr_pack<Y, N> p = {};

            if (residual)
                p = dr_load<N>(residual + j);
            for (int i = 0; i < N; i++)
                dr_store(&p.at[i], residual ? values[j + i] + dr_float(p.at[i]) : values[j + i]);
            dr_save<N>(y + j, p);
        }
        return;
    }
    for (int j = 0; j < CHUNK; j++)
        if (j < count)
            dr_store(&y[j], residual ? values[j] + dr_float(residual[j]) : values[j]);
}

/* Where a pixel lies in y: rows of y have twice as many lines as those of a phase. */
template <typename T> static __device__ __forceinline__ int place_in_y(const conv<T> &a, int pixel)
{
    if (!a.phases)
        return pixel;
    return (pixel / a.y_w * 2 + phase_y()) * 2 * a.y_w + pixel % a.y_w * 2 + phase_x();
}

/* One pixel's outputs [channel, channel + CHUNK), as far as there are any. */
template <typename T>
static __device__ __forceinline__ void finish_chunk(const conv<T> &a, const float *sums, int pixel,
                                                    int channel)
{
    const int count = a.out - channel < CHUNK ? a.out - channel : CHUNK;
    const int at = place_in_y(a, pixel);
    const ptrdiff_t y_at = (ptrdiff_t)at * a.y_ld + channel, r_at = (ptrdiff_t)at * a.residual_ld + channel;
    float values[CHUNK];

    if (pixel >= a.pixels || count <= 0)
        return;
    dr_load_floats(values, sums);
    if (a.bias)
        add_floats(values, a.bias + channel, count, true);
    if (a.row_table)
        add_floats(values,
                   a.row_table + (ptrdiff_t)a.row_index[pixel / a.map] * (ptrdiff_t)a.row_stride + channel,
                   count, a.table_wide);
    if (a.activation != DR_ACT_NONE)
        for (int j = 0; j < CHUNK; j++)
            values[j] = dr_activated(a.activation, values[j]);
    if (a.y_float)
        finish((float *)a.y + y_at, a.residual ? (const float *)a.residual + r_at : NULL, values, count,
               a.y_wide);
    else
        finish((T *)a.y + y_at, a.residual ? (const T *)a.residual + r_at : NULL, values, count, a.y_wide);
}

/* A warp's sums, 16 pixels at a time, go through shared memory: there a lane finds neighbours. */
template <typename T, typename TILE>
static __device__ __forceinline__ void store(const conv<T> &a, const warp_sums<TILE> &sums, int first_pixel,
                                             int first_out)
{
    constexpr int CHUNKS = TILE::WARP_N / CHUNK, LD = TILE::SUMS_LD;
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32;
    const int pixel = first_pixel + warp / TILE::WARPS_N * TILE::WARP_M;
    const int channel = first_out + warp % TILE::WARPS_N * TILE::WARP_N;
    float *at = (float *)dr_shared() + warp * 16 * LD;

#pragma unroll
    for (int i = 0; i < TILE::WARP_M / 16; i++) {
#pragma unroll
        for (int j = 0; j < TILE::WARP_N / 8; j++) {
            const float *s = sums.at[i][j];
            float *to = at + lane / 4 * LD + j * 8 + lane % 4 * 2;

            dr_save<2>(to, dr_pack<float, 2>{ { s[0], s[1] } });
            dr_save<2>(to + 8 * LD, dr_pack<float, 2>{ { s[2], s[3] } });
        }
        __syncwarp();
#pragma unroll 1
        for (int c = lane; c < 16 * CHUNKS; c += 32)
            finish_chunk(a, at + c / CHUNKS * LD + c % CHUNKS * CHUNK, pixel + i * 16 + c / CHUNKS,
                         channel + c % CHUNKS * CHUNK);
        __syncwarp();
    }
}

/* --- the kernel ---------------------------------------------------------------------------------- */

/* Blocks start about in the order of their numbers: GROUP_TILES tiles of pixels go through all outputs before
 * the next ones do.  What runs at a time shares its pixels and its weights in the L2 cache. */
static __device__ __forceinline__ void place_block(int tiles_m, int tiles_n, int *m, int *n)
{
    const int group = (int)blockIdx.x / (GROUP_TILES * tiles_n), first = group * GROUP_TILES;
    const int high = tiles_m - first < GROUP_TILES ? tiles_m - first : GROUP_TILES;
    const int at = (int)blockIdx.x % (GROUP_TILES * tiles_n);

    *m = first + at % high;
    *n = at / high;
}

/* CHUNKS: x comes in aligned chunks of 16 bytes. */
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
        __syncthreads(); /* stage i is there; and all have done with stage i - 1, which is loaded next */
        if (i + STAGES - 1 < steps)
            load_step<T, TILE, CHUNKS>(a, l, stages + (i + STAGES - 1) % STAGES * TILE::STAGE_VALUES);
        dr_copy_commit();
        multiply<T, TILE>(sums, stages + i % STAGES * TILE::STAGE_VALUES);
    }
    __syncthreads(); /* the stages' memory is free for the sums */
    store<T, TILE>(a, sums, m * TILE::M, n * TILE::N);
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

/* Rows of tensors start at multiples of 16 bytes. */
static bool rows_are_aligned(const void *tensor, int ld, dr_dtype dtype)
{
    return dr_is_aligned(tensor) && (size_t)ld * dr_dtype_bytes(dtype) % 16 == 0;
}

template <typename T> static conv<T> conv_of(const dr_cuda_conv_args *a)
{
    const bool phases = a->upsample && a->phases && a->y_h == 2 * a->x_h && a->y_w == 2 * a->x_w;
    const bool doubled = a->upsample && !phases;
    const int kernel = phases ? 2 : a->kernel, weight_ld = dr_cuda_conv_weight_ld(a->in, kernel);
    const int map = phases ? a->x_h * a->x_w : a->y_h * a->y_w;

    return {
        .x = (const T *)a->x,
        .weight = (const T *)(phases ? a->phases : a->weight),
        .bias = a->bias,
        .row_table = a->row_table,
        .row_index = a->row_index,
        .row_stride = a->row_stride,
        .residual = a->residual,
        .y = a->y,
        .x_ld = a->x_ld,
        .y_ld = a->y_ld,
        .residual_ld = a->residual_ld,
        .weight_ld = weight_ld,
        .pixels = a->n * map,
        .map = map,
        .y_w = phases ? a->x_w : a->y_w,
        .phases = phases,
        .phase_values = (size_t)a->out * (size_t)weight_ld,
        .h = doubled ? a->y_h : a->x_h,
        .w = doubled ? a->y_w : a->x_w,
        .shift = doubled,
        .x_map = a->x_h * a->x_w,
        .x_w = a->x_w,
        .in = a->in,
        .out = a->out,
        .kernel = kernel,
        .stride = a->stride,
        .before = a->before,
        .tiles_m = 0,
        .tiles_n = 0,
        .activation = a->activation,
        .y_float = a->y_dtype == DR_F32,
        .y_wide = rows_are_aligned(a->y, a->y_ld, a->y_dtype) &&
                  (!a->residual || rows_are_aligned(a->residual, a->residual_ld, a->y_dtype)),
        .table_wide = dr_is_aligned(a->row_table) && a->row_stride % 4 == 0,
    };
}

/* The tile follows from the layer and one row's map, or a phase of that. */
template <typename T> static void launch_best(dr_stream stream, const dr_cuda_conv_args *a)
{
    const conv<T> c = conv_of<T>(a);
    const bool chunks = a->in % CHUNK == 0 && rows_are_aligned(a->x, a->x_ld, a->dtype);
    const bool small = c.map < tile_square::M || a->out <= tile_small::N;

    if (a->out <= tile_thin::N && chunks)
        launch<T, tile_thin, true>(stream, c);
    else if (a->out <= tile_thin::N)
        launch<T, tile_thin, false>(stream, c);
    else if (!chunks)
        launch<T, tile_small, false>(stream, c);
    else if (small)
        launch<T, tile_small, true>(stream, c);
    else if (a->out % tile_wide::N == 0)
        launch<T, tile_wide, true>(stream, c);
    else
        launch<T, tile_square, true>(stream, c);
}

/* Pixels of y along a side of `pixels` of x. */
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
    dr_assert(a->dtype == DR_F16 || a->dtype == DR_BF16);
    dr_assert(a->y_dtype == a->dtype || a->y_dtype == DR_F32);
    dr_assert((a->kernel == 1 || a->kernel == 3) && (a->stride == 1 || a->stride == 2));
    dr_assert(a->before == 0 || (a->before == 1 && a->kernel == 3));
    dr_assert(map_fits(a));
    dr_assert(a->in > 0 && a->out > 0 && a->x_ld >= a->in && a->y_ld >= a->out);
    dr_assert(!a->residual || a->residual_ld >= a->out);
    dr_assert(dr_is_aligned(a->weight) && dr_is_aligned(a->phases) && dr_is_aligned(a->bias));
    /* pixels have 32-bit numbers; addresses are wider */
    dr_assert((int64_t)a->n * a->x_h * a->x_w <= INT_MAX && (int64_t)a->n * a->y_h * a->y_w <= INT_MAX / 2);
    if (a->n == 0 || a->y_h == 0 || a->y_w == 0)
        return;
    if (a->dtype == DR_F16)
        launch_best<dr_f16>(stream, a);
    else
        launch_best<dr_bf16>(stream, a);
}

/* --- weights, on the host -------------------------------------------------------------------------- */

int dr_cuda_conv_weight_ld(int in, int kernel)
{
    return (in * kernel * kernel + STEP - 1) / STEP * STEP;
}

void dr_cuda_conv_pack(dr_dtype dtype, void *to, const float *weight, int in, int out, int kernel)
{
    const size_t taps = (size_t)kernel * (size_t)kernel, channels = (size_t)in;
    const size_t ld = (size_t)dr_cuda_conv_weight_ld(in, kernel);

    for (size_t j = 0; j < (size_t)out; j++) {
        const float *from = weight + j * channels * taps;
        uint16_t *row = (uint16_t *)to + j * ld;

        for (size_t tap = 0; tap < taps; tap++)
            for (size_t c = 0; c < channels; c++) {
                const float value = from[c * taps + tap];

                *row++ = dtype == DR_F16 ? dr_f16_from_float(value) : dr_bf16_from_float(value);
            }
        for (size_t i = taps * channels; i < ld; i++)
            *row++ = 0;
    }
}

/* One of a phase's two lines (or columns) of weights is one of the kernel's, the other the sum of two. */
static void lines_of(int phase, int line, int *begin, int *end)
{
    *begin = line == 0 ? 0 : 1 + phase;
    *end = line == 0 ? 1 + phase : 3;
}

void dr_cuda_conv_phase(float *to, const float *weight, size_t filters, int phase)
{
    dr_assert(phase >= 0 && phase < DR_CUDA_CONV_PHASES);
    for (size_t i = 0; i < 4 * filters; i++) {
        const float *filter = weight + i / 4 * 9;
        int y, y_end, x_begin, x_end;
        float sum = 0.0f;

        lines_of(phase / 2, i % 4 / 2, &y, &y_end);
        lines_of(phase % 2, i % 2, &x_begin, &x_end);
        for (; y < y_end; y++)
            for (int x = x_begin; x < x_end; x++)
                sum += filter[3 * y + x];
        to[i] = sum;
    }
}

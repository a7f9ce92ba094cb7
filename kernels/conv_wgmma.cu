/* conv_wgmma.cu - convolutions on Hopper's tensor cores: wgmma (cuda_wgmma.h).  cuda_conv.h explains the
 * problem.
 *
 *     step of K      0      1      2      3 ...     a block has a tile of Y, [M, N], and two warpgroups
 *                 +------+------+------+------+     with half of its pixels each
 *     X, M rows   |      |      |      |      |     [M, 64] and [N, 64] of one step, in a ring of 3 or 4
 *     W, N rows   |      |      |      |      |     stages: while one is multiplied, the others are copied
 *                 +------+------+------+------+
 *
 * A row of a stage is 128 bytes, one cache line of x or of the weight, swizzled.  All threads copy, and all
 * multiply:
 *
 *     copies     i                i + 1            i + 2
 *     threads    ..| wait, start product i, wait for i - 1, start copies i + 2 | wait, start product i + 1
 *     products   i - 1 -------------|i ---------------------------------------------|i + 1
 *
 * So the tensor cores have the next product before they finish the one before.  All threads share the
 * stages through two barriers.  After the first barrier, all threads see stage i.  After the second,
 * nobody reads stage i - 1 any more.  Stage i + 2 takes its place (with three stages).
 *
 * The weight is packed in slices of 64 channels.  A step is one tap of one slice.  So the next taps read
 * nearly the same lines of x, and find them in the SM's own cache beside its shared memory.  A step of
 * [256, 160] needs 20 KiB of W and 32 KiB of X.  From the second-level cache it reads all of W, but only
 * the pixels of X that are new: 5.3 KiB where 256 pixels are 4 lines (9 taps see 6).
 *
 * Every sum adds the same 16 products at a time, in the order of K, in one accumulator, at every place in
 * the tile.  A tile may hold pixels of several rows. */
#include "kernels/cuda_conv_store.h"
#include "kernels/cuda_wgmma.h"

enum {
    WARPGROUPS = 2,
    THREADS = WARPGROUPS * DR_WARPGROUP,
    STEP = 64, /* values of K in a step */
    ROW_BYTES = STEP * (int)sizeof(uint16_t),
    PATTERN_BYTES = 8 * ROW_BYTES, /* a pattern of the swizzle */
    STEP_CHUNKS = STEP / CHUNK,
    LOAD_ROWS = THREADS / STEP_CHUNKS, /* rows that the block loads at a time, a chunk for each thread */
    PIXELS = 64,                       /* pixels of a product */
    MAP_LARGE = 1024, /* with so many pixels, a row alone is work for many blocks of the larger tiles */
};

/* --- tiles ----------------------------------------------------------------------------------- */

/* A warpgroup has M / 2 pixels by all N outputs.  Each of its four warps has 16 of each 64 pixels. */
template <int M_, int N_, int STAGES_> struct wgmma_tile {
    static constexpr int M = M_, N = N_, STAGES = STAGES_;
    static constexpr int WARPS_M = THREADS / 32, WARPS_N = 1;
    static constexpr int WARP_M = M / WARPS_M, WARP_N = N;
    static constexpr int PRODUCTS = M / WARPGROUPS / PIXELS; /* products of a warpgroup, for 16 of K */
    static constexpr int STAGE_BYTES = (M + N) * ROW_BYTES;
    static constexpr size_t SHARED_BYTES = STAGES * STAGE_BYTES;

    /* The first of the 16 pixels of the tile that a warp has. */
    static __device__ __forceinline__ int pixel_of(int warp, int i)
    {
        return (warp / 4 * PRODUCTS + i) * PIXELS + warp % 4 * 16;
    }

    static_assert(M % (WARPGROUPS * PIXELS) == 0 && M % LOAD_ROWS == 0 && N % 16 == 0, "whole rounds");
    static_assert(STAGE_BYTES % PATTERN_BYTES == 0 && M * ROW_BYTES % PATTERN_BYTES == 0,
                  "matrices start where patterns do");
};

/* Operations for each byte that a block loads are M N / (M + N): 98, 85, 71, 64 and 49.  For the first
 * tile they are 202 if the SM's cache helps as described above. */
typedef wgmma_tile<256, 160, 3> tile_high_wide; /* 320, 640 and 1280 outputs are multiples of 160 */
typedef wgmma_tile<256, 128, 3> tile_high_square;
typedef wgmma_tile<128, 160, 4> tile_wide;
typedef wgmma_tile<128, 128, 4> tile_square;
typedef wgmma_tile<128, 80, 4> tile_narrow; /* for small maps: blocks for all SMs, with few pixels each */

/* --- loads: x and W to a stage ------------------------------------------------------------------ */

/* What one thread loads: the same chunk of a step for some rows of X and of W, LOAD_ROWS apart. */
template <typename T, typename TILE> struct wgmma_loader {
    static constexpr int X_ROWS = TILE::M / LOAD_ROWS, W_ROWS = (TILE::N + LOAD_ROWS - 1) / LOAD_ROWS;
    const T *x;          /* the thread's chunk of channel 0 */
    int pixel[X_ROWS];   /* number of the pixel of x under tap (0, 0), if it exists */
    uint32_t in[X_ROWS]; /* bit ky * kernel + kx: whether a pixel of x lies under that tap */
    k_position k;        /* of the step; all threads have the same */
    const T *weight;     /* of the thread's first row */
    int weight_rows;     /* number of the thread's rows that exist, LOAD_ROWS apart */
    int at;              /* the place in X and in W, in bytes */
};

template <typename T, typename TILE>
static __device__ __forceinline__ wgmma_loader<T, TILE> loader_of(const conv<T> &a, int first_pixel,
                                                                  int first_out)
{
    const int chunk = (int)threadIdx.x % STEP_CHUNKS, row = (int)threadIdx.x / STEP_CHUNKS;
    const int out = first_out + row;
    wgmma_loader<T, TILE> l;

    l.x = (const T *)a.x + chunk * CHUNK;
#pragma unroll
    for (int i = 0; i < l.X_ROWS; i++) {
        const window v = window_of(a, first_pixel + row + i * LOAD_ROWS);

        l.in[i] = taps_in(a, v);
        l.pixel[i] = l.in[i] ? v.first + v.y * a.x_w + v.x : 0; /* beyond the last, v lies far outside */
    }
    l.k = { 0, a.slice, 0, 0 };
    l.weight_rows = out < a.out ? (a.out - out + LOAD_ROWS - 1) / LOAD_ROWS : 0;
    l.weight = (const T *)a.weight + blockIdx.y * a.phase_values +
               (l.weight_rows ? (ptrdiff_t)out * a.weight_ld + chunk * CHUNK : 0);
    l.at = (int)dr_swizzled<DR_SWIZZLE_128>((uint32_t)(row * ROW_BYTES + chunk * CHUNK * (int)sizeof(T)));
    return l;
}

template <typename T, typename TILE>
static __device__ __forceinline__ void load_step(const conv<T> &a, wgmma_loader<T, TILE> &l, char *stage)
{
    const int tap = l.k.ky * a.kernel + l.k.kx, away = l.k.ky * a.x_w + l.k.kx;
    char *x = stage + l.at, *w = stage + TILE::M * ROW_BYTES + l.at;

#pragma unroll
    for (int i = 0; i < l.X_ROWS; i++) {
        const bool there = l.in[i] >> tap & 1;
        const int pixel = there ? l.pixel[i] + away : 0;

        dr_copy_async_cached(x + i * LOAD_ROWS * ROW_BYTES, l.x + ((ptrdiff_t)pixel * a.x_ld + l.k.channel),
                             there);
    }
    go_on(a, l.k, STEP);
#pragma unroll
    for (int i = 0; i < l.W_ROWS; i++) {
        const bool there = i < l.weight_rows;

        if (TILE::N % LOAD_ROWS == 0 || (int)threadIdx.x / STEP_CHUNKS + i * LOAD_ROWS < TILE::N)
            dr_copy_async(w + i * LOAD_ROWS * ROW_BYTES,
                          l.weight + (there ? (ptrdiff_t)i * LOAD_ROWS * a.weight_ld : 0), there);
    }
    l.weight += STEP;
}

/* --- products ----------------------------------------------------------------------------------- */

/* Starts sums += X W^T for one stage, as one group. */
template <typename T, typename TILE>
static __device__ __forceinline__ void multiply(float (&sums)[TILE::PRODUCTS][TILE::N / 2], const char *stage,
                                                int warpgroup)
{
    const uint64_t x = dr_wgmma_matrix<DR_SWIZZLE_128, 16, PATTERN_BYTES>(stage + warpgroup * TILE::PRODUCTS *
                                                                                      PIXELS * ROW_BYTES);
    const uint64_t w = dr_wgmma_matrix<DR_SWIZZLE_128, 16, PATTERN_BYTES>(stage + TILE::M * ROW_BYTES);

    dr_wgmma_fence(sums);
#pragma unroll
    for (int k = 0; k < ROW_BYTES; k += 32)
#pragma unroll
        for (int i = 0; i < TILE::PRODUCTS; i++)
            dr_wgmma<TILE::N, DR_K_MAJOR, DR_K_MAJOR>(T(), sums[i],
                                                      dr_wgmma_moved(x,
                                                                     (uint32_t)(i * PIXELS * ROW_BYTES + k)),
                                                      dr_wgmma_moved(w, (uint32_t)k), true);
    dr_wgmma_commit();
}

/* --- the kernel ---------------------------------------------------------------------------------- */

template <typename T, typename TILE>
static __global__ __launch_bounds__(THREADS, 1) void conv_wgmma_kernel(conv<T> a)
{
    constexpr int STAGES = TILE::STAGES;
    char *stages = (char *)dr_shared();
    const int steps = a.weight_ld / STEP;
    const int warpgroup =
        __shfl_sync(0xffffffff, (int)threadIdx.x / DR_WARPGROUP, 0); /* equal in all lanes */
    float sums[TILE::PRODUCTS][TILE::N / 2] = {};
    int m, n;

    place_block(a.tiles_m, a.tiles_n, &m, &n);
    wgmma_loader<T, TILE> l = loader_of<T, TILE>(a, m * TILE::M, n * TILE::N);

    for (int i = 0; i < STAGES - 1; i++) {
        if (i < steps)
            load_step<T, TILE>(a, l, stages + i * TILE::STAGE_BYTES);
        dr_copy_commit();
    }
#pragma unroll 1
    for (int i = 0; i < steps; i++) {
        dr_copy_wait<STAGES - 2>();
        dr_async_proxy_fence();
        __syncthreads(); /* all see stage i */
        multiply<T, TILE>(sums, stages + i % STAGES * TILE::STAGE_BYTES, warpgroup);
        dr_wgmma_wait<1>();
        __syncthreads(); /* nobody reads stage i - 1 any more, which is loaded next */
        if (i + STAGES - 1 < steps)
            load_step<T, TILE>(a, l, stages + (i + STAGES - 1) % STAGES * TILE::STAGE_BYTES);
        dr_copy_commit();
    }
    dr_wgmma_wait<0>(sums);
    __syncthreads(); /* the stages' memory is free for the sums */
    store<T, TILE>(a, sums, m * TILE::M, n * TILE::N);
}

/* --- launches ------------------------------------------------------------------------------------ */

/* A step must be one tap.  So a slice has whole steps of channels, and the pixels of x lie beside one
 * another. */
bool dr_cuda_conv_is_wgmma(const dr_cuda_conv_args *a)
{
    return a->wgmma && in_chunks(a) && a->slice % STEP == 0 && a->out >= tile_square::N &&
           (!a->upsample || in_phases(a));
}

/* The tile follows from the layer and the map of one row (or one phase of that map). */
typedef enum tile_name { HIGH_WIDE, HIGH_SQUARE, WIDE, SQUARE, NARROW } tile_name;

static tile_name tile_for(const dr_cuda_conv_args *a)
{
    const int map = map_of(a);

    if (map < tile_narrow::M && a->out % tile_narrow::N == 0)
        return NARROW;
    if (a->out % tile_wide::N == 0)
        return map < MAP_LARGE ? WIDE : HIGH_WIDE;
    return map < MAP_LARGE ? SQUARE : HIGH_SQUARE;
}

template <typename T, typename TILE> static void launch(dr_stream stream, conv<T> c)
{
    c.tiles_m = (int)dr_blocks((size_t)c.pixels, TILE::M);
    c.tiles_n = (int)dr_blocks((size_t)c.out, TILE::N);
    dr_launch(stream, DR_KERNEL(conv_wgmma_kernel<T, TILE>),
              dim3((unsigned)c.tiles_m * (unsigned)c.tiles_n, c.phases ? DR_CUDA_CONV_PHASES : 1), THREADS,
              TILE::SHARED_BYTES, c);
}

template <typename T> static void launch_best(dr_stream stream, const dr_cuda_conv_args *a)
{
    const conv<T> c = conv_of<T>(a);

    switch (tile_for(a)) {
    case HIGH_WIDE:
        launch<T, tile_high_wide>(stream, c);
        break;
    case HIGH_SQUARE:
        launch<T, tile_high_square>(stream, c);
        break;
    case WIDE:
        launch<T, tile_wide>(stream, c);
        break;
    case SQUARE:
        launch<T, tile_square>(stream, c);
        break;
    case NARROW:
        launch<T, tile_narrow>(stream, c);
        break;
    }
}

void dr_cuda_conv_wgmma(dr_stream stream, const dr_cuda_conv_args *a)
{
    if (a->dtype == DR_F16)
        launch_best<dr_f16>(stream, a);
    else
        launch_best<dr_bf16>(stream, a);
}

int dr_cuda_conv_wgmma_parts(const dr_cuda_conv_args *a)
{
    switch (tile_for(a)) {
    case HIGH_WIDE:
        return parts_of<tile_high_wide::M, tile_high_wide::N>(a);
    case HIGH_SQUARE:
        return parts_of<tile_high_square::M, tile_high_square::N>(a);
    case WIDE:
        return parts_of<tile_wide::M, tile_wide::N>(a);
    case SQUARE:
        return parts_of<tile_square::M, tile_square::N>(a);
    default:
        return parts_of<tile_narrow::M, tile_narrow::N>(a);
    }
}

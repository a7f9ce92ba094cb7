/* conv_e4m3.cu - convolutions of 8-bit values on Hopper's tensor cores, which do twice as many products
 * of 8 bits as of 16. cuda_conv.h explains the problem. conv_wgmma.cu explains how a block works.  These
 * things differ here:
 *
 *     step of K    128 values, which are 128 bytes again: two taps of a slice of 64 channels, or the last tap
 *                  of one slice and the first of the next; after the last tap there is a zero weight
 *     sums         a step's products go to registers of their own, and from there to the sums by ordinary
 *                  additions: the tensor cores' own sums of 8-bit products are short (cuda_wgmma.h).  So
 *                  there are registers for 128 pixels, not 256
 *
 * The outputs are divided into halves, so that additions go on beside products:
 *
 *     tensor cores   left i | right i      |              | left i + 1 ...
 *     threads               | sums += left | sums += right| barrier
 *
 * By calculation the products of 128 x 160 x 128 take 640 cycles of the tensor cores.  The additions of
 * the right half take 80 cycles of the schedulers, and nothing hides these cycles.  The additions can't
 * run beside the products of left i + 1: if the sums of products are read in the next turn of the loop,
 * ptxas serializes these products (C7514).
 *
 * Each sum adds a step's 128 products, in the order of K, at every place in the tile. */
#include "kernels/cuda_conv_store.h"
#include "kernels/cuda_wgmma.h"

enum {
    WARPGROUPS = 2,
    THREADS = WARPGROUPS * DR_WARPGROUP,
    STEP = DR_CUDA_CONV_STEP_E4M3, /* values of K in a step, which are as many bytes */
    PATTERN_BYTES = 8 * STEP,      /* a pattern of the swizzle */
    LOAD = 16,                     /* values (and bytes) that a thread copies at once */
    STEP_LOADS = STEP / LOAD,
    LOAD_ROWS = THREADS / STEP_LOADS, /* rows that the block loads at a time, a copy for each thread */
    PIXELS = 64,                      /* of a product, and of a warpgroup */
};

/* --- tiles ----------------------------------------------------------------------------------- */

template <int N_, int STAGES_> struct e4m3_tile {
    static constexpr int M = WARPGROUPS * PIXELS, N = N_, HALF = N / 2, STAGES = STAGES_;
    static constexpr int WARPS_M = THREADS / 32, WARPS_N = 1;
    static constexpr int WARP_M = M / WARPS_M, WARP_N = N;
    static constexpr int STAGE_BYTES = (M + N) * STEP;
    static constexpr size_t SHARED_BYTES = STAGES * STAGE_BYTES;

    /* The first pixel of the tile that a warp has. */
    static __device__ __forceinline__ int pixel_of(int warp, int)
    {
        return warp * 16;
    }

    static_assert(M % LOAD_ROWS == 0 && HALF * STEP % PATTERN_BYTES == 0, "matrices start where patterns do");
};

/* Operations for each byte that a block loads are 2 M N / (M + N): 142, 128 and 98. */
typedef e4m3_tile<160, 5> tile_wide; /* 320, 640 and 1280 outputs are multiples of 160 */
typedef e4m3_tile<128, 5> tile_square;
typedef e4m3_tile<80, 6> tile_narrow; /* for small maps: blocks for all SMs, with few pixels each */

/* --- loads: x and W to a stage ------------------------------------------------------------------ */

/* What one thread loads: the same 16 values of a step for some rows of X and of W, LOAD_ROWS apart. */
template <typename TILE> struct e4m3_loader {
    static constexpr int X_ROWS = TILE::M / LOAD_ROWS, W_ROWS = (TILE::N + LOAD_ROWS - 1) / LOAD_ROWS;
    int pixel[X_ROWS];   /* number of the pixel of x under tap (0, 0), if it exists */
    uint32_t in[X_ROWS]; /* bit ky * kernel + kx: whether a pixel of x lies under that tap */
    k_position k;
    const char *weight; /* of the thread's first row */
    int weight_rows;    /* number of the thread's rows that exist, LOAD_ROWS apart */
    int at;             /* the place in X and in W */
};

template <typename T, typename TILE>
static __device__ __forceinline__ e4m3_loader<TILE> loader_of(const conv<T> &a, int first_pixel,
                                                              int first_out)
{
    const int load = (int)threadIdx.x % STEP_LOADS, row = (int)threadIdx.x / STEP_LOADS;
    const int out = first_out + row;
    e4m3_loader<TILE> l;

#pragma unroll
    for (int i = 0; i < l.X_ROWS; i++) {
        const window v = window_of(a, first_pixel + row + i * LOAD_ROWS);

        l.in[i] = taps_in(a, v);
        l.pixel[i] = l.in[i] ? v.first + v.y * a.x_w + v.x : 0;
    }
    l.k = { 0, a.slice, 0, 0 };
    go_on(a, l.k, load * LOAD);
    l.weight_rows = out < a.out ? (a.out - out + LOAD_ROWS - 1) / LOAD_ROWS : 0;
    l.weight = (const char *)a.weight + (l.weight_rows ? (ptrdiff_t)out * a.weight_ld + load * LOAD : 0);
    l.at = (int)dr_swizzled<DR_SWIZZLE_128>((uint32_t)(row * STEP + load * LOAD));
    return l;
}

template <typename T, typename TILE>
static __device__ __forceinline__ void load_step(const conv<T> &a, e4m3_loader<TILE> &l, char *stage)
{
    const int tap = l.k.ky * a.kernel + l.k.kx, away = l.k.ky * a.x_w + l.k.kx;
    const bool in_k = l.k.channel < a.in;
    char *x = stage + l.at, *w = stage + TILE::M * STEP + l.at;

#pragma unroll
    for (int i = 0; i < l.X_ROWS; i++) {
        const bool there = in_k && (l.in[i] >> tap & 1);
        const ptrdiff_t from = there ? (ptrdiff_t)(l.pixel[i] + away) * a.x_ld + l.k.channel : 0;

        dr_copy_async_cached(x + i * LOAD_ROWS * STEP, (const char *)a.x + from, there);
    }
    go_on(a, l.k, STEP);
#pragma unroll
    for (int i = 0; i < l.W_ROWS; i++) {
        const bool there = i < l.weight_rows;

        if (TILE::N % LOAD_ROWS == 0 || (int)threadIdx.x / STEP_LOADS + i * LOAD_ROWS < TILE::N)
            dr_copy_async(w + i * LOAD_ROWS * STEP,
                          l.weight + (there ? (ptrdiff_t)i * LOAD_ROWS * a.weight_ld : 0), there);
    }
    l.weight += STEP;
}

/* --- products ----------------------------------------------------------------------------------- */

/* Starts products = X W^T for one stage and half of its outputs, as one group. */
template <typename TILE>
static __device__ __forceinline__ void multiply(float (&products)[TILE::HALF / 2], const char *stage,
                                                int warpgroup, int half)
{
    const uint64_t x = dr_wgmma_matrix<DR_SWIZZLE_128, 16, PATTERN_BYTES>(stage + warpgroup * PIXELS * STEP);
    const uint64_t w =
        dr_wgmma_matrix<DR_SWIZZLE_128, 16, PATTERN_BYTES>(stage + (TILE::M + half * TILE::HALF) * STEP);

    dr_wgmma_fence();
    dr_wgmma<TILE::HALF, DR_K_MAJOR, DR_K_MAJOR>(dr_e4m3(), products, x, w);
#pragma unroll
    for (int k = 32; k < STEP; k += 32)
        dr_wgmma<TILE::HALF, DR_K_MAJOR, DR_K_MAJOR>(dr_e4m3(), products, dr_wgmma_moved(x, (uint32_t)k),
                                                     dr_wgmma_moved(w, (uint32_t)k), true);
    dr_wgmma_commit();
}

template <typename TILE>
static __device__ __forceinline__ void add(float (&sums)[TILE::N / 2],
                                           const float (&products)[TILE::HALF / 2], int half)
{
#pragma unroll
    for (int i = 0; i < TILE::HALF / 2; i++)
        sums[half * TILE::HALF / 2 + i] += products[i];
}

/* --- the kernel ---------------------------------------------------------------------------------- */

template <typename T, typename TILE>
static __global__ __launch_bounds__(THREADS, 1) void conv_e4m3_kernel(conv<T> a)
{
    constexpr int STAGES = TILE::STAGES;
    char *stages = (char *)dr_shared();
    const int steps = a.weight_ld / STEP;
    const int warpgroup =
        __shfl_sync(0xffffffff, (int)threadIdx.x / DR_WARPGROUP, 0); /* equal in all lanes */
    float sums[1][TILE::N / 2] = {}, left[TILE::HALF / 2], right[TILE::HALF / 2];
    int m, n;

    place_block(a.tiles_m, a.tiles_n, &m, &n);
    e4m3_loader<TILE> l = loader_of<T, TILE>(a, m * TILE::M, n * TILE::N);

    for (int i = 0; i < STAGES - 1; i++) {
        if (i < steps)
            load_step<T, TILE>(a, l, stages + i * TILE::STAGE_BYTES);
        dr_copy_commit();
    }
#pragma unroll 1
    for (int i = 0; i < steps; i++) {
        const char *stage = stages + i % STAGES * TILE::STAGE_BYTES;

        dr_copy_wait<STAGES - 2>();
        dr_async_proxy_fence();
        __syncthreads(); /* all see stage i; and nobody reads stage i - 1 any more, which is loaded next */
        multiply<TILE>(left, stage, warpgroup, 0);
        multiply<TILE>(right, stage, warpgroup, 1);
        if (i + STAGES - 1 < steps)
            load_step<T, TILE>(a, l, stages + (i + STAGES - 1) % STAGES * TILE::STAGE_BYTES);
        dr_copy_commit();
        dr_wgmma_wait<1>(left);
        add<TILE>(sums[0], left, 0);
        dr_wgmma_wait<0>(right);
        add<TILE>(sums[0], right, 1);
    }
    __syncthreads(); /* the stages' memory is free for the sums */
    store<T, TILE>(a, sums, m * TILE::M, n * TILE::N);
}

/* --- launches ------------------------------------------------------------------------------------ */

/* The tile follows from the layer and the map of one row. */
typedef enum tile_name { WIDE, SQUARE, NARROW } tile_name;

static tile_name tile_for(const dr_cuda_conv_args *a)
{
    if (map_of(a) < tile_narrow::M && a->out % tile_narrow::N == 0)
        return NARROW;
    return a->out % tile_wide::N == 0 ? WIDE : SQUARE;
}

template <typename T, typename TILE> static void launch(dr_stream stream, conv<T> c)
{
    c.tiles_m = (int)dr_blocks((size_t)c.pixels, TILE::M);
    c.tiles_n = (int)dr_blocks((size_t)c.out, TILE::N);
    dr_launch(stream, DR_KERNEL(conv_e4m3_kernel<T, TILE>), dim3((unsigned)c.tiles_m * (unsigned)c.tiles_n),
              THREADS, TILE::SHARED_BYTES, c);
}

template <typename T> static void launch_best(dr_stream stream, const dr_cuda_conv_args *a)
{
    const conv<T> c = conv_of<T>(a);

    switch (tile_for(a)) {
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

void dr_cuda_conv_e4m3(dr_stream stream, const dr_cuda_conv_args *a)
{
    dr_assert(a->wgmma && dr_cuda_conv_in_eight_bits(a->in, a->out) && !a->upsample);
    dr_assert(a->slice % LOAD == 0 && in_chunks(a));
    if (a->y_dtype == DR_F16)
        launch_best<dr_f16>(stream, a);
    else
        launch_best<dr_bf16>(stream, a);
}

int dr_cuda_conv_e4m3_parts(const dr_cuda_conv_args *a)
{
    switch (tile_for(a)) {
    case WIDE:
        return parts_of<tile_wide::M, tile_wide::N>(a);
    case SQUARE:
        return parts_of<tile_square::M, tile_square::N>(a);
    default:
        return parts_of<tile_narrow::M, tile_narrow::N>(a);
    }
}

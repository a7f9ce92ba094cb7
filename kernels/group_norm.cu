/* group_norm.cu - group norm and SiLU of channels-last maps.
 *
 *     x [n, pixels, c], group g is channels [g w, (g + 1) w), w = c / groups
 *
 * There are three ways.  A row's shape, and whether its moments are known, decide which:
 *
 *     known    the kernel that wrote x left moments of its parts.  Each block joins them, and normalises
 *              a run of pixels: 2 n pixels c values move.  If they are many, a launch before joins them.
 *     slab     else: the pixels of a few groups (just so many that a pixel's are 16 aligned bytes) fit in a
 *              block's shared memory.  Read once, written once: 2 n pixels c values move.
 *     split    else a row is cut into runs of pixels.  One launch leaves each run's mean and spread for
 *              each group, one joins them and normalises: x is read twice, the second time, at the
 *              UNet's sizes, from the L2 cache.  3 n pixels c values, and 16 bytes for each run and group.
 *
 * Statistics are exact enough for any input (cuda_moments.h).  A constant input gives beta, exactly. */
#include "kernels/cuda_moments.h"

enum {
    LANE_PIXELS = 16, /* pixels of a run for each thread: so many loads at a time hide their latency */
    SPLITS_MAX = 128, /* runs of a row: every block joins all of them */
    /* Where moments are known: */
    PARTS_MAX = 64, /* parts that each block joins: 32 KiB for 32 groups, about as much as it normalises */
    KNOWN_SPLITS_MAX = 64,       /* runs if each block joins all parts, so that this is not done too often */
    JOINED_SPLITS_MAX = 512,     /* runs of a row if there is only one part to join */
    KNOWN_LANE_PIXELS = 4,       /* few, to spread small maps over more blocks: no run is summed */
    SHARED_BYTES_MAX = 99 << 10, /* of a block on sm_86 and sm_89; sm_80 and sm_90 have more */
};

/* --- a row, and a block's part of it ---------------------------------------------------------- */

template <typename T> struct group_norm {
    const T *x;
    void *y; /* of type Y: T or dr_e4m3 */
    const float *gamma, *beta;
    float eps;
    int pixels, c, groups, width; /* width: channels of a group */
    bool silu;
    int tile_groups;              /* slab: groups of a block */
    int splits, split_pixels;     /* else: runs of pixels */
    const dr_cuda_moments *parts; /* else: [n, groups, part_count] */
    int part_count;
    dr_cuda_moments *joined; /* else: what the launch before joins, of x or of the parts */
};

/* What a block keeps of its groups, in shared memory. */
typedef struct group_stats {
    float *reference; /* the group's first value; y may be x, so this is read before anything is written */
    float *mean;      /* the mean minus the reference */
    float *scale;     /* 1 / sqrt(variance + eps) */
} group_stats;

static __device__ __forceinline__ void finish_group(group_stats s, int group, float reference, moments m,
                                                    float eps)
{
    s.reference[group] = reference;
    s.mean[group] = m.mean;
    s.scale[group] = 1.0f / sqrtf(m.spread / m.count + eps);
}

/* Writes y for one tile. x may be the slab.  `channel` is the tile's first channel in the row. */
template <typename T, typename Y, int N>
static __device__ void apply(const group_norm<T> &a, const T *x, size_t x_c, Y *y, int channel, int pixels,
                             layout l, group_stats s)
{
    for (int v = l.vector; v < l.vectors && l.lane < l.lanes; v += THREADS) {
        float centre[N], factor[N], shift[N];

        dr_load_floats(factor, a.gamma + channel + v * N);
        dr_load_floats(shift, a.beta + channel + v * N);
        for (int j = 0; j < N; j++) {
            const int group = (v * N + j) / a.width;

            centre[j] = s.reference[group] + s.mean[group];
            factor[j] *= s.scale[group];
            /* with what rounding the centre lost of the mean */
            shift[j] = fmaf(centre[j] - s.reference[group] - s.mean[group], factor[j], shift[j]);
        }
#pragma unroll 4
        for (int i = l.lane; i < pixels; i += l.lanes) {
            const dr_pack<T, N> from = dr_load<N>(x + (size_t)i * x_c + v * N);
            dr_pack<Y, N> to;

            for (int j = 0; j < N; j++) {
                const float value = fmaf(dr_float(from.at[j]) - centre[j], factor[j], shift[j]);

                dr_store(&to.at[j], a.silu ? dr_silu(value) : value);
            }
            dr_save<N>(y + (size_t)i * a.c + v * N, to);
        }
    }
}

/* --- kernels -------------------------------------------------------------------------------- */

/* Shared memory holds the two arrays of moments [lanes, channels], the three arrays of the stats
 * [groups], and then the slab.  Each begins at a multiple of 16 bytes. */
static DR_HD size_t stat_floats(int groups)
{
    return (size_t)(groups + 3) / 4 * 4;
}

static __device__ __forceinline__ group_stats stats_at(float *shared, int groups)
{
    return { shared, shared + stat_floats(groups), shared + 2 * stat_floats(groups) };
}

/* Grid: tiles of a row's groups, rows. */
template <typename T, typename Y, int N>
static __global__ __launch_bounds__(THREADS) void group_norm_slab(group_norm<T> a)
{
    const int channels = a.tile_groups * a.width, channel = (int)blockIdx.x * channels;
    const layout l = layout_of<N>(channels);
    const size_t start = (size_t)blockIdx.y * (size_t)a.pixels * (size_t)a.c + (size_t)channel;
    const T *row = a.x + start;
    float *mean = (float *)dr_shared(), *spread = mean + moment_floats(channels, N);
    const group_stats s = stats_at(spread + moment_floats(channels, N), a.tile_groups);
    T *slab = (T *)(s.scale + stat_floats(a.tile_groups));

    channel_moments<T, N>(one_map(row, a.c), a.width, a.pixels, l, mean, spread, slab);
    __syncthreads();
    for (int g = (int)threadIdx.x / 32; g < a.tile_groups; g += WARPS) {
        const moments m = group_moments(mean, spread, g, a.width, a.pixels, l, channels);

        if (threadIdx.x % 32 == 0)
            finish_group(s, g, dr_float(slab[g * a.width]), m, a.eps);
    }
    __syncthreads();
    apply<T, Y, N>(a, slab, (size_t)channels, (Y *)a.y + start, channel, a.pixels, l, s);
}

template <typename T> static __device__ __forceinline__ int run_pixels(const group_norm<T> &a, int run)
{
    const int left = a.pixels - run * a.split_pixels;

    return left < a.split_pixels ? left : a.split_pixels;
}

/* Grid: runs of pixels, rows. */
template <typename T, int N>
static __global__ __launch_bounds__(THREADS) void group_norm_parts(group_norm<T> a)
{
    const layout l = layout_of<N>(a.c);
    const int run = (int)blockIdx.x, pixels = run_pixels(a, run);
    const size_t first = (size_t)blockIdx.y * (size_t)a.pixels + (size_t)run * (size_t)a.split_pixels;

    leave_parts<T, N>(one_map(a.x + first * (size_t)a.c, a.c), a.groups, a.width, pixels, l, (T *)NULL,
                      a.joined + (size_t)blockIdx.y * (size_t)(a.groups * a.splits) + (size_t)run, a.splits);
}

/* Grid: groups, rows. */
template <typename T> static __global__ __launch_bounds__(THREADS) void group_norm_join(group_norm<T> a)
{
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32;
    const size_t group = (size_t)blockIdx.y * (size_t)a.groups + (size_t)blockIdx.x;
    const dr_cuda_moments *parts = a.parts + group * (size_t)a.part_count;
    const float reference = parts->reference;
    moments *of_warp = (moments *)dr_shared();
    moments m = lanes_join(join_parts(parts, a.part_count, (int)threadIdx.x, THREADS, reference), 32);

    if (lane == 0)
        of_warp[warp] = m;
    __syncthreads();
    if (warp > 0)
        return;
    m = lanes_join(lane < WARPS ? of_warp[lane] : moments{ 0.0f, 0.0f, 0.0f }, WARPS);
    if (lane == 0)
        save_part(a.joined + group, m, reference);
}

/* All groups together share the lanes evenly.  Each group's parts are joined by its share of lanes. */
template <typename T> static __device__ void join_groups(const group_norm<T> &a, group_stats s)
{
    int lanes = 32;

    while (lanes > 1 && lanes * a.groups > THREADS)
        lanes /= 2;
    for (int first = 0; first < a.groups; first += THREADS / lanes) {
        const int g = first + (int)threadIdx.x / lanes, lane = (int)threadIdx.x % lanes;
        const size_t group = (size_t)blockIdx.y * (size_t)a.groups + (size_t)g;
        const dr_cuda_moments *parts = a.parts + group * (size_t)a.part_count;
        const float reference = g < a.groups ? parts->reference : 0.0f;
        const moments m =
            lanes_join(join_parts(parts, g < a.groups ? a.part_count : 0, lane, lanes, reference), lanes);

        if (g < a.groups && lane == 0)
            finish_group(s, g, reference, m, a.eps);
    }
}

/* Grid: runs of pixels, rows. */
template <typename T, typename Y, int N>
static __global__ __launch_bounds__(THREADS) void group_norm_apply(group_norm<T> a)
{
    const int run = (int)blockIdx.x;
    const size_t first = (size_t)blockIdx.y * (size_t)a.pixels + (size_t)run * (size_t)a.split_pixels;
    const size_t start = first * (size_t)a.c;
    const group_stats s = stats_at((float *)dr_shared(), a.groups);

    join_groups(a, s);
    __syncthreads();
    apply<T, Y, N>(a, a.x + start, (size_t)a.c, (Y *)a.y + start, 0, run_pixels(a, run), layout_of<N>(a.c),
                   s);
}

/* --- launches ------------------------------------------------------------------------------- */

/* How a row of this shape is normalised.  The number of rows is not known here, so it can't matter. */
typedef struct plan {
    bool wide;          /* 16 bytes at a time */
    int tile_groups;    /* 0: no slab */
    size_t slab_shared; /* bytes */
    int splits, split_pixels;
    int joined; /* parts of a group that a launch before this one makes; 0: there is no such launch */
} plan;

static int values_at_a_time(dr_dtype dtype, int c)
{
    const int wide = (int)(16 / dr_dtype_bytes(dtype));

    return c % wide == 0 ? wide : 1;
}

/* Leaves p as it is if a slab does not fit. */
static void plan_slab(plan *p, dr_dtype dtype, int pixels, int c, int groups)
{
    const int bytes = (int)dr_dtype_bytes(dtype), width = c / groups, n = values_at_a_time(dtype, c);
    int tile_groups = 1;
    size_t shared;

    while (tile_groups * width % n)
        tile_groups *= 2;
    shared = 2 * moment_floats(tile_groups * width, n) + 3 * stat_floats(tile_groups);
    shared *= sizeof(float);
    shared += ((size_t)pixels * (size_t)(tile_groups * width * bytes) + 15) / 16 * 16;
    if (shared <= SHARED_BYTES_MAX) {
        p->tile_groups = tile_groups;
        p->slab_shared = shared;
    }
}

/* At most `splits` runs.  A run has at least `lane_pixels` pixels for each thread. */
static void plan_splits(plan *p, const dr_cuda_group_norm_args *a, int splits, int lane_pixels)
{
    const int lanes = lanes_of(a->c / values_at_a_time(a->dtype, a->c));

    p->split_pixels = (a->pixels + splits - 1) / splits;
    if (p->split_pixels < lanes * lane_pixels)
        p->split_pixels = lanes * lane_pixels;
    p->splits = (a->pixels + p->split_pixels - 1) / p->split_pixels;
}

static plan plan_of(const dr_cuda_group_norm_args *a)
{
    plan p = {};

    p.wide = values_at_a_time(a->dtype, a->c) > 1;
    if (a->parts) {
        p.joined = a->part_count > PARTS_MAX ? 1 : 0;
        plan_splits(&p, a, p.joined ? JOINED_SPLITS_MAX : KNOWN_SPLITS_MAX, KNOWN_LANE_PIXELS);
        return p;
    }
    plan_slab(&p, a->dtype, a->pixels, a->c, a->groups);
    if (!p.tile_groups) {
        plan_splits(&p, a, SPLITS_MAX, LANE_PIXELS);
        p.joined = p.splits;
    }
    return p;
}

bool dr_cuda_group_norm_reads_once(dr_dtype dtype, int pixels, int c, int groups)
{
    plan p = {};

    plan_slab(&p, dtype, pixels, c, groups);
    return p.tile_groups > 0;
}

size_t dr_cuda_group_norm_workspace(const dr_cuda_group_norm_args *a)
{
    return (size_t)a->n * (size_t)a->groups * (size_t)plan_of(a).joined * sizeof(dr_cuda_moments);
}

/* The launch before, if there is one.  The norm then joins the parts that this launch made. */
template <typename T, int N>
static void launch_moments(dr_stream stream, const dr_cuda_group_norm_args *a, const plan *p,
                           group_norm<T> *g)
{
    if (p->joined == 0)
        return;
    if (g->parts)
        dr_launch(stream, DR_KERNEL(group_norm_join<T>), dim3((unsigned)a->groups, (unsigned)a->n), THREADS,
                  WARPS * sizeof(moments), *g);
    else
        dr_launch(stream, DR_KERNEL(group_norm_parts<T, N>), dim3((unsigned)p->splits, (unsigned)a->n),
                  THREADS, 2 * moment_floats(a->c, N) * sizeof(float), *g);
    g->parts = g->joined;
    g->part_count = p->joined;
}

template <typename T, typename Y, int N>
static void launch(dr_stream stream, const dr_cuda_group_norm_args *a, const plan *p)
{
    group_norm<T> g = {
        .x = (const T *)a->x,
        .y = a->y,
        .gamma = a->gamma,
        .beta = a->beta,
        .eps = a->eps,
        .pixels = a->pixels,
        .c = a->c,
        .groups = a->groups,
        .width = a->c / a->groups,
        .silu = a->silu,
        .tile_groups = p->tile_groups,
        .splits = p->splits,
        .split_pixels = p->split_pixels,
        .parts = a->parts,
        .part_count = a->part_count,
        .joined = (dr_cuda_moments *)a->workspace,
    };

    if (p->tile_groups) {
        dr_launch(stream, DR_KERNEL(group_norm_slab<T, Y, N>),
                  dim3((unsigned)(a->groups / p->tile_groups), (unsigned)a->n), THREADS, p->slab_shared, g);
        return;
    }
    launch_moments<T, N>(stream, a, p, &g);
    dr_launch(stream, DR_KERNEL(group_norm_apply<T, Y, N>), dim3((unsigned)p->splits, (unsigned)a->n),
              THREADS, 3 * stat_floats(a->groups) * sizeof(float), g);
}

template <typename T, typename Y>
static void launch_best(dr_stream stream, const dr_cuda_group_norm_args *a, const plan *p)
{
    if (p->wide)
        launch<T, Y, dr_wide<T>::count>(stream, a, p);
    else
        launch<T, Y, 1>(stream, a, p);
}

void dr_cuda_group_norm(dr_stream stream, const dr_cuda_group_norm_args *a)
{
    const plan p = plan_of(a);

    dr_assert(a->y_dtype == a->dtype || a->y_dtype == DR_E4M3);
    dr_assert(a->groups > 0 && a->c % a->groups == 0);
    dr_assert(dr_is_aligned(a->x) && dr_is_aligned(a->y));
    dr_assert(!a->parts || (a->part_count > 0 && dr_is_aligned(a->parts)));
    dr_assert(!p.joined || (a->workspace && dr_is_aligned(a->workspace)));
    if (a->n == 0 || a->pixels == 0)
        return;
    if (a->y_dtype == DR_E4M3)
        DR_WITH_FLOATS(a->dtype, T, launch_best<T, dr_e4m3>(stream, a, &p));
    else
        DR_WITH_FLOATS(a->dtype, T, launch_best<T, T>(stream, a, &p));
}

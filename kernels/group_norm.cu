/* group_norm.cu - group norm and SiLU of channels-last maps.
 *
 *     x [n, pixels, c], group g is channels [g w, (g + 1) w), w = c / groups
 *
 * There are two ways, and a row's shape alone says which:
 *
 *     slab     the pixels of a few groups (just so many that a pixel's are 16 aligned bytes) fit in a
 *              block's shared memory.  Read once, written once: 2 n pixels c values move.
 *     split    else a row is cut into runs of pixels.  One launch leaves each run's mean and spread for
 *              each group, one joins them and normalises: x is read twice, the second time, at the
 *              UNet's sizes, from the L2 cache.  3 n pixels c values, and 8 bytes for each run and group.
 *
 * Statistics are exact enough for any input: a thread sums about its own first value, all means are
 * relative to one value of the group (x may lie far from zero), and parts are joined by Chan, Golub and
 * LeVeque's rule in an order that the shape fixes.  A constant input gives beta, exactly. */
#include "kernels/cuda_device.h"

enum {
    THREADS = 256,
    WARPS = THREADS / 32,
    LANE_PIXELS = 16, /* of a run, for each thread: enough loads on their way to hide their latency */
    SPLITS_MAX = 128, /* runs of a row: joining them is every block's work */
    SHARED_BYTES_MAX = 99 << 10, /* of a block on sm_86 and sm_89; sm_80 and sm_90 have more */
};

/* --- moments ------------------------------------------------------------------------------ */

typedef struct moments {
    float count, mean;
    float spread; /* sum of squares about the mean */
} moments;

/* Either may be empty: all zeros. */
static __device__ __forceinline__ moments join(moments a, moments b)
{
    const float count = a.count + b.count, away = b.mean - a.mean;
    const float share = count > 0.0f ? b.count / count : 0.0f;

    return { count, fmaf(away, share, a.mean), a.spread + b.spread + away * away * (a.count * share) };
}

/* A warp's moments joined, in every lane. */
static __device__ __forceinline__ moments warp_join(moments m)
{
    const int lane = (int)threadIdx.x % 32;

    for (int lanes = 1; lanes < 32; lanes *= 2) {
        const moments other = { __shfl_xor_sync(0xffffffff, m.count, lanes),
                                __shfl_xor_sync(0xffffffff, m.mean, lanes),
                                __shfl_xor_sync(0xffffffff, m.spread, lanes) };

        m = lane & lanes ? join(other, m) : join(m, other);
    }
    return m;
}

/* --- a tile: some pixels of some groups of a row -------------------------------------------- */

template <typename T> struct group_norm {
    const T *x;
    T *y;
    const float *gamma, *beta;
    float eps;
    int pixels, c, groups, width; /* width: channels of a group */
    bool silu;
    int tile_groups; /* slab: groups of a block */
    int splits, split_pixels;
    float *part_mean, *part_spread; /* split: [n, splits, groups] */
    float *part_reference;          /* split: [n, groups] */
};

/* What a block knows of its groups, in shared memory. */
typedef struct group_stats {
    float *reference; /* the group's first value; y may be x, so it is read before anything is written */
    float *mean;      /* less the reference */
    float *scale;     /* 1 / sqrt(variance + eps) */
} group_stats;

/* Threads lie over a tile as [lanes, vectors]: each has its own N channels, all pixels lane, lane + lanes, ...
 * Where a pixel has more vectors than there are threads, a thread takes several in turn. */
typedef struct layout {
    int vectors, lanes, lane, vector;
} layout;

static DR_HD int lanes_of(int vectors)
{
    return vectors < THREADS ? THREADS / vectors : 1;
}

template <int N> static __device__ __forceinline__ layout layout_of(int channels)
{
    const int vectors = channels / N, lanes = lanes_of(vectors), i = (int)threadIdx.x;

    return { vectors, lanes, i / vectors < lanes ? i / vectors : lanes, i % vectors };
}

static __device__ __forceinline__ int lane_pixels(int lane, int lanes, int pixels)
{
    return lane < pixels ? (pixels - lane + lanes - 1) / lanes : 0;
}

/* The thread's own moments, channel by channel, to mean and spread [lanes, channels] in shared memory;
 * the values themselves to slab [pixels, channels], if there is one. */
template <typename T, int N>
static __device__ void channel_moments(const T *x, const T *row, size_t c, int width, int pixels, layout l,
                                       float *mean, float *spread, T *slab)
{
    const int channels = l.vectors * N;

    for (int v = l.vector; v < l.vectors && l.lane < l.lanes; v += THREADS) {
        const int count = lane_pixels(l.lane, l.lanes, pixels);
        float first[N] = { 0 }, sum[N] = { 0 }, square[N] = { 0 };

        if (count) {
            const dr_pack<T, N> p = dr_load<N>(x + (size_t)l.lane * c + v * N);

            for (int j = 0; j < N; j++)
                first[j] = dr_float(p.at[j]);
        }
#pragma unroll 4
        for (int i = l.lane; i < pixels; i += l.lanes) {
            const dr_pack<T, N> p = dr_load<N>(x + (size_t)i * c + v * N);

            if (slab)
                dr_save<N>(slab + (size_t)i * channels + v * N, p);
            for (int j = 0; j < N; j++) {
                const float away = dr_float(p.at[j]) - first[j];

                sum[j] += away;
                square[j] = fmaf(away, away, square[j]);
            }
        }
        for (int j = 0; j < N; j++) {
            const int channel = v * N + j, at = l.lane * channels + channel;
            const float part = count ? sum[j] / (float)count : 0.0f;

            mean[at] = count ? first[j] - dr_float(row[channel / width * width]) + part : 0.0f;
            spread[at] = fmaxf(fmaf(-part, sum[j], square[j]), 0.0f);
        }
    }
}

/* What one warp makes of channel_moments() for one group of the tile. */
static __device__ moments group_moments(const float *mean, const float *spread, int group, int width,
                                        int pixels, layout l, int channels)
{
    moments m = { 0.0f, 0.0f, 0.0f };

    for (int i = (int)threadIdx.x % 32; i < l.lanes * width; i += 32) {
        const int lane = i / width, at = lane * channels + group * width + i % width;

        m = join(m, { (float)lane_pixels(lane, l.lanes, pixels), mean[at], spread[at] });
    }
    return warp_join(m);
}

static __device__ __forceinline__ void finish_group(group_stats s, int group, float reference, moments m,
                                                    float eps)
{
    if (threadIdx.x % 32 == 0) {
        s.reference[group] = reference;
        s.mean[group] = m.mean;
        s.scale[group] = 1.0f / sqrtf(m.spread / m.count + eps);
    }
}

/* y of one tile.  x may be the slab; `channel` is the tile's first of the row. */
template <typename T, int N>
static __device__ void apply(const group_norm<T> &a, const T *x, size_t x_c, T *y, int channel, int pixels,
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
            dr_pack<T, N> p = dr_load<N>(x + (size_t)i * x_c + v * N);

            for (int j = 0; j < N; j++) {
                const float value = fmaf(dr_float(p.at[j]) - centre[j], factor[j], shift[j]);

                dr_store(&p.at[j], a.silu ? dr_silu(value) : value);
            }
            dr_save<N>(y + (size_t)i * a.c + v * N, p);
        }
    }
}

/* --- kernels -------------------------------------------------------------------------------- */

/* Shared memory: the moments' two arrays [lanes, channels], the stats' three [groups], then the slab; each
 * begins at a multiple of 16 bytes. */
static DR_HD size_t moment_floats(int channels, int n)
{
    return ((size_t)lanes_of(channels / n) * (size_t)channels + 3) / 4 * 4;
}

static DR_HD size_t stat_floats(int groups)
{
    return (size_t)(groups + 3) / 4 * 4;
}

static __device__ __forceinline__ group_stats stats_at(float *shared, int groups)
{
    return { shared, shared + stat_floats(groups), shared + 2 * stat_floats(groups) };
}

/* Grid: tiles of a row's groups, rows. */
template <typename T, int N>
static __global__ __launch_bounds__(THREADS) void group_norm_slab(group_norm<T> a)
{
    const int channels = a.tile_groups * a.width, channel = (int)blockIdx.x * channels;
    const layout l = layout_of<N>(channels);
    const size_t start = (size_t)blockIdx.y * (size_t)a.pixels * (size_t)a.c + (size_t)channel;
    const T *row = a.x + start;
    float *mean = (float *)dr_shared(), *spread = mean + moment_floats(channels, N);
    const group_stats s = stats_at(spread + moment_floats(channels, N), a.tile_groups);
    T *slab = (T *)(s.scale + stat_floats(a.tile_groups));

    channel_moments<T, N>(row, row, (size_t)a.c, a.width, a.pixels, l, mean, spread, slab);
    __syncthreads();
    for (int g = (int)threadIdx.x / 32; g < a.tile_groups; g += WARPS) {
        const moments m = group_moments(mean, spread, g, a.width, a.pixels, l, channels);

        finish_group(s, g, dr_float(slab[g * a.width]), m, a.eps);
    }
    __syncthreads();
    apply<T, N>(a, slab, (size_t)channels, a.y + start, channel, a.pixels, l, s);
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
    const T *row = a.x + (size_t)blockIdx.y * (size_t)a.pixels * (size_t)a.c;
    const T *x = row + (size_t)run * (size_t)a.split_pixels * (size_t)a.c;
    float *mean = (float *)dr_shared(), *spread = mean + moment_floats(a.c, N);
    const size_t part = ((size_t)blockIdx.y * (size_t)a.splits + (size_t)run) * (size_t)a.groups;

    channel_moments<T, N>(x, row, (size_t)a.c, a.width, pixels, l, mean, spread, (T *)NULL);
    __syncthreads();
    for (int g = (int)threadIdx.x / 32; g < a.groups; g += WARPS) {
        const moments m = group_moments(mean, spread, g, a.width, pixels, l, a.c);

        if (threadIdx.x % 32 == 0) {
            a.part_mean[part + (size_t)g] = m.mean;
            a.part_spread[part + (size_t)g] = m.spread;
            if (run == 0)
                a.part_reference[blockIdx.y * (size_t)a.groups + (size_t)g] = dr_float(row[g * a.width]);
        }
    }
}

/* What one warp makes of the parts of one group of a row. */
template <typename T> static __device__ moments join_parts(const group_norm<T> &a, int g)
{
    moments m = { 0.0f, 0.0f, 0.0f };

    for (int run = (int)threadIdx.x % 32; run < a.splits; run += 32) {
        const size_t part =
            ((size_t)blockIdx.y * (size_t)a.splits + (size_t)run) * (size_t)a.groups + (size_t)g;

        m = join(m, { (float)run_pixels(a, run) * (float)a.width, a.part_mean[part], a.part_spread[part] });
    }
    return warp_join(m);
}

/* Grid: runs of pixels, rows. */
template <typename T, int N>
static __global__ __launch_bounds__(THREADS) void group_norm_apply(group_norm<T> a)
{
    const int run = (int)blockIdx.x;
    const size_t first = (size_t)blockIdx.y * (size_t)a.pixels + (size_t)run * (size_t)a.split_pixels;
    const size_t start = first * (size_t)a.c;
    const group_stats s = stats_at((float *)dr_shared(), a.groups);

    for (int g = (int)threadIdx.x / 32; g < a.groups; g += WARPS)
        finish_group(s, g, a.part_reference[blockIdx.y * (size_t)a.groups + (size_t)g], join_parts(a, g),
                     a.eps);
    __syncthreads();
    apply<T, N>(a, a.x + start, (size_t)a.c, a.y + start, 0, run_pixels(a, run), layout_of<N>(a.c), s);
}

/* --- launches ------------------------------------------------------------------------------- */

/* How a row of this shape goes; nothing here knows how many rows there are. */
typedef struct plan {
    bool wide;          /* 16 bytes at a time */
    int tile_groups;    /* 0: split */
    size_t slab_shared; /* bytes */
    int splits, split_pixels;
} plan;

static plan plan_of(const dr_cuda_group_norm_args *a)
{
    const int bytes = (int)dr_dtype_bytes(a->dtype), width = a->c / a->groups;
    const int n = a->c % (16 / bytes) == 0 ? 16 / bytes : 1;
    int tile_groups = 1, lanes;
    size_t shared;
    plan p = {};

    p.wide = n > 1;
    while (tile_groups * width % n)
        tile_groups *= 2;
    shared = 2 * moment_floats(tile_groups * width, n) + 3 * stat_floats(tile_groups);
    shared *= sizeof(float);
    shared += ((size_t)a->pixels * (size_t)(tile_groups * width * bytes) + 15) / 16 * 16;
    if (shared <= SHARED_BYTES_MAX) {
        p.tile_groups = tile_groups;
        p.slab_shared = shared;
        return p;
    }
    lanes = lanes_of(a->c / n);
    p.split_pixels = (a->pixels + SPLITS_MAX - 1) / SPLITS_MAX;
    if (p.split_pixels < lanes * LANE_PIXELS)
        p.split_pixels = lanes * LANE_PIXELS;
    p.splits = (a->pixels + p.split_pixels - 1) / p.split_pixels;
    return p;
}

size_t dr_cuda_group_norm_workspace(const dr_cuda_group_norm_args *a)
{
    const plan p = plan_of(a);

    return (size_t)a->n * (size_t)a->groups * (size_t)(p.splits ? 2 * p.splits + 1 : 0) * sizeof(float);
}

template <typename T, int N>
static void launch(dr_stream stream, const dr_cuda_group_norm_args *a, const plan *p)
{
    const size_t parts = (size_t)a->n * (size_t)p->splits * (size_t)a->groups;
    float *workspace = (float *)a->workspace;
    const group_norm<T> g = {
        .x = (const T *)a->x,
        .y = (T *)a->y,
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
        .part_mean = workspace,
        .part_spread = workspace + parts,
        .part_reference = workspace + 2 * parts,
    };
    const dim3 runs((unsigned)p->splits, (unsigned)a->n);

    if (p->tile_groups) {
        dr_launch(stream, DR_KERNEL(group_norm_slab<T, N>),
                  dim3((unsigned)(a->groups / p->tile_groups), (unsigned)a->n), THREADS, p->slab_shared, g);
        return;
    }
    dr_launch(stream, DR_KERNEL(group_norm_parts<T, N>), runs, THREADS,
              2 * moment_floats(a->c, N) * sizeof(float), g);
    dr_launch(stream, DR_KERNEL(group_norm_apply<T, N>), runs, THREADS,
              3 * stat_floats(a->groups) * sizeof(float), g);
}

void dr_cuda_group_norm(dr_stream stream, const dr_cuda_group_norm_args *a)
{
    const plan p = plan_of(a);

    dr_assert(a->groups > 0 && a->c % a->groups == 0);
    dr_assert(dr_is_aligned(a->x) && dr_is_aligned(a->y));
    dr_assert(a->workspace || !p.splits);
    if (a->n == 0 || a->pixels == 0)
        return;
    if (p.wide)
        DR_WITH_FLOATS(a->dtype, T, launch<T, dr_wide<T>::count>(stream, a, &p));
    else
        DR_WITH_FLOATS(a->dtype, T, launch<T, 1>(stream, a, &p));
}

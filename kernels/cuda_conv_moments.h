/* cuda_conv_moments.h - what a convolution leaves for the group norm that follows: the moments of each
 * group.  They describe the values as they are stored, and are computed while the values are in shared
 * memory.
 *
 *              N outputs                    a part of a row's group: the pixels of a tile (a run),
 *         +-----+-----+------+-----+---     and the channels of the group that lie in it (a cut)
 *       M | g0  | g1  | g2   : g2  | g3
 *         +-----+-----+------+-----+---     [n, groups, runs, cuts]; of a group that lies within one tile
 *                                           all cuts but one are empty
 *
 * Each lane of a warp has a channel.  It sums about the channel's first value.  Then a warp joins a
 * group's channels, which have equally many pixels, in two passes.  The order follows from the tile
 * alone.  A tile never has pixels of two rows: where a row (or a phase of it) is no whole number of
 * tiles, there are no moments. */
#ifndef DR_KERNELS_CUDA_CONV_MOMENTS_H
#define DR_KERNELS_CUDA_CONV_MOMENTS_H

#include "kernels/cuda_conv.h"

/* --- how many ------------------------------------------------------------------------------- */

/* The largest number of tiles of N outputs over which a group can lie. */
static DR_HD int cuts_of(int width, int N)
{
    return N % width == 0 ? 1 : (width + N - 2) / N + 1;
}

/* Number of parts of a row's group. 0: there can be no moments. */
template <int M, int N> static int parts_of(const dr_cuda_conv_args *a)
{
    const int map = map_of(a), runs = map / M * (in_phases(a) ? DR_CUDA_CONV_PHASES : 1);

    if (a->groups == 0 || map % M)
        return 0;
    dr_assert(a->out % a->groups == 0);
    return runs * cuts_of(a->out / a->groups, N);
}

/* --- a warp: channels ----------------------------------------------------------------------- */

/* The moments of a lane's channels: lane, lane + 32, ... of the warp's N. */
template <int N> struct channel_sums {
    static constexpr int COUNT = (N + 31) / 32;
    float first[COUNT], sum[COUNT], square[COUNT]; /* sum and square are about the first value */
};

/* Adds more pixels: [PIXELS, ld] values in shared memory, which the warp has written. */
template <int PIXELS, int N>
static __device__ __forceinline__ void add_pixels(channel_sums<N> &s, const float *at, int ld, bool first)
{
    const int lane = (int)threadIdx.x % 32;

#pragma unroll
    for (int j = 0; j < s.COUNT; j++) {
        const float *channel = at + lane + j * 32;

        if (lane + j * 32 >= N)
            break;
        if (first)
            s.first[j] = *channel;
#pragma unroll 4
        for (int i = 0; i < PIXELS; i++) {
            const float away = channel[i * ld] - s.first[j];

            s.sum[j] += away;
            s.square[j] = fmaf(away, away, s.square[j]);
        }
    }
}

/* --- a block: groups ------------------------------------------------------------------------- */

/* The moments of a tile's N channels, over each of its SHARES of M pixels: [SHARES, N], in shared memory. */
template <int M, int N, int SHARES> struct tile_moments {
    static constexpr int PIXELS = M / SHARES;
    static constexpr int FLOATS = 3 * SHARES * N;
    float *first, *mean, *spread; /* mean: minus the first value */
};

/* They lie behind so many floats of shared memory. */
template <int M, int N, int SHARES>
static __device__ __forceinline__ tile_moments<M, N, SHARES> tile_moments_at(int floats)
{
    float *at = (float *)dr_shared() + floats;

    return { at, at + SHARES * N, at + 2 * SHARES * N };
}

/* Stores the moments of a warp that has channels [channel, channel + WARP_N) of a share. */
template <int M, int N, int SHARES, int WARP_N>
static __device__ __forceinline__ void put_channels(const tile_moments<M, N, SHARES> &t,
                                                    const channel_sums<WARP_N> &s, int share, int channel)
{
    const int lane = (int)threadIdx.x % 32;

#pragma unroll
    for (int j = 0; j < s.COUNT; j++) {
        const int at = share * N + channel + lane + j * 32;
        const float mean = s.sum[j] / (float)t.PIXELS;

        if (lane + j * 32 >= WARP_N)
            break;
        t.first[at] = s.first[j];
        t.mean[at] = mean;
        t.spread[at] = fmaxf(fmaf(-mean, s.sum[j], s.square[j]), 0.0f);
    }
}

/* A warp joins channels [begin, end) of the tile.  All its lanes get the result. */
template <int M, int N, int SHARES>
static __device__ __forceinline__ dr_cuda_moments join_channels(const tile_moments<M, N, SHARES> &t,
                                                                int begin, int end)
{
    const int channels = end - begin, values = SHARES * channels;
    const float reference = t.first[begin];
    float mean = 0.0f, spread = 0.0f;

    for (int i = (int)threadIdx.x % 32; i < values; i += 32) {
        const int at = i / channels * N + begin + i % channels;

        mean += t.first[at] - reference + t.mean[at];
    }
    mean = dr_warp_sum(mean) / (float)values;
    for (int i = (int)threadIdx.x % 32; i < values; i += 32) {
        const int at = i / channels * N + begin + i % channels;
        const float away = t.first[at] - reference + t.mean[at] - mean;

        spread += fmaf((float)t.PIXELS * away, away, t.spread[at]);
    }
    return { (float)(M * channels), reference, mean, dr_warp_sum(spread) };
}

/* All warps of the block write every group of the tile to a.parts.  The tile's moments must be complete. */
template <typename T, int M, int N, int SHARES>
static __device__ __forceinline__ void leave_parts(const conv<T> &a, const tile_moments<M, N, SHARES> &t,
                                                   int first_pixel, int first_out)
{
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32, warps = (int)blockDim.x / 32;
    const int runs = a.map / M * (a.phases ? DR_CUDA_CONV_PHASES : 1), cuts = cuts_of(a.width, N);
    const int row = first_pixel / a.map, run = first_pixel % a.map / M + (int)blockIdx.y * (a.map / M);
    const int end_out = first_out + N < a.out ? first_out + N : a.out;

    for (int g = first_out / a.width + warp; g * a.width < end_out; g += warps) {
        const int begin = g * a.width, end = begin + a.width, cut = first_out / N - begin / N;
        const dr_cuda_moments m = join_channels(t, begin > first_out ? begin - first_out : 0,
                                                (end < end_out ? end : end_out) - first_out);
        dr_cuda_moments *to = a.parts + (((ptrdiff_t)row * (a.out / a.width) + g) * runs + run) * cuts;

        /* the group's last tile also writes the cuts that are empty */
        for (int i = cut + lane; i <= (end > end_out ? cut : cuts - 1); i += 32)
            dr_save<4>((float *)(to + i),
                       i == cut ? dr_pack<float, 4>{ { m.count, m.reference, m.mean, m.spread } }
                                : dr_pack<float, 4>{});
    }
}

#endif

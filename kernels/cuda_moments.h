/* cuda_moments.h - the moments of groups of channels: the number of values, their mean, and the sum of
 * squared distances from the mean.
 *
 * They are exact enough for any input.  A thread sums about its own first value, and all means are
 * relative to one value of the group, because x may lie far from zero.  Parts are joined by Chan, Golub
 * and LeVeque's rule, in an order that the shape fixes.  If all values are equal, their spread is exactly
 * 0. */
#ifndef DR_KERNELS_CUDA_MOMENTS_H
#define DR_KERNELS_CUDA_MOMENTS_H

#include "kernels/cuda_device.h"

#include <limits.h>

enum { THREADS = 256, WARPS = THREADS / 32 }; /* of the blocks that compute moments */

/* --- joining ------------------------------------------------------------------------------ */

typedef struct moments {
    float count, mean;
    float spread; /* sum of squares about the mean */
} moments;

/* Joins two moments.  Either may be empty: all zeros. */
static __device__ __forceinline__ moments join(moments a, moments b)
{
    const float count = a.count + b.count, away = b.mean - a.mean;
    const float share = count > 0.0f ? b.count / count : 0.0f;

    return { count, fmaf(away, share, a.mean), a.spread + b.spread + away * away * (a.count * share) };
}

/* Joins the moments of `lanes` neighbouring lanes (1, 2, ... 32).  Each of them gets the result. */
static __device__ __forceinline__ moments lanes_join(moments m, int lanes)
{
    const int lane = (int)threadIdx.x % 32;

    for (int far = 1; far < lanes; far *= 2) {
        const moments other = { __shfl_xor_sync(0xffffffff, m.count, far),
                                __shfl_xor_sync(0xffffffff, m.mean, far),
                                __shfl_xor_sync(0xffffffff, m.spread, far) };

        m = lane & far ? join(other, m) : join(m, other);
    }
    return m;
}

/* Joins every `stride`th part of a group, from part `first` on.  Means are relative to the reference. */
static __device__ __forceinline__ moments join_parts(const dr_cuda_moments *parts, int count, int first,
                                                     int stride, float reference)
{
    moments m = { 0.0f, 0.0f, 0.0f };

    for (int i = first; i < count; i += stride) {
        const dr_pack<float, 4> p = dr_load<4>((const float *)(parts + i));

        if (p.at[0] > 0.0f)
            m = join(m, { p.at[0], p.at[1] - reference + p.at[2], p.at[3] });
    }
    return m;
}

static __device__ __forceinline__ void save_part(dr_cuda_moments *to, moments m, float reference)
{
    dr_save<4>((float *)to, dr_pack<float, 4>{ { m.count, reference, m.mean, m.spread } });
}

/* --- a tile: some pixels of some groups of a row -------------------------------------------- */

/* Threads lie over a tile as [lanes, vectors].  Each thread has N channels of its own, and all pixels
 * lane, lane + lanes, ...  If a pixel has more vectors than there are threads, a thread takes several
 * vectors in turn. */
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

/* Where channels are read: from one map, or from two maps that stand for one map with their channels side
 * by side. */
template <typename T> struct maps {
    const T *a, *b;
    int a_c, b_c; /* values from one pixel to the next */
    int seam;     /* the first channel that b has */
};

template <typename T> static __device__ __forceinline__ maps<T> one_map(const T *x, int c)
{
    return { x, NULL, c, 0, INT_MAX };
}

/* A channel's place in the first pixel, and how far its place in the next pixel is. */
template <typename T> struct column {
    const T *at;
    size_t step;
};

template <typename T> static __device__ __forceinline__ column<T> column_of(const maps<T> &x, int channel)
{
    if (channel < x.seam)
        return { x.a + channel, (size_t)x.a_c };
    return { x.b + channel - x.seam, (size_t)x.b_c };
}

/* The group's value in the first pixel. */
template <typename T>
static __device__ __forceinline__ float reference_of(const maps<T> &x, int group, int width)
{
    return dr_float(*column_of(x, group * width).at);
}

/* Writes the thread's own moments, channel by channel, to mean and spread [lanes, channels] in shared
 * memory.  The means are relative to the group's reference.  The values themselves go to copy [pixels,
 * channels], unless it is NULL. */
template <typename T, int N>
static __device__ void channel_moments(const maps<T> &x, int width, int pixels, layout l, float *mean,
                                       float *spread, T *copy)
{
    const int channels = l.vectors * N;

    for (int v = l.vector; v < l.vectors && l.lane < l.lanes; v += THREADS) {
        const int count = lane_pixels(l.lane, l.lanes, pixels);
        const column<T> from = column_of(x, v * N);
        float first[N] = { 0 }, sum[N] = { 0 }, square[N] = { 0 };

        if (count) {
            const dr_pack<T, N> p = dr_load<N>(from.at + (size_t)l.lane * from.step);

            for (int j = 0; j < N; j++)
                first[j] = dr_float(p.at[j]);
        }
#pragma unroll 4
        for (int i = l.lane; i < pixels; i += l.lanes) {
            const dr_pack<T, N> p = dr_load<N>(from.at + (size_t)i * from.step);

            if (copy)
                dr_save<N>(copy + (size_t)i * channels + v * N, p);
            for (int j = 0; j < N; j++) {
                const float away = dr_float(p.at[j]) - first[j];

                sum[j] += away;
                square[j] = fmaf(away, away, square[j]);
            }
        }
        for (int j = 0; j < N; j++) {
            const int channel = v * N + j, at = l.lane * channels + channel;
            const float part = count ? sum[j] / (float)count : 0.0f;

            mean[at] = count ? first[j] - reference_of(x, channel / width, width) + part : 0.0f;
            spread[at] = fmaxf(fmaf(-part, sum[j], square[j]), 0.0f);
        }
    }
}

/* One warp joins, for one group of the tile, what channel_moments() left. */
static __device__ moments group_moments(const float *mean, const float *spread, int group, int width,
                                        int pixels, layout l, int channels)
{
    moments m = { 0.0f, 0.0f, 0.0f };

    for (int i = (int)threadIdx.x % 32; i < l.lanes * width; i += 32) {
        const int lane = i / width, at = lane * channels + group * width + i % width;

        m = join(m, { (float)lane_pixels(lane, l.lanes, pixels), mean[at], spread[at] });
    }
    return lanes_join(m, 32);
}

/* The size of each of the two arrays in shared memory, a multiple of 16 bytes. */
static DR_HD size_t moment_floats(int channels, int n)
{
    return ((size_t)lanes_of(channels / n) * (size_t)channels + 3) / 4 * 4;
}

/* A block computes a run's parts, in twice that much shared memory.  Group g's part goes to parts[g *
 * step]. */
template <typename T, int N>
static __device__ void leave_parts(const maps<T> &x, int groups, int width, int pixels, layout l, T *copy,
                                   dr_cuda_moments *parts, int step)
{
    float *mean = (float *)dr_shared(), *spread = mean + moment_floats(groups * width, N);

    channel_moments<T, N>(x, width, pixels, l, mean, spread, copy);
    __syncthreads();
    for (int g = (int)threadIdx.x / 32; g < groups; g += WARPS) {
        const moments m = group_moments(mean, spread, g, width, pixels, l, groups * width);

        if (threadIdx.x % 32 == 0)
            save_part(parts + (size_t)g * (size_t)step, m, reference_of(x, g, width));
    }
}

#endif

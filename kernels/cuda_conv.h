/* cuda_conv.h - what the kernels of convolutions share: the problem, the pixel that a tap reads, and what
 * is added to the sums before they are stored.
 *
 * A convolution is one matrix product.  The matrix X is never in memory:
 *
 *     Y [pixels, out] = X [pixels, K] W [out, K]^T    K: (slice of channels, tap, channel), channel fastest
 *
 * Row p of X is the 3 x 3 (or 1 x 1) pixels of x under the kernel at pixel p of y, with zeros where there
 * are no pixels.  Channels lie last, so 8 neighbours in K are 16 bytes of one pixel of x.  They are
 * copied from there to shared memory.  W is packed to the same order of K, with zeros up to whole steps
 * of DR_CUDA_CONV_STEP.
 *
 * After an upsampling the kernel slides over x with every pixel doubled both ways.  The doubled x is not
 * in memory: only the addresses double.  Most neighbours there are the same pixel.  So the output's
 * pixels of one phase, (2i + a, 2j + b), are a convolution of x itself with 2 x 2 sums of weights.  That
 * takes 4/9 of the products.
 *
 *     lines of the doubled x    0 0 1 1 2 2         W0 .. W2: the kernel's lines (the same for columns)
 *     a = 0, output line 2      . W W W . .         lines 0, 1 of x by W0, W1 + W2
 *     a = 1, output line 3      . . W W W .         lines 1, 2 of x by W0 + W1, W2
 *
 * Beyond the edges of x there are zeros exactly where there are zeros beyond the edges of the doubled x.
 * (This does not hold where y has one line less: the last line of x then counts once.  In that case the
 * kernels read the doubled x by its addresses.)  One launch does the four phases, and blockIdx.y is the
 * phase.  No two phases write the same output. */
#ifndef DR_KERNELS_CUDA_CONV_H
#define DR_KERNELS_CUDA_CONV_H

#include "kernels/cuda_device.h"

#include <limits.h>

enum {
    CHUNK = 8,       /* values in 16 bytes */
    GROUP_TILES = 8, /* tiles of pixels in a group: see place_block() */
};

/* T is the type of y and residual if they are not float32.  It is also the type of x and the weight,
 * unless the kernel has another type for these. */
template <typename T> struct conv {
    const void *x, *weight;
    const float *bias, *row_table;
    const int32_t *row_index;
    size_t row_stride;
    const void *residual;
    void *y;
    int x_ld, y_ld, residual_ld, weight_ld;
    int pixels, map, y_w; /* pixels of y (or of a phase of it): in all, in a row, in a line */
    bool phases;          /* blockIdx.y is the phase */
    size_t phase_values;  /* weights of one phase */
    int h, w;             /* the size of what the kernel slides over: x, or the doubled x */
    int shift;            /* 1: the doubled x */
    int x_map, x_w;       /* pixels of a row of x, and in a line */
    int in, out, slice, kernel, stride, before;
    int tiles_m, tiles_n;   /* how the kernel divides Y into tiles */
    dr_cuda_moments *parts; /* NULL; or moments for the group norm: cuda_conv_moments.h */
    int width;              /* channels of a group */
    dr_activation activation;
    bool y_float;    /* y and residual are float32 */
    bool y_wide;     /* y and residual can be read 16 bytes at a time */
    bool table_wide; /* so can entries of the table */
    float scale;     /* the sums are multiplied by it */
};

/* Whether rows of tensors start at multiples of 16 bytes. */
static bool rows_are_aligned(const void *tensor, int ld, dr_dtype dtype)
{
    return dr_is_aligned(tensor) && (size_t)ld * dr_dtype_bytes(dtype) % 16 == 0;
}

/* Whether x can be read in aligned chunks of 16 bytes. */
static bool in_chunks(const dr_cuda_conv_args *a)
{
    return a->in % CHUNK == 0 && rows_are_aligned(a->x, a->x_ld, a->dtype);
}

static bool in_phases(const dr_cuda_conv_args *a)
{
    return a->upsample && a->phases && a->y_h == 2 * a->x_h && a->y_w == 2 * a->x_w;
}

/* Pixels of a row of y, or of one phase of it. */
static int map_of(const dr_cuda_conv_args *a)
{
    return in_phases(a) ? a->x_h * a->x_w : a->y_h * a->y_w;
}

template <typename T> static conv<T> conv_of(const dr_cuda_conv_args *a)
{
    const bool phases = in_phases(a);
    const bool doubled = a->upsample && !phases;
    const int kernel = phases ? 2 : a->kernel, weight_ld = dr_cuda_conv_weight_ld(a->dtype, a->in, kernel);
    const int map = map_of(a);

    return {
        .x = a->x,
        .weight = phases ? a->phases : a->weight,
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
        .slice = a->slice,
        .kernel = kernel,
        .stride = a->stride,
        .before = a->before,
        .tiles_m = 0,
        .tiles_n = 0,
        .parts = a->parts,
        .width = a->parts ? a->out / a->groups : 0,
        .activation = a->activation,
        .y_float = a->y_dtype == DR_F32,
        .y_wide = rows_are_aligned(a->y, a->y_ld, a->y_dtype) &&
                  (!a->residual || rows_are_aligned(a->residual, a->residual_ld, a->y_dtype)),
        .table_wide = dr_is_aligned(a->row_table) && a->row_stride % 4 == 0,
        .scale = a->dtype == DR_E4M3 ? a->scale : 1.0f,
    };
}

/* --- where pixels are ---------------------------------------------------------------------- */

/* The line and column at which a block's phase begins. */
static __device__ __forceinline__ int phase_y()
{
    return (int)blockIdx.y / 2;
}

static __device__ __forceinline__ int phase_x()
{
    return (int)blockIdx.y % 2;
}

/* A pixel of y, as the loads need it: the first pixel of its row of x, and the place of tap (0, 0). */
typedef struct window {
    int first, y, x;
} window;

template <typename T> static __device__ __forceinline__ window window_of(const conv<T> &a, int pixel)
{
    const int n = pixel / a.map, at = pixel % a.map;

    if (pixel >= a.pixels)
        return { 0, INT_MIN / 2, 0 }; /* all taps are outside of x */
    return { n * a.x_map, at / a.y_w * a.stride - a.before + phase_y(),
             at % a.y_w * a.stride - a.before + phase_x() };
}

/* A position in K: the tap, the channel of x, and the end of its slice. */
typedef struct k_position {
    int channel, end, ky, kx;
} k_position;

/* The pixel of x under a tap. -1: a zero, because the tap is outside of x or behind the end of K. */
template <typename T>
static __device__ __forceinline__ int pixel_under(const conv<T> &a, window v, const k_position &k)
{
    const int y = v.y + k.ky, x = v.x + k.kx;

    if (k.channel >= a.in || (unsigned)y >= (unsigned)a.h || (unsigned)x >= (unsigned)a.w)
        return -1;
    return v.first + (y >> a.shift) * a.x_w + (x >> a.shift);
}

/* Bit ky * kernel + kx: whether a pixel of x lies under that tap.  For an x that is not doubled. */
template <typename T> static __device__ __forceinline__ uint32_t taps_in(const conv<T> &a, window v)
{
    uint32_t line = 0, in = 0;

    for (int kx = 0; kx < 3; kx++)
        line |= (uint32_t)(kx < a.kernel && (unsigned)(v.x + kx) < (unsigned)a.w) << kx;
    for (int ky = 0; ky < 3; ky++)
        if (ky < a.kernel && (unsigned)(v.y + ky) < (unsigned)a.h)
            in |= line << ky * a.kernel;
    return in;
}

template <typename T>
static __device__ __forceinline__ void go_on(const conv<T> &a, k_position &k, int channels)
{
    k.channel += channels;
    while (k.channel >= k.end) {
        k.channel -= a.slice;
        if (++k.kx < a.kernel)
            continue;
        k.kx = 0;
        if (++k.ky < a.kernel)
            continue;
        k.ky = 0;
        k.channel += a.slice;
        k.end += a.slice;
    }
}

/* --- what is added, and where it goes ------------------------------------------------------------ */

/* Adds `count` of CHUNK floats to `to`. */
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

/* y = values + residual, for `count` of CHUNK neighbours.  Afterwards `values` holds what was stored. */
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
            for (int i = 0; i < N; i++) {
                dr_store(&p.at[i], residual ? values[j + i] + dr_float(p.at[i]) : values[j + i]);
                values[j + i] = dr_float(p.at[i]);
            }
            dr_save<N>(y + j, p);
        }
        return;
    }
    for (int j = 0; j < CHUNK; j++)
        if (j < count) {
            Y stored;

            dr_store(&stored, residual ? values[j] + dr_float(residual[j]) : values[j]);
            y[j] = stored;
            values[j] = dr_float(stored);
        }
}

/* Where a pixel lies in y.  A row of y has twice as many lines as a row of a phase. */
template <typename T> static __device__ __forceinline__ int place_in_y(const conv<T> &a, int pixel)
{
    if (!a.phases)
        return pixel;
    return (pixel / a.y_w * 2 + phase_y()) * 2 * a.y_w + pixel % a.y_w * 2 + phase_x();
}

/* Stores one pixel's outputs [channel, channel + CHUNK), as far as they exist, from its sums in shared
 * memory.  If moments are wanted, the stored values replace the sums there. */
template <typename T>
static __device__ __forceinline__ void finish_chunk(const conv<T> &a, float *sums, int pixel, int channel)
{
    const int count = a.out - channel < CHUNK ? a.out - channel : CHUNK;
    const int at = place_in_y(a, pixel);
    const ptrdiff_t y_at = (ptrdiff_t)at * a.y_ld + channel, r_at = (ptrdiff_t)at * a.residual_ld + channel;
    float values[CHUNK];

    if (pixel >= a.pixels || count <= 0)
        return;
    dr_load_floats(values, sums);
    for (int j = 0; j < CHUNK; j++)
        values[j] *= a.scale;
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
    if (a.parts)
        dr_save_floats(sums, values);
}

/* --- which kernel ---------------------------------------------------------------------------- */

/* conv_wgmma.cu.  The first says whether that kernel does the convolution: the layer and the map of one
 * row decide.  The others then do what dr_cuda_conv() and dr_cuda_conv_parts() do. */
bool dr_cuda_conv_is_wgmma(const dr_cuda_conv_args *a);
void dr_cuda_conv_wgmma(dr_stream stream, const dr_cuda_conv_args *a);
int dr_cuda_conv_wgmma_parts(const dr_cuda_conv_args *a);

/* conv_e4m3.cu: the same for 8-bit values.  It does every layer that dr_cuda_conv_in_eight_bits() allows. */
void dr_cuda_conv_e4m3(dr_stream stream, const dr_cuda_conv_args *a);
int dr_cuda_conv_e4m3_parts(const dr_cuda_conv_args *a);

/* --- blocks -------------------------------------------------------------------------------- */

/* Blocks start about in the order of their numbers.  GROUP_TILES tiles of pixels go through all outputs
 * before the next tiles do.  So blocks that run at the same time share their pixels and weights in the L2
 * cache. */
static __device__ __forceinline__ void place_block(int tiles_m, int tiles_n, int *m, int *n)
{
    const int group = (int)blockIdx.x / (GROUP_TILES * tiles_n), first = group * GROUP_TILES;
    const int high = tiles_m - first < GROUP_TILES ? tiles_m - first : GROUP_TILES;
    const int at = (int)blockIdx.x % (GROUP_TILES * tiles_n);

    *m = first + at % high;
    *n = at / high;
}

#endif

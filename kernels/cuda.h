/* cuda.h - the launchers of our CUDA kernels, for C callers without a CUDA header.
 *
 * A launcher puts its kernels on the stream and returns.  It waits for nothing.  If the launch fails, the
 * caller finds the error as the runtime's last error.  The arguments may be changed as soon as the call
 * returns.  Every thread that may use the stream may call a launcher.  Pointers are device memory, and
 * tensors are dense and channels last, unless said otherwise.
 *
 *     map     [n, h, w, c]      row n belongs to one picture
 *     tokens  [n, t, c]         the same with h * w = t
 *
 * `dtype` is DR_F32, DR_F16 or DR_BF16.  It is the type of x, y and every other tensor that has no dtype
 * of its own.  Sums, statistics and the softmax are always float32.  The formulas are in
 * kernels/activation.h, math.h, pixel.h and sampler_step.h.
 *
 * The bits of a row depend on that row alone.  The row's shape decides how its work is divided and in
 * which order its sums are added.  The number of rows never matters.
 *
 * The base of every tensor is 16-byte aligned unless its comment says otherwise.  Its whole rows are
 * aligned too, wherever the kernels load 16 bytes at once.  Alignment and shapes are asserted.  A launch
 * over nothing is legal and does nothing. */
#ifndef DR_KERNELS_CUDA_H
#define DR_KERNELS_CUDA_H

#include "base/dtype.h"
#include "kernels/activation.h"
#include "kernels/rng.h"
#include "kernels/sampler_step.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct CUstream_st *dr_stream; /* the runtime's cudaStream_t */

/* --- group_norm.cu, layer_norm.cu ------------------------------------------------------- */

/* Statistics of some values of a row's group.  A kernel that writes a map can leave them behind, and the
 * norm then reads the map once instead of twice. */
typedef struct dr_cuda_moments {
    float count;     /* number of values; if it is 0, the rest is 0 too */
    float reference; /* one of the values */
    float mean;      /* the mean minus the reference: it is small even where x lies far from zero */
    float spread;    /* the sum of the squared distances from the mean */
} dr_cuda_moments;

/* y = (x - mean) / sqrt(variance + eps) * gamma + beta per row and group, then SiLU if asked.  y may
 * be x where both have the same dtype. */
typedef struct dr_cuda_group_norm_args {
    dr_dtype dtype;   /* of x */
    dr_dtype y_dtype; /* dtype or DR_E4M3 */
    const void *x;    /* [n, pixels, c] */
    void *y;
    const float *gamma, *beta; /* [c] */
    float eps;
    int n, pixels, c, groups; /* c is a multiple of groups */
    bool silu;
    const dr_cuda_moments
        *parts; /* NULL; or [n, groups, part_count] of all of x; the first part of a group is not empty */
    int part_count;
    void *workspace; /* dr_cuda_group_norm_workspace() bytes; may be NULL where that is 0 */
} dr_cuda_group_norm_args;
void dr_cuda_group_norm(dr_stream stream, const dr_cuda_group_norm_args *a);

/* Bytes of workspace that the norm needs.  May be 0.  Depends only on the shape and on part_count. */
size_t dr_cuda_group_norm_workspace(const dr_cuda_group_norm_args *a);

/* Whether the norm reads x only once even without parts, because some groups of a row fit in shared
 * memory.  If so, parts gain nothing. */
bool dr_cuda_group_norm_reads_once(dr_dtype dtype, int pixels, int c, int groups);

/* The same over each pixel's channels.  y may be x where both have the same dtype. */
typedef struct dr_cuda_layer_norm_args {
    dr_dtype dtype;   /* of x */
    dr_dtype y_dtype; /* dtype or DR_E4M3 */
    const void *x;    /* [pixels, c] */
    void *y;
    const float *gamma, *beta; /* [c] */
    float eps;
    size_t pixels;
    int c;
} dr_cuda_layer_norm_args;
void dr_cuda_layer_norm(dr_stream stream, const dr_cuda_layer_norm_args *a);

/* --- elementwise.cu ------------------------------------------------------------------ */

/* y = activation(x).  y may be x; neither need be aligned. */
typedef struct dr_cuda_activate_args {
    dr_dtype dtype;
    const void *x;
    void *y;
    size_t values;
    dr_activation activation;
} dr_cuda_activate_args;
void dr_cuda_activate(dr_stream stream, const dr_cuda_activate_args *a);

/* y = x * factor. y may be x where both have the same dtype.  Neither need be aligned.  With factor 1
 * this converts from one dtype to the other, to the nearest value, half to even. */
typedef struct dr_cuda_scale_args {
    dr_dtype x_dtype, y_dtype;
    const void *x;
    void *y;
    size_t values;
    float factor;
} dr_cuda_scale_args;
void dr_cuda_scale(dr_stream stream, const dr_cuda_scale_args *a);

/* 8-bit colour of x, as dr_rgb8() computes it.  Neither need be aligned.  *broken becomes 1 if a value is
 * infinite or NaN.  Otherwise it stays as it is. */
typedef struct dr_cuda_to_rgb8_args {
    dr_dtype dtype;
    const void *x;
    uint8_t *y;
    size_t values;
    int32_t *broken; /* or NULL */
} dr_cuda_to_rgb8_args;
void dr_cuda_to_rgb8(dr_stream stream, const dr_cuda_to_rgb8_args *a);

/* y = x[0..c) * gelu(x[c..2c)), gelu by erf. */
typedef struct dr_cuda_geglu_args {
    dr_dtype dtype;   /* of x */
    dr_dtype y_dtype; /* dtype or DR_E4M3: values beyond 448 become 448 */
    const void *x;    /* [pixels, 2c] */
    void *y;          /* [pixels, c] */
    size_t pixels;
    int c;
} dr_cuda_geglu_args;
void dr_cuda_geglu(dr_stream stream, const dr_cuda_geglu_args *a);

/* Every pixel of row i of y = table[index[i]] (+ the same pixel of added). */
typedef struct dr_cuda_row_bias_args {
    dr_dtype dtype;       /* of y and added */
    const float *table;   /* [any, c]; neither it nor its entries need be aligned */
    const int32_t *index; /* [n] */
    size_t stride;        /* floats from one entry of the table to the next */
    const void *added;    /* [n, pixels, c] or NULL; may be y */
    void *y;              /* [n, pixels, c] */
    int n, pixels, c;
} dr_cuda_row_bias_args;
void dr_cuda_row_bias(dr_stream stream, const dr_cuda_row_bias_args *a);

/* --- copy.cu: values are copied, and stay what they are ------------------------------ */

/* y's channels are a's, then b's. */
typedef struct dr_cuda_concat_args {
    dr_dtype dtype;
    const void *a; /* [pixels, a_c] */
    const void *b; /* [pixels, b_c] */
    void *y;       /* [pixels, a_c + b_c] */
    size_t pixels;
    int a_c, b_c;
} dr_cuda_concat_args;
void dr_cuda_concat(dr_stream stream, const dr_cuda_concat_args *a);

/* concat_moments.cu: concatenates too, and computes the parts for a group norm of y. */
typedef struct dr_cuda_concat_moments_args {
    dr_dtype dtype;
    const void *a; /* [n, pixels, a_c] */
    const void *b; /* [n, pixels, b_c] */
    void *y;       /* [n, pixels, a_c + b_c] */
    int n, pixels, a_c, b_c;
    int groups;             /* a_c + b_c is a multiple of it; a group may have channels of both */
    dr_cuda_moments *parts; /* [n, groups, dr_cuda_concat_parts()] */
} dr_cuda_concat_moments_args;
void dr_cuda_concat_moments(dr_stream stream, const dr_cuda_concat_moments_args *a);

/* Number of parts for a row and group. 0: there are none, because the norm gains nothing by them.
 * Depends only on the shape of a row. */
int dr_cuda_concat_parts(const dr_cuda_concat_moments_args *a);

/* Row i of y is row number row[i] of x. */
typedef struct dr_cuda_gather_args {
    const void *x; /* [any, row_bytes] */
    void *y;       /* [n, row_bytes] */
    const int32_t *row;
    int n;
    size_t row_bytes;
} dr_cuda_gather_args;
void dr_cuda_gather(dr_stream stream, const dr_cuda_gather_args *a);

/* --- sampling.cu: the ends of a UNet call --------------------------------------------- */

/* y[i] = table[index[i]] (+ positions[i % w]) (+ y[i] where accumulate). */
typedef struct dr_cuda_lookup_args {
    dr_dtype dtype;         /* of y */
    const float *table;     /* [any, c] */
    const int32_t *index;   /* [tokens] */
    const float *positions; /* [w, c] or NULL */
    void *y;                /* [tokens, c] */
    int tokens, w, c;
    bool accumulate;
} dr_cuda_lookup_args;
void dr_cuda_lookup(dr_stream stream, const dr_cuda_lookup_args *a);

/* Sinusoids of a timestep: see dr_timestep_embedding_args of ops/ops.h. */
typedef struct dr_cuda_timestep_embedding_args {
    dr_dtype dtype;        /* of y */
    const float *timestep; /* [n] */
    void *y;               /* [n, c] */
    int n, c;
    bool flip_sin_to_cos;
    float freq_shift;
} dr_cuda_timestep_embedding_args;
void dr_cuda_timestep_embedding(dr_stream stream, const dr_cuda_timestep_embedding_args *a);

/* Row r of y is latent sample[r] times scale[r], and after it that sample's extra channels, unchanged. */
typedef struct dr_cuda_unet_input_args {
    dr_dtype dtype;        /* of y */
    const float *latent;   /* [any, pixels, c] */
    const float *extra;    /* [any, pixels, extra_c], or NULL and extra_c 0 */
    const int32_t *sample; /* [n] */
    const float *scale;    /* [n] */
    void *y;               /* [n, pixels, c + extra_c] */
    int n, pixels, c, extra_c;
} dr_cuda_unet_input_args;
void dr_cuda_unet_input(dr_stream stream, const dr_cuda_unet_input_args *a);

/* The next draw of every active sample whose step wants noise: see dr_noise_args of ops/ops.h. */
typedef struct dr_cuda_noise_args {
    const dr_step *step;   /* [active] */
    const int32_t *sample; /* [active] */
    const int32_t *turn;   /* [active] */
    dr_rng *stream;        /* [samples, 2] */
    float *y;              /* [samples, pixels, c] */
    int active, pixels, c;
    uint32_t *words; /* dr_cuda_noise_workspace() bytes; may be NULL where that is 0 */
} dr_cuda_noise_args;
void dr_cuda_noise(dr_stream stream, const dr_cuda_noise_args *a);
size_t dr_cuda_noise_workspace(const dr_cuda_noise_args *a); /* bytes; depends only on the shape */

/* Guidance and one call of the sampler for every active sample: see dr_sampler_step_args of ops/ops.h.
 * In arrays by sample, each sample has `values` = h * w * c values. */
typedef struct dr_cuda_sampler_step_args {
    dr_dtype dtype;            /* of output */
    const void *output;        /* [rows, values] */
    const int32_t *sample;     /* [active] */
    const int32_t *cond_row;   /* [active] */
    const int32_t *uncond_row; /* [active] */
    const float *guidance;     /* [active] */
    const dr_step *step;       /* [active] */
    float *latent;             /* [samples, values] */
    float *history;            /* [samples, DR_HISTORY_MAX, values] */
    const float *noise;        /* [samples, values]; read where step.noise */
    int active, values;
} dr_cuda_sampler_step_args;
void dr_cuda_sampler_step(dr_stream stream, const dr_cuda_sampler_step_args *a);

/* --- conv.cu, conv_wgmma.cu, conv_e4m3.cu, conv_pack.c ------------------------------------ */

/* y = activation(scale conv(x) + bias + row bias) + residual, on the tensor cores.  With kernel 1 and
 * stride 1 it is a linear layer, over tokens [n, 1, t] or a map.
 *
 * x, y and residual may be views: `ld` is the number of elements from one pixel to the next.  These three
 * and the row table may start at any address.  It is fast where the pixels of x and y start at multiples
 * of 16 bytes.  With `upsample`, the kernel slides over x with every pixel doubled both ways. y is then
 * as large as the doubled x, or one less.  If y is as large and `phases` are given, the phases are used:
 * that takes 4/9 of the products. */
typedef struct dr_cuda_conv_args {
    dr_dtype dtype;     /* of x and weight: DR_F16, DR_BF16; DR_E4M3, where dr_cuda_conv_in_eight_bits() */
    dr_dtype y_dtype;   /* of x and weight: DR_F16, DR_BF16; or DR_E4M3, if dr_cuda_conv_in_eight_bits() */
    const void *x;      /* [n, x_h, x_w, in] */
    const void *weight; /* as dr_cuda_conv_pack() packed it */
    const void *phases; /* NULL; or with upsample dr_cuda_conv_phase()'s four, each packed, in a row */
    const float *bias;  /* [out] or NULL */
    const float *row_table; /* NULL; or row i's bias is row_table + row_index[i] * row_stride */
    const int32_t *row_index;
    size_t row_stride;    /* floats */
    const void *residual; /* [n, y_h, y_w, out] or NULL; may be y */
    void *y;              /* [n, y_h, y_w, out]; never overlaps x */
    int x_ld, y_ld, residual_ld;
    int n, x_h, x_w, y_h, y_w, in, out;
    int kernel, stride; /* 1 or 3, 1 or 2 */
    int before;         /* zeros above and left of x, with kernel 3: 0 or 1; right and below there is 1 */
    bool upsample;      /* kernel 3, stride 1, before 1 */
    dr_activation activation;
    int slice;   /* as the weight was packed */
    float scale; /* the packed weight was divided by it; with DR_E4M3 */
    bool wgmma;  /* use Hopper's products where possible: only on a device of compute capability 9.0 */
    int groups;  /* of the group norm that reads y: out is a multiple of it; or 0 */
    dr_cuda_moments *parts; /* NULL; or [n, groups, dr_cuda_conv_parts()], 16-byte aligned, for that norm */
} dr_cuda_conv_args;
void dr_cuda_conv(dr_stream stream, const dr_cuda_conv_args *a);

/* Number of parts that the convolution can leave for a row and group. 0: there are none, because a tile
 * would have pixels of two rows.  Depends on all arguments but `parts`, and on the alignment of
 * addresses. */
int dr_cuda_conv_parts(const dr_cuda_conv_args *a);

/* Packs a weight, in host memory.  `weight` [out, in, kernel, kernel] is in the checkpoint's order.  The
 * result is [out, ld] values of dtype, in the order (slice, tap, channel of the slice), where the channel
 * changes fastest.  Zeros follow up to a multiple of DR_CUDA_CONV_STEP, or of DR_CUDA_CONV_STEP_E4M3.  A
 * slice is a number of channels that divides `in`.  With dr_cuda_conv_slice(), pixels of x are still in a
 * cache when the next tap reads them.  With a slice of `in`, the order is (tap, channel).  Stored values
 * are divided by `scale`, which is 1 except for DR_E4M3 (dr_e4m3_scale()). dr_cuda_conv_weight_ld()
 * returns ld. */
enum { DR_CUDA_CONV_STEP = 32, DR_CUDA_CONV_STEP_E4M3 = 128 };
int dr_cuda_conv_slice(int in);
int dr_cuda_conv_weight_ld(dr_dtype dtype, int in, int kernel);
void dr_cuda_conv_pack(dr_dtype dtype, void *to, float scale, const float *weight, int in, int out,
                       int kernel, int slice);

/* Whether a layer that does not upsample can be multiplied in 8 bits, on a device of compute capability
 * 9.0.  It can if its inputs are a multiple of 64 channels, with nothing beside them, and its outputs are
 * a multiple of 8 and at least 128. */
bool dr_cuda_conv_in_eight_bits(int in, int out);

/* In host memory: turns filters of 3 x 3 over a doubled map into filters of 2 x 2 over the map itself.
 * These give the output pixels (2i + phase / 2, 2j + phase % 2), which are one phase.  They are packed
 * with kernel 2. */
enum { DR_CUDA_CONV_PHASES = 4 };
void dr_cuda_conv_phase(float *to, const float *weight, size_t filters, int phase);

/* --- attention.cu, attention_wide.cu, attention_any.cu -------------------------------- */

/* y = softmax(scale q k^T) v per row and head; head j is channels [j d, (j + 1) d).  q, k, v and y may be
 * views: `ld` is the number of elements from one token to the next.
 *
 *     f16, bf16, d a multiple of 8    on the tensor cores: d up to 160 attention_wgmma.cu or attention.cu,
 *                                     up to 512 attention_wide.cu; q, k, v, ld in multiples of 16 bytes
 *     else                            attention_any.cu, d up to 512: correct, not fast */
enum { DR_CUDA_HEAD_DIM_MAX = 512 };
typedef struct dr_cuda_attention_args {
    dr_dtype dtype;
    const void *q, *k, *v; /* [n, q_tokens, heads d], [any, kv_tokens, heads d] */
    void *y;               /* [n, q_tokens, heads d] */
    int q_ld, k_ld, v_ld, y_ld;
    const int32_t *kv_row; /* [n]: the row of k and v for each row of q; NULL: the same row */
    int n, heads, d;
    int q_tokens, kv_tokens;
    float scale; /* > 0 */
    bool causal; /* token i sees 0..i */
    bool wgmma;  /* use Hopper's products where possible: only on a device of compute capability 9.0 */
} dr_cuda_attention_args;
void dr_cuda_attention(dr_stream stream, const dr_cuda_attention_args *a);

#ifdef __cplusplus
}
#endif

#endif

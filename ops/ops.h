/* ops.h - the operators that the model is written in.
 *
 * A forward pass is plain code over a dr_pass:
 *
 *     dr_tensor h = dr_take(p, x.n, x.h, x.w, x.c);
 *     dr_group_norm(p, &(dr_group_norm_args){ .x = x, .y = h, .norm = &r->norm1, .silu = true });
 *     dr_conv2d(p, &(dr_conv2d_args){ .conv = r->conv1, .x = h, .y = y });
 *     dr_release(p, &h);
 *
 * The same code is played twice.  While *planning* nothing is computed: the arena learns how much memory
 * the pass needs, and the backend prepares what each shape needs, for example plans of cuDNN.  Played a
 * second time, the pass allocates nothing.
 *
 * Errors stick: after the first failure every further call does nothing.  The code that started the pass
 * looks at p->error once, at the end.  Shapes that do not fit are a bug of the model's code and are
 * asserted.
 *
 * All calls come from the thread that owns the device.  The CPU backend (ops/cpu) is the reference that
 * others are tested against. */
#ifndef DR_OPS_OPS_H
#define DR_OPS_OPS_H

#include "kernels/activation.h"
#include "kernels/rng.h"
#include "kernels/sampler_step.h"
#include "ops/arena.h"
#include "ops/device.h"
#include "ops/lanes.h"
#include "ops/tensor.h"

/* --- passes ---------------------------------------------------------------------- */

/* Statistics of a tensor that the operator that wrote it left for the group norm that reads it next: the
 * norm then need not read the tensor once more.
 *
 *     h = dr_conv2d(p, &(dr_conv2d_args){ ..., .y = h, .norm_groups = 32 });      h.stats names them
 *     dr_group_norm(p, &(dr_group_norm_args){ .x = h, ... });                     uses them up
 *
 * They travel with the tensor's value.  They are gone when the tensor is written again, released or
 * normalised, or when another operator leaves some: a pass keeps those of one tensor.  What they are, a
 * backend knows; the CPU's leaves none. */
typedef struct dr_norm_stats {
    void *data; /* from the arena; NULL: there are none */
    size_t bytes;
    int groups;
} dr_norm_stats;

/* The statistics that a pass keeps. */
typedef struct dr_kept_stats {
    dr_norm_stats left;
    dr_tensor of;
    unsigned name; /* that of.stats has; grows with each that is left, and is never 0 then */
} dr_kept_stats;

typedef struct dr_pass {
    dr_device *device;
    dr_lane lane;    /* that the pass is put on */
    dr_arena *arena; /* no pass of another lane uses it */
    bool planning;
    dr_error error;      /* status DR_OK until something failed */
    dr_kept_stats stats; /* ops.c's */
} dr_pass;

/* A dense tensor of the device's activation dtype, from the pass' arena.  If the arena is full, the pass
 * fails with DR_ENOMEM. */
dr_tensor dr_take(dr_pass *p, int n, int h, int w, int c);
dr_tensor dr_take_as(dr_pass *p, dr_dtype dtype, int n, int h, int w, int c); /* of another dtype */
dr_tensor dr_take_like(dr_pass *p, dr_tensor t);                              /* the same shape */
void dr_release(dr_pass *p, dr_tensor *t);                                    /* sets t->data to NULL */

/* --- weights ---------------------------------------------------------------------- */

/* A layer is packed for the device when it is loaded, and is read-only afterwards.  `weight` and `bias`
 * are host memory in float32, in the order of the checkpoint.  They are read during the call only. */
typedef struct dr_linear dr_linear; /* y = x W^T + b */
typedef struct dr_conv dr_conv;

typedef struct dr_linear_desc {
    const char *name; /* for errors; borrowed for the call */
    int in, out;
    bool eight_bits;     /* x may be rounded to 8 bits: few of its values, if any, are too large for that */
    const float *weight; /* [out, in] */
    const float *bias;   /* [out] or NULL */
} dr_linear_desc;

typedef enum dr_padding {
    DR_PAD_AROUND,      /* kernel / 2 zeros on every side */
    DR_PAD_RIGHT_BELOW, /* one zero column right, one row below: the VAE encoder's stride 2 */
} dr_padding;

typedef struct dr_conv_desc {
    const char *name;
    int in, out;
    int kernel; /* 1 or 3 */
    int stride; /* 1 or 2 */
    dr_padding padding;
    bool upsample;   /* x's pixels are doubled both ways before; kernel 3, stride 1, DR_PAD_AROUND */
    bool eight_bits; /* x may be rounded to 8 bits: a norm wrote it, so its values are within a few dozen */
    int map_pixels;  /* h * w of the output at the model's own size: chooses the algorithm, once */
    const float *weight; /* [out, in, kernel, kernel] */
    const float *bias;   /* [out] or NULL */
} dr_conv_desc;

/* Pack a layer.  On success *out is the caller's, and is freed before the device is closed.  On failure
 * *out is NULL, and the error begins with desc->name: DR_ENOMEM, DR_EDEVICE. */
dr_status dr_linear_create(dr_linear **out, dr_device *device, const dr_linear_desc *desc, dr_error *err);
void dr_linear_free(dr_linear *linear); /* NULL is allowed */
dr_status dr_conv_create(dr_conv **out, dr_device *device, const dr_conv_desc *desc, dr_error *err);
void dr_conv_free(dr_conv *conv); /* NULL is allowed */

/* The size of the packed layer on the device, in bytes. */
size_t dr_linear_bytes(const dr_linear *linear);
size_t dr_conv_bytes(const dr_conv *conv);

/* The type that a layer's x must have: the activation dtype, or DR_E4M3 where `eight_bits` allows it and
 * the device was opened with it.  Norms and GEGLU can write either. */
dr_dtype dr_linear_x_dtype(const dr_linear *linear);
dr_dtype dr_conv_x_dtype(const dr_conv *conv);

/* Scale and shift of a norm: device memory, float32, owned by the model. */
typedef struct dr_norm {
    const float *gamma, *beta; /* [c] */
    int c;
    int groups; /* group norm only */
    float eps;
} dr_norm;

/* --- operators --------------------------------------------------------------------- */

/* y = activation(x W^T + b) + residual.  x, y and residual may be views.  residual: NULL, y itself
 * (accumulate), or another tensor of y's shape.  y may be float32 whatever the activation dtype is, so
 * that tables keep the precision of the sums; but not where x is DR_E4M3. */
typedef struct dr_linear_args {
    const dr_linear *linear;
    dr_tensor x; /* [n, h, w, in] */
    dr_tensor y; /* [n, h, w, out]; never overlaps x */
    dr_activation activation;
    const dr_tensor *residual;
} dr_linear_args;
void dr_apply_linear(dr_pass *p, const dr_linear_args *a); /* as all operators: fails by p->error */

/* A vector for each row, which is added to every pixel: row n gets table + index[n] * stride.  The table
 * and the index are device memory.  A resnet gets its timestep this way. */
typedef struct dr_row_bias {
    const float *table; /* NULL: none */
    const int32_t *index;
    size_t stride; /* floats */
} dr_row_bias;

/* y = conv(x) + b + row_bias + residual.  x, y, residual are dense; residual as in linear.
 *
 *     sides of y    ceil(side of x / stride), or floor with DR_PAD_RIGHT_BELOW
 *     upsample      twice x's, or one less: then the last line or column of the doubled x is left out */
typedef struct dr_conv2d_args {
    const dr_conv *conv;
    dr_tensor x; /* [n, h, w, in] */
    dr_tensor y; /* [n, h', w', out]; never overlaps x */
    dr_row_bias row_bias;
    const dr_tensor *residual;
    int norm_groups;     /* of the group norm that y goes to next; 0: it goes to none */
    dr_norm_stats stats; /* ops.c's: where the backend leaves y's statistics; data NULL: it leaves none */
} dr_conv2d_args;
dr_tensor dr_conv2d(dr_pass *p, const dr_conv2d_args *a); /* y, with the statistics that were left */

/* Each row's channels normalised in `groups` groups over all pixels, then scaled and shifted, then
 * SiLU if asked.  Statistics in float32 by two passes (or better).  y may be x. */
typedef struct dr_group_norm_args {
    dr_tensor x, y; /* [n, h, w, c], dense; y may be of another dtype */
    const dr_norm *norm;
    bool silu;
    dr_norm_stats stats; /* ops.c's: those of x; data NULL: the backend reads x itself */
} dr_group_norm_args;
void dr_group_norm(dr_pass *p, const dr_group_norm_args *a);

/* Each pixel's channels normalised, scaled and shifted.  y may be x. */
typedef struct dr_layer_norm_args {
    dr_tensor x, y; /* dense; y may be of another dtype */
    const dr_norm *norm;
} dr_layer_norm_args;
void dr_layer_norm(dr_pass *p, const dr_layer_norm_args *a);

/* y = softmax(scale q k^T) v per row and head; head j is channels [j d, (j + 1) d) with
 * d = q.c / heads.  The score matrix is never in memory as a whole. */
typedef struct dr_attention_args {
    dr_tensor q;           /* [n, 1, tq, heads * d], may be a view */
    dr_tensor k, v;        /* [m, 1, tk, heads * d], may be views */
    const int32_t *kv_row; /* device, [n]: the row of k and v for each row of q; NULL: its own (m == n) */
    dr_tensor y;           /* [n, 1, tq, heads * d], dense; never overlaps */
    int heads;
    float scale; /* 1 / sqrt(d) */
    bool causal; /* token i sees 0..i */
} dr_attention_args;
void dr_attention(dr_pass *p, const dr_attention_args *a);

/* y = x[0..c) * gelu(x[c..2c)), gelu by erf. */
typedef struct dr_geglu_args {
    dr_tensor x; /* [n, h, w, 2c], dense */
    dr_tensor y; /* [n, h, w, c], dense; DR_E4M3: values beyond 448 become that */
} dr_geglu_args;
void dr_geglu(dr_pass *p, const dr_geglu_args *a);

/* y = activation(x); y may be x. */
typedef struct dr_activate_args {
    dr_tensor x, y; /* dense */
    dr_activation activation;
} dr_activate_args;
void dr_activate(dr_pass *p, const dr_activate_args *a);

/* y = x * factor; y may be x. */
typedef struct dr_scale_args {
    dr_tensor x, y; /* dense, any of the float dtypes */
    float factor;
} dr_scale_args;
void dr_scale(dr_pass *p, const dr_scale_args *a);

/* y's channels are a's, then b's. */
typedef struct dr_concat_args {
    dr_tensor a, b, y;
    int norm_groups; /* these two as in dr_conv2d_args */
    dr_norm_stats stats;
} dr_concat_args;
dr_tensor dr_concat(dr_pass *p, const dr_concat_args *a); /* y, with the statistics that were left */

/* Row i of y is row row[i] of x. */
typedef struct dr_gather_args {
    dr_tensor x;        /* [m, h, w, c], dense */
    const int32_t *row; /* device, [n]: each in [0, m) */
    dr_tensor y;        /* [n, h, w, c], dense; never overlaps x */
} dr_gather_args;
void dr_gather(dr_pass *p, const dr_gather_args *a);

/* y[i] = table[index[i]] (+ positions[i % y.w]) (+ y[i] where accumulate). */
typedef struct dr_lookup_args {
    const float *table;     /* device, [any, c] */
    const int32_t *index;   /* device, [n * w] */
    const float *positions; /* device, [w, c] or NULL */
    dr_tensor y;            /* [n, 1, w, c], dense */
    bool accumulate;
} dr_lookup_args;
void dr_lookup(dr_pass *p, const dr_lookup_args *a);

/* Sinusoids of a timestep: half = c / 2, w_i = exp(-ln(10000) i / (half - freq_shift)),
 * y = [cos(t w), sin(t w)] (flip_sin_to_cos) or [sin, cos], and a 0 at the end where c is odd.
 * DDPM, Ho et al. 2020, as diffusers' Timesteps. */
typedef struct dr_timestep_embedding_args {
    const float *timestep; /* device, [n] */
    dr_tensor y;           /* [n, 1, 1, c] */
    bool flip_sin_to_cos;
    float freq_shift;
} dr_timestep_embedding_args;
void dr_timestep_embedding(dr_pass *p, const dr_timestep_embedding_args *a);

/* The UNet's input: row r is latent sample[r] times scale[r], then the sample's extra
 * channels (mask, masked image, low-resolution image) as they are. */
typedef struct dr_unet_input_args {
    dr_tensor latent;      /* [samples, h, w, c] float32 */
    dr_tensor extra;       /* [samples, h, w, e] float32, or data NULL and c 0 */
    const int32_t *sample; /* device, [n] */
    const float *scale;    /* device, [n] */
    dr_tensor y;           /* [n, h, w, c + e] */
} dr_unet_input_args;
void dr_unet_input(dr_pass *p, const dr_unet_input_args *a);

/* For every active sample whose step wants noise the next torch.randn((1, c, h, w)) of its stream
 * (kernels/rng.h), in its row of y.  A sample has two places for its stream: read is the one that `turn`
 * says, and the other one gets what the stream is afterwards.  So a pass that is played again draws the
 * same. */
typedef struct dr_noise_args {
    int active;
    const int32_t *sample; /* device, [active] its index in stream and y */
    const int32_t *turn;   /* device, [active] 0 or 1 */
    const dr_step *step;   /* device, [active] */
    dr_rng *stream;        /* device, [samples, 2] */
    dr_tensor y;           /* [samples, h, w, c] float32 */
} dr_noise_args;
void dr_noise(dr_pass *p, const dr_noise_args *a);

/* Guidance, and one call of the sampler, for every active sample.  All arrays are device memory with one
 * entry for each active sample. */
typedef struct dr_sampler_step_args {
    dr_tensor output;          /* [rows, h, w, c]: the UNet's */
    int active;                /* samples that take part */
    const int32_t *sample;     /* [active] its index in latent, history and noise */
    const int32_t *cond_row;   /* [active] */
    const int32_t *uncond_row; /* [active]; cond_row again where there is no guidance */
    const float *guidance;     /* [active]; 1 where there is none */
    const dr_step *step;       /* [active] */
    dr_tensor latent;          /* [samples, h, w, c] float32, read and written */
    dr_tensor
        history; /* [samples * DR_HISTORY_MAX, h, w, c] float32; h[k] of s is row s * DR_HISTORY_MAX + k */
    dr_tensor noise; /* [samples, h, w, c] float32; read where step.noise */
} dr_sampler_step_args;
void dr_sampler_step(dr_pass *p, const dr_sampler_step_args *a);

/* 8-bit RGB: round(clamp(x / 2 + 1/2, 0, 1) * 255), half to even. */
typedef struct dr_to_rgb8_args {
    dr_tensor x;     /* [n, h, w, 3] */
    dr_tensor y;     /* the same, DR_U8 */
    int32_t *broken; /* device, or NULL: 1 where some value of x is infinite or no number, else 0 */
} dr_to_rgb8_args;
void dr_to_rgb8(dr_pass *p, const dr_to_rgb8_args *a);

#endif

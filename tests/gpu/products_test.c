/* Compares linear layers, convolutions and attention on a GPU, in either storage type, with the CPU backend
 * in float32.  Compares a row alone with the same row among others, bit by bit.  Tests a recorded pass.
 * (values_test.c has the other operators.) */
#include "base/half.h"
#include "tests/gpu/machine.h"
#include "tests/gpu/side.h"
#include "tests/support/support.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

SIDE_BODY(dr_apply_linear)
SIDE_BODY(dr_conv2d)
SIDE_BODY(dr_attention)

/* A sum of `terms` products of values below 1 stays below sqrt(terms) in all probability.  A tensor core adds
 * eight or more products at once and drops what is below 2^-22 or so of the largest; a float32 sum rounds to
 * 2^-24 for each. */
static double sum_tolerance(int terms)
{
    return sqrt((double)terms) * ((double)terms / 8.0 + 4.0) * 0x1p-22;
}

/* --- linear --------------------------------------------------------------------------------- */

typedef enum added { NOTHING, SELF, OTHER } added;

typedef struct linear_shape {
    int n, h, w, in, out;
    int x_first, x_beside; /* channels of the wider tensor that x lies in: before it, and all */
    int y_beside;
    bool bias;
    added residual;
    dr_activation activation;
    bool float_y;
} linear_shape;

static const linear_shape linears[] = {
    { 1, 1, 1, 1, 1, 0, 0, 0, true, NOTHING, DR_ACT_NONE, false },
    { 3, 5, 7, 33, 7, 0, 0, 0, false, NOTHING, DR_ACT_NONE, false },
    { 2, 1, 77, 33, 66, 0, 0, 0, true, OTHER, DR_ACT_NONE, false },
    { 5, 3, 3, 9, 21, 0, 0, 0, true, SELF, DR_ACT_NONE, false },
    { 2, 1, 29, 21, 65, 11, 13, 64, true, OTHER, DR_ACT_NONE, false },
    { 2, 1, 20, 64, 64, 64, 128, 0, true, SELF, DR_ACT_NONE, false },
    { 2, 1, 1, 36, 144, 0, 0, 0, true, NOTHING, DR_ACT_SILU, false },
    { 2, 1, 77, 64, 33, 0, 0, 0, true, NOTHING, DR_ACT_QUICK_GELU, false },
    { 3, 1, 9, 27, 40, 0, 0, 0, true, NOTHING, DR_ACT_GELU, false },
    { 4, 1, 1, 36, 129, 0, 0, 0, true, NOTHING, DR_ACT_NONE, true },
    { 2, 1, 3, 40, 24, 0, 0, 8, true, OTHER, DR_ACT_NONE, true },
    { 2, 1, 15, 1281, 40, 0, 0, 0, true, NOTHING, DR_ACT_NONE, false },
    { 2, 8, 8, 320, 64, 0, 0, 0, true, SELF, DR_ACT_NONE, false },
};

static dr_linear *new_linear(side *s, int in, int out, bool bias)
{
    const dr_linear_desc desc = { .name = "layer",
                                  .in = in,
                                  .out = out,
                                  .weight = side_host_vector(s, (size_t)in * (size_t)out, 1.0f),
                                  .bias = bias ? side_host_vector(s, (size_t)out, 1.0f) : NULL };
    dr_linear *linear;
    dr_error err;

    if (dr_linear_create(&linear, s->device, &desc, &err))
        fail_msg("%s", err.text);
    return linear;
}

static void apply(side *s, const linear_shape *q, const dr_linear *linear)
{
    const dr_tensor wide = side_view(s, s->rows, q->h, q->w, q->in, q->x_beside, 1.0f);
    const dr_tensor y = q->float_y ? side_float_view(s, s->rows, q->h, q->w, q->out, q->y_beside, 1.0f)
                                   : side_view(s, s->rows, q->h, q->w, q->out, q->y_beside, 1.0f);
    const dr_tensor other = q->float_y ? side_float_view(s, s->rows, q->h, q->w, q->out, q->y_beside, 1.0f)
                                       : side_view(s, s->rows, q->h, q->w, q->out, q->y_beside, 1.0f);

    side_run(s, play_dr_apply_linear,
             &(dr_linear_args){ .linear = linear,
                                .x = dr_tensor_channels(wide, q->x_first, q->in),
                                .y = y,
                                .activation = q->activation,
                                .residual = q->residual == SELF    ? &y
                                            : q->residual == OTHER ? &other
                                                                   : NULL });
    side_keep(s, y);
}

static void run_linear(side *s, const void *shape)
{
    const linear_shape *q = shape;
    dr_linear *linear = new_linear(s, q->in, q->out, q->bias);

    apply(s, q, linear);
    dr_linear_free(linear);
}

/* A result with an activation is rounded to the storage type before the activation, too.  An activation's
 * slope is below 1.13. */
static double linear_tolerance(const linear_shape *q, dr_dtype storage)
{
    const double rounding = storage == DR_F16 ? 0x1p-11 : 0x1p-8;

    return sum_tolerance(q->in) +
           (q->activation == DR_ACT_NONE ? 0.0 : 1.13 * rounding * (sqrt((double)q->in) + 1.0));
}

static void linear_layers(void **state)
{
    const side_pair *p = *state;

    for (size_t i = 0; i < COUNT(linears); i++) {
        const linear_shape *q = &linears[i];
        char what[128];

        snprintf(what, sizeof(what), "linear %zu, [%d, %d, %d, %d] to %d", i, q->n, q->h, q->w, q->in,
                 q->out);
        side_check(p, run_linear, q, q->n, linear_tolerance(q, p->storage), what);
    }
}

static const int companies[] = { 1, 2, 3, 5, 16, 17, 40 };

/* Calls one layer with more and more rows.  Rows of an earlier call come out the same.  40 rows of 8 x 8 are
 * more than one tile of a GPU in the direction of the rows. */
static void a_linear_layer_has_one_way_to_sum(void **state)
{
    static const int shapes[][2] = { { 320, 320 }, { 33, 21 }, { 1281, 40 }, { 320, 320 } };
    const side_pair *p = *state;

    for (size_t i = 0; i < COUNT(shapes); i++) {
        const linear_shape q = { .h = 8, .w = 8, .in = shapes[i][0], .out = shapes[i][1], .float_y = i < 2 };
        side weights = side_begin(p->gpu, p->storage, 0, 1), before = { 0 };
        dr_linear *linear = new_linear(&weights, q.in, q.out, true);

        for (size_t k = 0; k < COUNT(companies); k++) {
            side now = side_begin(p->gpu, p->storage, 0, companies[k]);

            apply(&now, &q, linear);
            if (k > 0)
                side_assert_same_rows(&before, &now, "linear");
            side_end(&before);
            before = now;
        }
        side_end(&before);
        dr_linear_free(linear);
        side_end(&weights);
    }
}

/* --- convolutions ------------------------------------------------------------------------------ */

typedef struct conv_shape {
    int n, h, w, in, out; /* h and w of what the kernel slides over: x, or the doubled x */
    int kernel, stride;
    dr_padding padding;
    bool bias, row_bias;
    added residual;
    bool upsample;
} conv_shape;

static const conv_shape convs[] = {
    { 1, 1, 1, 1, 1, 1, 1, DR_PAD_AROUND, true, false, NOTHING, false },
    { 2, 5, 7, 9, 15, 1, 1, DR_PAD_AROUND, true, false, OTHER, false },
    { 1, 1, 1, 3, 5, 3, 1, DR_PAD_AROUND, true, false, NOTHING, false },
    { 2, 8, 8, 4, 9, 3, 1, DR_PAD_AROUND, true, true, NOTHING, false },
    { 3, 5, 7, 21, 33, 3, 1, DR_PAD_AROUND, false, true, SELF, false },
    { 2, 9, 11, 27, 4, 3, 1, DR_PAD_AROUND, true, false, NOTHING, false },
    { 2, 16, 12, 32, 64, 3, 1, DR_PAD_AROUND, true, true, OTHER, false },
    { 2, 7, 9, 15, 15, 3, 2, DR_PAD_AROUND, true, false, NOTHING, false },
    { 2, 8, 8, 64, 32, 3, 2, DR_PAD_AROUND, true, false, NOTHING, false },
    { 2, 8, 6, 9, 9, 3, 2, DR_PAD_RIGHT_BELOW, true, false, NOTHING, false },
    { 1, 7, 9, 16, 8, 3, 2, DR_PAD_RIGHT_BELOW, true, false, NOTHING, false },
    { 2, 3, 5, 320, 40, 1, 1, DR_PAD_AROUND, true, false, OTHER, false },
    { 1, 4, 4, 320, 72, 3, 1, DR_PAD_AROUND, true, true, SELF, false },
    { 3, 7, 9, 32, 24, 3, 2, DR_PAD_AROUND, false, false, NOTHING, false },
    { 2, 8, 6, 32, 16, 3, 2, DR_PAD_RIGHT_BELOW, true, false, NOTHING, false },
    { 3, 5, 7, 64, 8, 3, 1, DR_PAD_AROUND, true, false, SELF, false },
    { 3, 5, 3, 32, 40, 3, 1, DR_PAD_AROUND, false, true, NOTHING, false },
    { 2, 1, 1, 96, 8, 1, 1, DR_PAD_AROUND, true, true, OTHER, false },
    /* tiles of Hopper's products: narrow, wide, square, and more than one row in each */
    { 3, 8, 8, 64, 160, 3, 1, DR_PAD_AROUND, true, true, OTHER, false },
    { 2, 12, 12, 128, 160, 3, 1, DR_PAD_AROUND, true, true, SELF, false },
    { 2, 17, 16, 64, 136, 3, 2, DR_PAD_AROUND, true, false, NOTHING, false },
    { 2, 8, 8, 320, 128, 1, 1, DR_PAD_AROUND, true, false, OTHER, false },
    { 2, 16, 12, 64, 160, 3, 1, DR_PAD_AROUND, true, true, OTHER, true },
    { 1, 2, 2, 3, 5, 3, 1, DR_PAD_AROUND, true, false, NOTHING, true },
    { 3, 6, 10, 21, 33, 3, 1, DR_PAD_AROUND, false, true, SELF, true },
    { 2, 16, 12, 32, 64, 3, 1, DR_PAD_AROUND, true, true, OTHER, true },
    { 2, 24, 22, 40, 160, 3, 1, DR_PAD_AROUND, true, false, NOTHING, true },
    { 2, 7, 10, 24, 40, 3, 1, DR_PAD_AROUND, true, false, NOTHING, true },
    { 2, 8, 9, 15, 15, 3, 1, DR_PAD_AROUND, true, true, OTHER, true },
};

enum { TABLE_ENTRIES = 3, TABLE_STRIDE_MORE = 5 };

static dr_conv *new_conv(side *s, const conv_shape *q)
{
    const size_t values = (size_t)q->in * (size_t)q->out * (size_t)q->kernel * (size_t)q->kernel;
    const dr_conv_desc desc = { .name = "layer",
                                .in = q->in,
                                .out = q->out,
                                .kernel = q->kernel,
                                .stride = q->stride,
                                .padding = q->padding,
                                .upsample = q->upsample,
                                .map_pixels = q->h * q->w,
                                .weight = side_host_vector(s, values, 1.0f),
                                .bias = q->bias ? side_host_vector(s, (size_t)q->out, 1.0f) : NULL };
    dr_conv *conv;
    dr_error err;

    if (dr_conv_create(&conv, s->device, &desc, &err))
        fail_msg("%s", err.text);
    assert_true(dr_conv_bytes(conv) >= values * dr_dtype_bytes(dr_device_activation_dtype(s->device)));
    return conv;
}

/* A side of y. */
static int conv_side(const conv_shape *q, int pixels)
{
    return (pixels + (q->padding == DR_PAD_AROUND ? 2 * (q->kernel / 2) : 1) - q->kernel) / q->stride + 1;
}

static void convolve(side *s, const conv_shape *q, const dr_conv *conv)
{
    enum { ROWS_MAX = 64 };
    const size_t stride = (size_t)q->out + TABLE_STRIDE_MORE;
    const float *table = side_vector(s, TABLE_ENTRIES * stride, 1.0f);
    const int x_h = q->upsample ? (q->h + 1) / 2 : q->h, x_w = q->upsample ? (q->w + 1) / 2 : q->w;
    const dr_tensor x = side_tensor(s, s->rows, x_h, x_w, q->in, 1.0f);
    const dr_tensor y = side_tensor(s, s->rows, conv_side(q, q->h), conv_side(q, q->w), q->out, 1.0f);
    const dr_tensor other = side_tensor(s, s->rows, y.h, y.w, q->out, 1.0f);
    int32_t index[ROWS_MAX];

    for (int i = 0; i < s->rows; i++)
        index[i] = (s->first + i + 1) * 2 % TABLE_ENTRIES;
    side_run(s, play_dr_conv2d,
             &(dr_conv2d_args){
                 .conv = conv,
                 .x = x,
                 .y = y,
                 .row_bias = { q->row_bias ? table : NULL, side_upload(s, index, sizeof(index)), stride },
                 .residual = q->residual == SELF    ? &y
                             : q->residual == OTHER ? &other
                                                    : NULL });
    side_keep(s, y);
}

static void run_conv(side *s, const void *shape)
{
    const conv_shape *q = shape;
    dr_conv *conv = new_conv(s, q);

    convolve(s, q, conv);
    dr_conv_free(conv);
}

/* After an upsampling to twice the size, weights are summed first, and the sums are rounded to the storage
 * type.  A pixel has four products for a channel: in one the weight is a sum of four weights, in two a sum of
 * two.  Such sums have mean squares of 4/3 and 2/3, and are off by at most the rounding of their size.
 * Errors that are spread evenly up to that (1/3), times the values of x (1/3), give a variance of 8/27 for a
 * channel.  The tolerance is six standard deviations.
 *
 * If cuDNN does the layer, the residual and the row's bias, both below 1, are first added into one sum in the
 * storage type. */
static double conv_tolerance(const conv_shape *q, const side_pair *p)
{
    const double rounding = p->storage == DR_F16 ? 0x1p-11 : 0x1p-8;
    const bool summed = q->upsample && q->h % 2 == 0 && q->w % 2 == 0;
    const bool twice = p->by_cudnn && q->row_bias && q->residual != NOTHING;

    return sum_tolerance(q->in * q->kernel * q->kernel) + (twice ? 2.0 * rounding : 0.0) +
           (summed ? 6.0 * rounding * sqrt(q->in * 8.0 / 27.0) : 0.0);
}

static void convolutions(void **state)
{
    const side_pair *p = *state;

    for (size_t i = 0; i < COUNT(convs); i++) {
        const conv_shape *q = &convs[i];
        char what[128];

        snprintf(what, sizeof(what), "convolution %zu, [%d, %d, %d, %d] to %d", i, q->n, q->h, q->w, q->in,
                 q->out);
        side_check(p, run_conv, q, q->n, conv_tolerance(q, p), what);
    }
}

static void a_convolution_has_one_way_to_sum(void **state)
{
    static const conv_shape shapes[] = {
        { .h = 8, .w = 8, .in = 64, .out = 64, .kernel = 3, .stride = 1, .bias = true, .row_bias = true },
        { .h = 5, .w = 7, .in = 21, .out = 9, .kernel = 3, .stride = 1 },
        { .h = 10, .w = 8, .in = 24, .out = 40, .kernel = 3, .stride = 1, .upsample = true },
        { .h = 9, .w = 8, .in = 24, .out = 40, .kernel = 3, .stride = 1, .upsample = true },
        { .h = 4, .w = 8, .in = 64, .out = 160, .kernel = 3, .stride = 1, .bias = true },
    };
    const side_pair *p = *state;

    for (size_t i = 0; i < COUNT(shapes); i++) {
        side weights = side_begin(p->gpu, p->storage, 0, 1), before = { 0 };
        dr_conv *conv = new_conv(&weights, &shapes[i]);

        for (size_t k = 0; k < COUNT(companies); k++) {
            side now = side_begin(p->gpu, p->storage, 0, companies[k]);

            convolve(&now, &shapes[i], conv);
            if (k > 0)
                side_assert_same_rows(&before, &now, "convolution");
            side_end(&before);
            before = now;
        }
        side_end(&before);
        dr_conv_free(conv);
        side_end(&weights);
    }
}

/* --- attention -------------------------------------------------------------------------------- */

typedef struct attention_shape {
    int n, q_tokens, kv_tokens, heads, d;
    bool causal, views, picks; /* picks: kv_row says which row */
    float size;                /* of q's and k's values */
    int beside; /* 0: three tensors; else one, of queries, keys, values, and that many channels beside */
} attention_shape;

static const attention_shape attentions[] = {
    { 1, 1, 1, 1, 1, false, false, false, 1, 0 },
    { 2, 16, 16, 3, 3, false, true, false, 1, 0 },
    { 3, 35, 77, 3, 5, false, false, true, 1, 0 },
    { 2, 77, 77, 3, 11, true, true, false, 1, 0 },
    { 2, 65, 65, 2, 40, false, true, false, 1, 0 },
    { 2, 64, 77, 2, 40, false, false, true, 1, 0 },
    { 2, 33, 129, 1, 64, false, false, false, 1, 0 },
    { 1, 77, 77, 2, 64, true, true, false, 1, 0 },
    { 2, 17, 77, 1, 80, false, false, true, 1, 0 },
    { 1, 20, 77, 1, 160, false, false, false, 1, 0 },
    { 1, 40, 40, 1, 512, false, true, false, 1, 0 },
    { 1, 9, 9, 1, 27, false, false, false, 1, 0 },
    /* Scores of up to 1e4: in f16 their sums before the scale overflow. */
    { 2, 64, 64, 1, 64, false, true, false, 60, 0 },
    /* Shapes of a transformer.  cuDNN does all but the last ones. */
    { 3, 65, 65, 2, 40, false, false, false, 1, 16 },
    { 1, 1, 1, 1, 8, false, false, false, 1, 8 },
    { 2, 64, 64, 1, 64, false, false, false, 60, 8 },
    { 2, 17, 17, 2, 80, false, false, false, 1, 8 },
    { 2, 20, 20, 1, 160, false, false, false, 1, 8 },
    { 1, 40, 40, 1, 512, false, false, false, 1, 8 },
    { 2, 30, 30, 2, 16, true, false, false, 1, 8 },
    { 2, 30, 30, 2, 12, false, false, false, 1, 8 },
    { 2, 30, 30, 2, 16, false, false, false, 1, 7 },
    { 2, 30, 30, 2, 16, false, false, true, 1, 8 },
};

/* Makes q, k and v the thirds of one tensor. */
static void set_tokens(side *s, const attention_shape *q, dr_attention_args *a)
{
    const int c = q->heads * q->d;
    const dr_tensor all = side_view(s, s->rows, 1, q->q_tokens, 3 * c, q->beside, q->size);

    a->q = dr_tensor_channels(all, 0, c);
    a->k = dr_tensor_channels(all, c, c);
    a->v = dr_tensor_channels(all, 2 * c, c);
}

static void set_tensors(side *s, const attention_shape *q, dr_attention_args *a)
{
    const int c = q->heads * q->d, kv_rows = (q->picks ? 2 : 1) * s->rows;

    a->q = side_view(s, s->rows, 1, q->q_tokens, c, q->views ? 2 * c : 0, q->size);
    a->k = side_view(s, kv_rows, 1, q->kv_tokens, c, q->views ? 2 * c : 0, q->size);
    a->v = side_view(s, kv_rows, 1, q->kv_tokens, c, q->views ? c : 0, 1.0f);
    if (q->views)
        a->k = dr_tensor_channels(a->k, c, c); /* the middle third */
}

static void run_attention(side *s, const void *shape)
{
    enum { ROWS_MAX = 4 };
    const attention_shape *q = shape;
    dr_attention_args a = { .heads = q->heads, .scale = 1.0f / sqrtf((float)q->d), .causal = q->causal };
    int32_t row[ROWS_MAX];

    if (q->beside)
        set_tokens(s, q, &a);
    else
        set_tensors(s, q, &a);
    a.y = side_tensor(s, s->rows, 1, q->q_tokens, q->heads * q->d, 1.0f);
    for (int i = 0; i < s->rows; i++)
        row[i] = q->beside ? i : 2 * i + 1;
    if (q->picks)
        a.kv_row = side_upload(s, row, sizeof(row));
    side_run(s, play_dr_attention, &a);
    side_keep(s, a.y);
}

/* Weights are rounded to the storage type before they are multiplied with the values, which are below 1.
 * That costs one rounding of the values' mean.  The relative error of a weight is the absolute error of its
 * score.  A score is a sum of d products times 1 / sqrt(d).  (If queries, keys and values are one tensor, all
 * have that size.) */
static double attention_tolerance(const attention_shape *q, dr_dtype storage)
{
    const double rounding = storage == DR_F16 ? 0x1p-11 : 0x1p-8, size = (double)q->size;
    const double values = q->beside ? size : 1.0;

    return values * (rounding + 1e-5 + 2.0 * size * size * sum_tolerance(q->d) / sqrt((double)q->d));
}

static void attention(void **state)
{
    const side_pair *p = *state;

    for (size_t i = 0; i < COUNT(attentions); i++) {
        const attention_shape *q = &attentions[i];
        char what[128];

        snprintf(what, sizeof(what), "attention %zu, %d heads of %d, %d to %d", i, q->heads, q->d,
                 q->q_tokens, q->kv_tokens);
        side_check(p, run_attention, q, q->n, attention_tolerance(q, p->storage), what);
    }
}

/* --- recordings --------------------------------------------------------------------------------- */

typedef struct two_layers {
    const dr_linear *linear;
    dr_norm norm;
    dr_tensor x, y;
} two_layers;

static void play_two_layers(dr_pass *p, void *args)
{
    const two_layers *t = args;
    dr_tensor h = dr_take_like(p, t->y);

    dr_apply_linear(p, &(dr_linear_args){ .linear = t->linear, .x = t->x, .y = h });
    dr_group_norm(p, &(dr_group_norm_args){ .x = h, .y = t->y, .norm = &t->norm, .silu = true });
    dr_release(p, &h);
}

static void record(dr_device *device, void (*body)(dr_pass *p, void *args), void *args, void **memory,
                   dr_recording **recording)
{
    dr_arena arena;
    dr_pass pass = { .device = device, .arena = &arena, .planning = true };
    dr_error err;

    dr_arena_init(&arena, NULL, SIZE_MAX);
    body(&pass, args);
    assert_int_equal(pass.error.status, DR_OK);
    assert_int_equal(dr_device_alloc(memory, device, arena.peak, &err), DR_OK);
    pass.planning = false;
    dr_arena_init(&arena, *memory, arena.peak);
    if (dr_recording_begin(device, &err))
        fail_msg("%s", err.text);
    body(&pass, args);
    if (dr_recording_end(recording, device, &err) || pass.error.status)
        fail_msg("%s", pass.error.status ? pass.error.text : err.text);
}

/* Uploads values between -1 and 1, different ones each time. */
static void upload_values(dr_device *device, const dr_tensor *x, int time)
{
    const size_t values = dr_tensor_pixels(x) * (size_t)x->c;
    uint16_t *stored = malloc(values * sizeof(*stored));
    dr_error err;

    assert_non_null(stored);
    for (size_t i = 0; i < values; i++) {
        const float value = (float)((i * 7 + (size_t)time * 1001) % 2001) * 1e-3f - 1.0f;

        stored[i] = x->dtype == DR_F16 ? dr_f16_from_float(value) : dr_bf16_from_float(value);
    }
    assert_int_equal(dr_device_upload(device, x->data, stored, values * sizeof(*stored), &err), DR_OK);
    free(stored);
}

/* With other values at the same addresses, a recording does what the pass does, however often it is
 * played. */
static void a_recording_does_what_the_pass_does(void **state)
{
    enum { N = 2, H = 8, W = 8, IN = 33, OUT = 48, PLAYS = 3 };
    const side_pair *p = *state;
    side s = side_begin(p->gpu, p->storage, 0, N), played[PLAYS], recorded[PLAYS];
    dr_linear *linear = new_linear(&s, IN, OUT, true);
    two_layers t = { .linear = linear,
                     .norm = { side_vector(&s, OUT, 1.0f), side_vector(&s, OUT, 1.0f), OUT, 3, 1e-5f },
                     .x = side_tensor(&s, N, H, W, IN, 1.0f),
                     .y = side_tensor(&s, N, H, W, OUT, 1.0f) };
    dr_recording *recording;
    void *memory;
    dr_error err;

    assert_true(dr_device_records(p->gpu));
    for (int i = 0; i < PLAYS; i++) {
        played[i] = recorded[i] = side_begin(p->gpu, p->storage, 0, N);
        upload_values(p->gpu, &t.x, i);
        side_run(&played[i], play_two_layers, &t);
        side_keep(&played[i], t.y);
    }
    record(p->gpu, play_two_layers, &t, &memory, &recording); /* its kernels are loaded by now */
    for (int i = 0; i < PLAYS; i++) {
        upload_values(p->gpu, &t.x, i);
        if (dr_recording_play(recording, &err))
            fail_msg("%s", err.text);
        side_keep(&recorded[i], t.y);
        side_assert_same_rows(&recorded[i], &played[i], "recording");
    }
    assert_true(memcmp(recorded[0].kept[0].values, recorded[1].kept[0].values, OUT * sizeof(float)) != 0);
    for (int i = 0; i < PLAYS; i++) {
        side_end(&played[i]);
        side_end(&recorded[i]);
    }
    dr_recording_free(recording);
    dr_device_free(p->gpu, memory);
    dr_linear_free(linear);
    side_end(&s);
}

/* Records a convolution with everything that can be added to one. */
static void a_recorded_convolution_does_what_it_does(void **state)
{
    enum { N = 3, PLAYS = 2 };
    static const conv_shape q = { N, 6, 5, 32, 40, 3, 1, DR_PAD_AROUND, true, true, OTHER, false };
    static const int32_t index[N] = { 2, 0, 1 };
    const side_pair *p = *state;
    side s = side_begin(p->gpu, p->storage, 0, N), played, recorded;
    dr_conv *conv = new_conv(&s, &q);
    const float *table = side_vector(&s, (size_t)q.out * TABLE_ENTRIES, 1.0f);
    const dr_tensor other = side_tensor(&s, N, q.h, q.w, q.out, 1.0f);
    dr_conv2d_args a = { .conv = conv,
                         .x = side_tensor(&s, N, q.h, q.w, q.in, 1.0f),
                         .y = side_tensor(&s, N, q.h, q.w, q.out, 1.0f),
                         .row_bias = { table, side_upload(&s, index, sizeof(index)), (size_t)q.out },
                         .residual = &other };
    dr_recording *recording;
    void *memory;
    dr_error err;

    record(p->gpu, play_dr_conv2d, &a, &memory, &recording);
    for (int i = 0; i < PLAYS; i++) {
        played = recorded = side_begin(p->gpu, p->storage, 0, N);
        upload_values(p->gpu, &a.x, i);
        side_run(&played, play_dr_conv2d, &a);
        side_keep(&played, a.y);
        upload_values(p->gpu, &a.y, i); /* which it must not add to */
        if (dr_recording_play(recording, &err))
            fail_msg("%s", err.text);
        side_keep(&recorded, a.y);
        side_assert_same_rows(&recorded, &played, "recorded convolution");
        side_end(&played);
        side_end(&recorded);
    }
    dr_recording_free(recording);
    dr_device_free(p->gpu, memory);
    dr_conv_free(conv);
    side_end(&s);
}

/* A kernel of attention may be loaded while it is recorded, as cuDNN's are.  It stays loaded as long as the
 * recording exists. */
static void a_recorded_attention_does_what_it_does(void **state)
{
    enum { N = 3, TOKENS = 21, HEADS = 2, C = 80, PLAYS = 2 };
    const side_pair *p = *state;
    side s = side_begin(p->gpu, p->storage, 0, N), played, recorded;
    const dr_tensor all = side_tensor(&s, N, 1, TOKENS, 3 * C, 1.0f);
    dr_attention_args a = { .q = dr_tensor_channels(all, 0, C),
                            .k = dr_tensor_channels(all, C, C),
                            .v = dr_tensor_channels(all, 2 * C, C),
                            .y = side_tensor(&s, N, 1, TOKENS, C, 1.0f),
                            .heads = HEADS,
                            .scale = 0.17f };
    dr_recording *recording;
    void *memory;
    dr_error err;

    record(p->gpu, play_dr_attention, &a, &memory, &recording);
    for (int i = 0; i < PLAYS; i++) {
        played = recorded = side_begin(p->gpu, p->storage, 0, N);
        upload_values(p->gpu, &all, i);
        side_run(&played, play_dr_attention, &a);
        side_keep(&played, a.y);
        upload_values(p->gpu, &a.y, i);
        if (dr_recording_play(recording, &err))
            fail_msg("%s", err.text);
        side_keep(&recorded, a.y);
        side_assert_same_rows(&recorded, &played, "recorded attention");
        side_end(&played);
        side_end(&recorded);
    }
    dr_recording_free(recording);
    dr_device_free(p->gpu, memory);
    side_end(&s);
}

/* --- errors ---------------------------------------------------------------------------------------- */

/* Plans the operator, and asserts that it is refused for this reason. */
static void assert_refused(dr_device *device, void (*body)(dr_pass *p, void *args), void *args,
                           const char *text)
{
    dr_arena arena;
    dr_pass pass = { .device = device, .arena = &arena, .planning = true };

    dr_arena_init(&arena, NULL, SIZE_MAX);
    body(&pass, args);
    assert_int_equal(pass.error.status, DR_EUNSUPPORTED);
    assert_string_equal(pass.error.text, text);
}

static void what_can_not_be_done_is_told(void **state)
{
    const side_pair *p = *state;
    side s = side_begin(p->gpu, p->storage, 0, 1);
    dr_linear *linear = new_linear(&s, 8, 8, false);
    dr_tensor x = side_tensor(&s, 1, 1, 1, 8, 1.0f), y = side_tensor(&s, 1, 1, 1, 8, 1.0f);
    dr_tensor wide = side_tensor(&s, 1, 1, 1, 513, 1.0f), wide_y = side_tensor(&s, 1, 1, 1, 513, 1.0f);

    assert_refused(p->gpu, play_dr_apply_linear,
                   &(dr_linear_args){
                       .linear = linear, .x = x, .y = y, .activation = DR_ACT_SILU, .residual = &y },
                   "cuda:0: a product with an activation takes neither a residual nor a view");
    assert_refused(p->gpu, play_dr_attention,
                   &(dr_attention_args){
                       .q = wide, .k = wide, .v = wide, .y = wide_y, .heads = 1, .scale = 1.0f },
                   "cuda:0: attention heads of 513 channels: at most 512");
    dr_linear_free(linear);
    side_end(&s);
}

/* All of the device's memory is taken.  A layer that is made then is refused with an error that names the
 * layer, and the device is as before. */
static void a_layer_without_memory_is_named(void **state)
{
    const float weight[4] = { 1, 2, 3, 4 };
    dr_device *device;
    dr_linear *linear;
    dr_error err;
    void *all;
    (void)state;

    assert_int_equal(dr_device_open(&device,
                                    &(dr_device_options){ .name = "cuda:0", .memory_max = (size_t)300 << 20 },
                                    &err),
                     DR_OK);
    assert_int_equal(dr_device_alloc(&all, device, dr_device_memory_left(device), &err), DR_OK);
    assert_int_equal(
        dr_linear_create(&linear, device,
                         &(dr_linear_desc){ .name = "to_q", .in = 2, .out = 2, .weight = weight }, &err),
        DR_ENOMEM);
    assert_null(linear);
    assert_memory_equal(err.text, "to_q: cuda:0: no 8 bytes of memory", 34);
    dr_device_free(device, all);
    assert_int_equal(
        dr_linear_create(&linear, device,
                         &(dr_linear_desc){ .name = "to_q", .in = 2, .out = 2, .weight = weight }, &err),
        DR_OK);
    dr_linear_free(linear);
    dr_device_close(device);
}

/* --- running ----------------------------------------------------------------------------------------- */

static int run_storage(const char *name, const char *storage)
{
    side_pair pair = side_pair_open(storage, "own");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(linear_layers, &pair),
        cmocka_unit_test_prestate(a_linear_layer_has_one_way_to_sum, &pair),
        cmocka_unit_test_prestate(convolutions, &pair),
        cmocka_unit_test_prestate(a_convolution_has_one_way_to_sum, &pair),
        cmocka_unit_test_prestate(attention, &pair),
        cmocka_unit_test_prestate(a_recording_does_what_the_pass_does, &pair),
        cmocka_unit_test_prestate(a_recorded_convolution_does_what_it_does, &pair),
        cmocka_unit_test_prestate(a_recorded_attention_does_what_it_does, &pair),
        cmocka_unit_test_prestate(what_can_not_be_done_is_told, &pair),
        cmocka_unit_test_prestate(a_layer_without_memory_is_named, &pair),
    };
    const int failed = cmocka_run_group_tests_name(name, tests, NULL, NULL);

    side_pair_close(&pair);
    return failed;
}

/* Runs the tests with cuDNN: for what it does, and for what it does not do. */
static int run_dnn_storage(const char *name, const char *storage)
{
    side_pair pair = side_pair_open(storage, "cudnn");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(convolutions, &pair),
        cmocka_unit_test_prestate(a_convolution_has_one_way_to_sum, &pair),
        cmocka_unit_test_prestate(attention, &pair),
        cmocka_unit_test_prestate(a_recorded_convolution_does_what_it_does, &pair),
        cmocka_unit_test_prestate(a_recorded_attention_does_what_it_does, &pair),
    };
    const int failed = cmocka_run_group_tests_name(name, tests, NULL, NULL);

    side_pair_close(&pair);
    return failed;
}

int main(void)
{
    const int absent = machine_begin();

    if (absent)
        return absent;
    return run_storage("products in f16", "f16") + run_storage("products in bf16", "bf16") +
           run_dnn_storage("cuDNN in f16", "f16") + run_dnn_storage("cuDNN in bf16", "bf16");
}

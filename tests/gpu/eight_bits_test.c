/* Tests the 8-bit operators of a GPU that was opened with fp8, with either storage type for the other values:
 * norms and GEGLU that write 8 bits, and linear layers and convolutions that multiply them.  Compares them
 * with the CPU backend in float32, and compares a row alone with the same row among others, bit by bit.
 *
 * Inputs are values that 8 bits can hold, so that both sides multiply the same values. */
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
SIDE_BODY(dr_group_norm)
SIDE_BODY(dr_layer_norm)
SIDE_BODY(dr_geglu)

/* --- what is written ------------------------------------------------------------------------ */

/* The rounding of an e4m3 below 2^-6, where rounding is no longer relative to the value, and some float32
 * arithmetic. */
#define WRITTEN (0x1p-10 + 1e-5)

typedef struct shape {
    int n, h, w, c;
} shape;

static const shape shapes[] = {
    { 1, 1, 1, 16 },  { 2, 1, 77, 48 },  { 3, 5, 7, 32 },
    { 2, 1, 9, 320 }, { 2, 1, 3, 1280 }, { 1, 1, 2, 1281 },
};

/* On the CPU the result is float32, which is not rounded. */
static dr_tensor new_result(side *s, const shape *q)
{
    const bool gpu = dr_device_activation_dtype(s->device) != DR_F32;

    return side_tensor_as(s, gpu ? DR_E4M3 : DR_F32, s->rows, q->h, q->w, q->c, 1.0f);
}

static void run_group_norm(side *s, const void *shape_)
{
    const shape *q = shape_;
    const dr_norm norm = { .gamma = side_vector(s, (size_t)q->c, 1.0f),
                           .beta = side_vector(s, (size_t)q->c, 1.0f),
                           .c = q->c,
                           .groups = q->c % 16 ? 1 : 16,
                           .eps = 1e-5f };
    const dr_tensor x = side_tensor(s, s->rows, q->h, q->w, q->c, 2.0f), y = new_result(s, q);

    side_run(s, play_dr_group_norm, &(dr_group_norm_args){ .x = x, .y = y, .norm = &norm, .silu = true });
    side_keep(s, y);
}

static void run_layer_norm(side *s, const void *shape_)
{
    const shape *q = shape_;
    const dr_norm norm = { .gamma = side_vector(s, (size_t)q->c, 1.0f),
                           .beta = side_vector(s, (size_t)q->c, 1.0f),
                           .c = q->c,
                           .eps = 1e-5f };
    const dr_tensor x = side_tensor(s, s->rows, q->h, q->w, q->c, 2.0f), y = new_result(s, q);

    side_run(s, play_dr_layer_norm, &(dr_layer_norm_args){ .x = x, .y = y, .norm = &norm });
    side_keep(s, y);
}

static void run_geglu(side *s, const void *shape_)
{
    const shape *q = shape_;
    const dr_tensor x = side_tensor(s, s->rows, q->h, q->w, 2 * q->c, 3.0f), y = new_result(s, q);

    side_run(s, play_dr_geglu, &(dr_geglu_args){ .x = x, .y = y });
    side_keep(s, y);
}

static void check_written(const side_pair *p, const char *name, side_case *run)
{
    for (size_t i = 0; i < COUNT(shapes); i++) {
        const shape *q = &shapes[i];
        char what[128];

        snprintf(what, sizeof(what), "%s to 8 bits, [%d, %d, %d, %d]", name, q->n, q->h, q->w, q->c);
        side_check(p, run, q, q->n, WRITTEN, what);
    }
}

static void group_norm(void **state)
{
    check_written(*state, "group norm", run_group_norm);
}

static void layer_norm(void **state)
{
    check_written(*state, "layer norm", run_layer_norm);
}

static void geglu(void **state)
{
    check_written(*state, "GEGLU", run_geglu);
}

/* --- linear ---------------------------------------------------------------------------------- */

typedef enum added { NOTHING, SELF, OTHER } added;

typedef struct linear_shape {
    int n, h, w, in, out;
    float weight_size; /* a size far from 1 has another scale */
    bool bias;
    added residual;
    int y_beside;
} linear_shape;

static const linear_shape linears[] = {
    { 1, 1, 1, 16, 16, 1.0f, false, NOTHING, 0 }, { 3, 5, 7, 48, 16, 0.03125f, true, NOTHING, 0 },
    { 2, 1, 77, 64, 192, 60.0f, false, SELF, 0 }, { 2, 8, 8, 320, 64, 1.0f, true, OTHER, 0 },
    { 2, 1, 3, 1280, 32, 1.0f, true, SELF, 0 },   { 2, 1, 9, 64, 32, 1.0f, true, NOTHING, 16 },
};

/* The sums may differ, and so may the rounding of y.  A tensor core adds 32 products at once, and is said to
 * keep 14 bits of the sum, which stays below sqrt(in) times a weight in all probability. */
static double linear_tolerance(const linear_shape *q)
{
    return (double)q->weight_size * sqrt((double)q->in) * ((double)q->in / 32.0 + 4.0) * 0x1p-13;
}

static dr_linear *new_linear(side *s, const linear_shape *q, bool eight_bits)
{
    const size_t weights = (size_t)q->in * (size_t)q->out;
    const dr_linear_desc desc = { .name = "layer",
                                  .in = q->in,
                                  .out = q->out,
                                  .eight_bits = eight_bits,
                                  .weight = side_host_vector(s, weights, q->weight_size),
                                  .bias = q->bias ? side_host_vector(s, (size_t)q->out, 1.0f) : NULL };
    dr_linear *linear;
    dr_error err;

    if (dr_linear_create(&linear, s->device, &desc, &err))
        fail_msg("%s", err.text);
    return linear;
}

static void apply(side *s, const linear_shape *q, const dr_linear *linear)
{
    const dr_tensor x = side_tensor_as(s, dr_linear_x_dtype(linear), s->rows, q->h, q->w, q->in, 1.0f);
    const dr_tensor y = side_view(s, s->rows, q->h, q->w, q->out, q->y_beside, 1.0f);
    const dr_tensor other = side_view(s, s->rows, q->h, q->w, q->out, q->y_beside, 1.0f);

    side_run(s, play_dr_apply_linear,
             &(dr_linear_args){ .linear = linear,
                                .x = x,
                                .y = y,
                                .residual = q->residual == SELF    ? &y
                                            : q->residual == OTHER ? &other
                                                                   : NULL });
    side_keep(s, y);
}

static void run_linear(side *s, const void *shape_)
{
    const linear_shape *q = shape_;
    dr_linear *linear = new_linear(s, q, true);

    apply(s, q, linear);
    dr_linear_free(linear);
}

static void linear_layers(void **state)
{
    for (size_t i = 0; i < COUNT(linears); i++) {
        const linear_shape *q = &linears[i];
        char what[128];

        snprintf(what, sizeof(what), "linear %zu in 8 bits, [%d, %d, %d, %d] to %d", i, q->n, q->h, q->w,
                 q->in, q->out);
        side_check(*state, run_linear, q, q->n, linear_tolerance(q), what);
    }
}

/* Calls one layer with more and more rows.  Rows of an earlier call come out the same. */
static void a_linear_layer_has_one_way_to_sum(void **state)
{
    static const linear_shape layers[] = { { .h = 8, .w = 8, .in = 320, .out = 320, .weight_size = 1.0f },
                                           { .h = 8, .w = 8, .in = 1280, .out = 48, .weight_size = 1.0f },
                                           { .h = 4, .w = 4, .in = 64, .out = 512, .weight_size = 1.0f } };
    static const int companies[] = { 1, 2, 3, 5, 16, 17, 40 };
    const side_pair *p = *state;

    for (size_t i = 0; i < COUNT(layers); i++) {
        side weights = side_begin(p->gpu, p->storage, 0, 1), before = { 0 };
        dr_linear *linear = new_linear(&weights, &layers[i], true);

        for (size_t k = 0; k < COUNT(companies); k++) {
            side now = side_begin(p->gpu, p->storage, 0, companies[k]);

            apply(&now, &layers[i], linear);
            if (k > 0)
                side_assert_same_rows(&before, &now, "linear in 8 bits");
            side_end(&before);
            before = now;
        }
        side_end(&before);
        dr_linear_free(linear);
        side_end(&weights);
    }
}

/* Layers that keep 16 bits: cuBLASLt has no 8-bit product of their size, or they are not asked for 8 bits. */
static void other_layers_keep_sixteen_bits(void **state)
{
    static const linear_shape others[] = { { .in = 24, .out = 32 },
                                           { .in = 32, .out = 24 },
                                           { .in = 32, .out = 32 } };
    const side_pair *p = *state;

    for (size_t i = 0; i < COUNT(others); i++) {
        side s = side_begin(p->gpu, p->storage, 0, 1);
        dr_linear *linear = new_linear(&s, &others[i], i < 2);

        assert_int_equal(dr_linear_x_dtype(linear), dr_device_activation_dtype(p->gpu));
        dr_linear_free(linear);
        side_end(&s);
    }
}

/* --- convolutions ---------------------------------------------------------------------------- */

typedef struct conv_shape {
    int n, h, w, in, out;
    float weight_size; /* a size far from 1 has another scale */
    bool bias, row_bias;
    added residual;
} conv_shape;

/* Tiles of 80, 128 and 160 outputs; several rows in one tile, and rows of several tiles; steps that end in
 * the middle of a slice. */
static const conv_shape convs[] = {
    { 3, 5, 3, 64, 160, 1.0f, true, true, OTHER },      { 2, 12, 12, 64, 128, 0.03125f, true, false, SELF },
    { 2, 12, 11, 128, 320, 60.0f, false, true, OTHER }, { 1, 9, 8, 192, 136, 1.0f, true, false, NOTHING },
    { 2, 4, 4, 640, 160, 1.0f, true, true, SELF },
};

/* A tensor core adds 32 products at once, and is said to keep 13 bits behind the first bit of the sum.  After
 * 128 products the sum is added to one in float32.  Each cut loses at most about 2^-13 of sqrt(128) / 3 times
 * a weight.  Many such losses are a random walk.  The tolerance is eight of its standard deviations, beyond
 * the rounding of y. */
static double conv_tolerance(const conv_shape *q)
{
    return 8 * (double)q->weight_size * sqrt(9.0 * q->in / 32.0) * sqrt(128) / 3 * 0x1p-14 + 1e-5;
}

static dr_conv *new_conv(side *s, const conv_shape *q, const dr_conv_desc *other)
{
    dr_conv_desc desc = *other;
    dr_conv *conv;
    dr_error err;

    desc.name = "layer";
    desc.in = q->in;
    desc.out = q->out;
    desc.map_pixels = 1; /* sums of products on the CPU, not Winograd's */
    desc.weight = side_host_vector(s, (size_t)(q->in * q->out * desc.kernel * desc.kernel), q->weight_size);
    desc.bias = q->bias ? side_host_vector(s, (size_t)q->out, 1.0f) : NULL;
    if (dr_conv_create(&conv, s->device, &desc, &err))
        fail_msg("%s", err.text);
    return conv;
}

static void run_conv(side *s, const void *shape_)
{
    enum { ENTRIES = 3, ROWS_MAX = 4 };
    const conv_shape *q = shape_;
    dr_conv *conv = new_conv(s, q, &(dr_conv_desc){ .kernel = 3, .stride = 1, .eight_bits = true });
    const dr_tensor x = side_tensor_as(s, dr_conv_x_dtype(conv), s->rows, q->h, q->w, q->in, 1.0f);
    const dr_tensor y = side_tensor(s, s->rows, q->h, q->w, q->out, 1.0f);
    const dr_tensor other = side_tensor(s, s->rows, q->h, q->w, q->out, 1.0f);
    const float *table = side_vector(s, (size_t)(ENTRIES * q->out), 1.0f);
    int32_t entry[ROWS_MAX] = { 0 };
    dr_row_bias row_bias = { 0 };

    assert_true(dr_device_activation_dtype(s->device) == DR_F32 || dr_conv_x_dtype(conv) == DR_E4M3);
    for (int i = 0; i < s->rows; i++)
        entry[i] = (s->first + i) % ENTRIES;
    if (q->row_bias)
        row_bias = (dr_row_bias){ table, side_upload(s, entry, sizeof(entry)), (size_t)q->out };
    side_run(s, play_dr_conv2d,
             &(dr_conv2d_args){ .conv = conv,
                                .x = x,
                                .y = y,
                                .row_bias = row_bias,
                                .residual = q->residual == SELF    ? &y
                                            : q->residual == OTHER ? &other
                                                                   : NULL });
    side_keep(s, y);
    dr_conv_free(conv);
}

static void convolutions(void **state)
{
    for (size_t i = 0; i < COUNT(convs); i++) {
        const conv_shape *q = &convs[i];
        char what[128];

        snprintf(what, sizeof(what), "convolution %zu in 8 bits, [%d, %d, %d, %d] to %d", i, q->n, q->h, q->w,
                 q->in, q->out);
        side_check(*state, run_conv, q, q->n, conv_tolerance(q), what);
    }
}

/* Convolutions that keep 16 bits: the kernel does not have their size, they are not asked to use 8 bits, or
 * they follow an upsampling. */
static void other_convolutions_keep_sixteen_bits(void **state)
{
    static const struct {
        conv_shape shape;
        dr_conv_desc desc;
    } others[] = {
        { { .in = 96, .out = 128, .weight_size = 1 }, { .kernel = 3, .stride = 1, .eight_bits = true } },
        { { .in = 64, .out = 64, .weight_size = 1 }, { .kernel = 3, .stride = 1, .eight_bits = true } },
        { { .in = 64, .out = 128, .weight_size = 1 }, { .kernel = 3, .stride = 1 } },
        { { .in = 64, .out = 128, .weight_size = 1 },
          { .kernel = 3, .stride = 1, .eight_bits = true, .upsample = true } },
    };
    const side_pair *p = *state;

    for (size_t i = 0; i < COUNT(others); i++) {
        side s = side_begin(p->gpu, p->storage, 0, 1);
        dr_conv *conv = new_conv(&s, &others[i].shape, &others[i].desc);

        assert_int_equal(dr_conv_x_dtype(conv), dr_device_activation_dtype(p->gpu));
        dr_conv_free(conv);
        side_end(&s);
    }
}

/* Tests a device that was opened with 8 bits for convolutions alone. */
static void convolutions_alone(void **state)
{
    static const conv_shape conv_of = { .in = 64, .out = 128, .weight_size = 1 };
    static const linear_shape linear_of = { .in = 64, .out = 128, .weight_size = 1 };
    const side_pair *p = *state;
    dr_device *device;
    dr_linear *linear;
    dr_conv *conv;
    dr_error err;
    side s;

    if (dr_device_open(&device,
                       &(dr_device_options){ .name = "cuda:0", .fp8 = "convolutions", .unchecked = true },
                       &err))
        fail_msg("%s", err.text);
    s = side_begin(device, p->storage, 0, 1);
    linear = new_linear(&s, &linear_of, true);
    conv = new_conv(&s, &conv_of, &(dr_conv_desc){ .kernel = 3, .stride = 1, .eight_bits = true });
    assert_int_equal(dr_linear_x_dtype(linear), dr_device_activation_dtype(device));
    assert_int_equal(dr_conv_x_dtype(conv), DR_E4M3);
    dr_linear_free(linear);
    dr_conv_free(conv);
    side_end(&s);
    dr_device_close(device);
}

/* --- weights ---------------------------------------------------------------------------------- */

enum { SIDE = 16, WEIGHTS = SIDE * SIDE };

/* Finds the weights that the device uses, by one token for each input.  y is bf16, which holds any 8-bit
 * value times any power of two. */
static void weights_that_are_used(dr_device *device, const float *weight, float *used)
{
    dr_tensor x = { .dtype = DR_E4M3, .n = 1, .h = 1, .w = SIDE, .c = SIDE, .ld = SIDE }, y = x;
    uint8_t ones[WEIGHTS] = { 0 };
    uint16_t half[WEIGHTS];
    dr_linear *linear;
    dr_error err;

    for (int i = 0; i < SIDE; i++)
        ones[i * SIDE + i] = dr_e4m3_from_float(1.0f);
    y.dtype = DR_BF16;
    assert_int_equal(dr_device_alloc(&x.data, device, sizeof(ones), &err), DR_OK);
    assert_int_equal(dr_device_alloc(&y.data, device, sizeof(half), &err), DR_OK);
    assert_int_equal(dr_device_upload(device, x.data, ones, sizeof(ones), &err), DR_OK);
    assert_int_equal(
        dr_linear_create(&linear, device,
                         &(dr_linear_desc){
                             .name = "layer", .in = SIDE, .out = SIDE, .eight_bits = true, .weight = weight },
                         &err),
        DR_OK);
    assert_int_equal(dr_linear_x_dtype(linear), DR_E4M3);
    assert_int_equal(dr_linear_bytes(linear), WEIGHTS);
    run_pass(device, play_dr_apply_linear, &(dr_linear_args){ .linear = linear, .x = x, .y = y });
    assert_int_equal(dr_device_download(device, half, y.data, sizeof(half), &err), DR_OK);
    for (int in = 0; in < SIDE; in++)
        for (int out = 0; out < SIDE; out++)
            used[out * SIDE + in] = dr_float_from_bf16(half[in * SIDE + out]);
    dr_linear_free(linear);
    dr_device_free(device, x.data);
    dr_device_free(device, y.data);
}

/* Weights are rounded to four bits, whatever their size, down to 2^-13 of the largest one. */
static void weights_are_rounded_once(void **state)
{
    static const float sizes[] = {
        1e-20f, 1e-3f, 0.4375f, 1.0f, 448.0f, 3e4f
    }; /* two are just the largest */
    const side_pair *p = *state;
    float weight[WEIGHTS], used[WEIGHTS];

    for (size_t k = 0; k < COUNT(sizes); k++) {
        for (int i = 0; i < WEIGHTS; i++)
            weight[i] = sizes[k] * (i % 2 ? -1.0f : 1.0f) *
                        ldexpf(1.0f + (float)(i * 37 % 101) / 128.0f, -1 - i % 13);
        weight[0] = sizes[k];
        weights_that_are_used(p->gpu, weight, used);
        for (int i = 0; i < WEIGHTS; i++)
            if (!(fabsf(used[i] - weight[i]) <= 0x1p-4f * fabsf(weight[i])))
                fail_msg("weight %d of %g is %g, and comes out as %g", i, (double)sizes[k], (double)weight[i],
                         (double)used[i]);
    }
}

/* Broken weights (not finite) stay broken. */
static void weights_that_have_no_scale(void **state)
{
    const side_pair *p = *state;
    float weight[WEIGHTS] = { 0 }, used[WEIGHTS];

    weights_that_are_used(p->gpu, weight, used);
    for (int i = 0; i < WEIGHTS; i++)
        assert_true(used[i] == 0.0f);
    weight[5] = INFINITY;
    weights_that_are_used(p->gpu, weight, used);
    assert_true(isnan(used[5]));
    weight[5] = NAN;
    weight[6] = 1.0f;
    weights_that_are_used(p->gpu, weight, used);
    assert_true(isnan(used[5]) && used[SIDE] == 0.0f);
}

/* --- running ----------------------------------------------------------------------------------- */

/* The weights are tested only where y is bf16, which shows them. */
static int run_storage(const char *name, const char *storage)
{
    side_pair pair = side_pair_open_fp8(storage);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(group_norm, &pair),
        cmocka_unit_test_prestate(layer_norm, &pair),
        cmocka_unit_test_prestate(geglu, &pair),
        cmocka_unit_test_prestate(linear_layers, &pair),
        cmocka_unit_test_prestate(a_linear_layer_has_one_way_to_sum, &pair),
        cmocka_unit_test_prestate(other_layers_keep_sixteen_bits, &pair),
        cmocka_unit_test_prestate(convolutions, &pair),
        cmocka_unit_test_prestate(other_convolutions_keep_sixteen_bits, &pair),
        cmocka_unit_test_prestate(convolutions_alone, &pair),
        cmocka_unit_test_prestate(weights_are_rounded_once, &pair),
        cmocka_unit_test_prestate(weights_that_have_no_scale, &pair),
    };
    const size_t count = strcmp(storage, "bf16") == 0 ? COUNT(tests) : COUNT(tests) - 2;
    const int failed = _cmocka_run_group_tests(name, tests, count, NULL, NULL);

    side_pair_close(&pair);
    return failed;
}

int main(void)
{
    const int absent = machine_begin();

    if (absent)
        return absent;
    return side_has_fp8() ? run_storage("8 bits and f16", "f16") + run_storage("8 bits and bf16", "bf16") : 0;
}

/* Compares convolutions with a loop in double precision, on every instruction set of this machine.  Tests
 * also that the bits of a picture do not depend on the pictures beside it. */
#include "tests/ops/product_support.h"
#include "tests/support/machines.h"

static const machine *on;

enum residual { NONE, SELF, OTHER };

typedef struct shape {
    int n, h, w, in, out, kernel, stride;
    dr_padding padding;
    bool bias, row_bias;
    enum residual residual;
} shape;

static const shape shapes[] = {
    { 1, 1, 1, 1, 1, 3, 1, DR_PAD_AROUND, true, false, NONE },
    { 2, 8, 8, 64, 64, 3, 1, DR_PAD_AROUND, true, true, OTHER },
    { 1, 5, 7, 3, 33, 3, 1, DR_PAD_AROUND, true, false, NONE },
    { 5, 7, 5, 33, 21, 3, 1, DR_PAD_AROUND, false, true, SELF },
    { 3, 9, 4, 21, 4, 3, 1, DR_PAD_AROUND, true, false, OTHER },
    { 1, 33, 2, 7, 64, 3, 1, DR_PAD_AROUND, true, false, SELF },
    { 2, 16, 17, 320, 36, 3, 1, DR_PAD_AROUND, true, true, NONE },
    { 1, 40, 61, 65, 5, 3, 1, DR_PAD_AROUND, true, false, NONE },
    { 3, 6, 11, 100, 96, 3, 1, DR_PAD_AROUND, true, true, SELF },
    { 2, 8, 8, 64, 64, 3, 2, DR_PAD_AROUND, true, false, NONE },
    { 3, 7, 9, 21, 33, 3, 2, DR_PAD_AROUND, true, true, OTHER },
    { 2, 1, 2, 4, 3, 3, 2, DR_PAD_AROUND, false, false, SELF },
    { 2, 8, 10, 33, 21, 3, 2, DR_PAD_RIGHT_BELOW, true, false, NONE },
    { 5, 7, 9, 3, 64, 3, 2, DR_PAD_RIGHT_BELOW, true, true, SELF },
    { 1, 64, 48, 320, 7, 3, 2, DR_PAD_RIGHT_BELOW, true, false, NONE },
    { 3, 5, 6, 21, 33, 1, 1, DR_PAD_AROUND, true, true, OTHER },
    { 2, 16, 16, 320, 64, 1, 1, DR_PAD_AROUND, true, false, SELF },
    { 2, 5, 6, 7, 21, 1, 2, DR_PAD_AROUND, true, false, NONE },
};

enum { SHAPES = sizeof(shapes) / sizeof(shapes[0]) };

static void convolve(dr_pass *p, const void *args)
{
    dr_conv2d(p, args);
}

static int side(const shape *s, int in)
{
    const int pads = s->padding == DR_PAD_AROUND ? s->kernel / 2 * 2 : 1;

    return (in + pads - s->kernel) / s->stride + 1;
}

static size_t pixels(const shape *s)
{
    return (size_t)s->n * (size_t)side(s, s->h) * (size_t)side(s, s->w);
}

/* A Winograd transform amplifies the roundings of a direct sum, by less than four. */
static double tolerance(dr_isa isa, const shape *s)
{
    return (s->kernel == 3 && s->stride == 1 ? 4 : 1) * sum_tolerance(isa, s->in * s->kernel * s->kernel);
}

static double naive(const shape *s, const float *x, const float *weight, int n, int y, int col, int j)
{
    const int before = s->padding == DR_PAD_AROUND ? s->kernel / 2 : 0;
    double sum = 0;

    for (int dy = 0; dy < s->kernel; dy++)
        for (int dx = 0; dx < s->kernel; dx++) {
            const int yi = y * s->stride + dy - before, xi = col * s->stride + dx - before;
            const float *pixel = x + (((ptrdiff_t)n * s->h + yi) * s->w + xi) * s->in;

            if (yi < 0 || yi >= s->h || xi < 0 || xi >= s->w)
                continue;
            for (int k = 0; k < s->in; k++)
                sum += (double)pixel[k] * (double)weight[((j * s->in + k) * s->kernel + dy) * s->kernel + dx];
        }
    return sum;
}

static dr_conv_desc desc_of(const shape *s, const float *weight, const float *bias, int map_pixels)
{
    return (dr_conv_desc){ .name = "test",
                           .in = s->in,
                           .out = s->out,
                           .kernel = s->kernel,
                           .stride = s->stride,
                           .padding = s->padding,
                           .map_pixels = map_pixels,
                           .weight = weight,
                           .bias = bias };
}

static dr_conv *new_conv(dr_device *device, const dr_conv_desc *desc)
{
    dr_conv *conv;
    dr_error err;

    assert_int_equal(dr_conv_create(&conv, device, desc, &err), DR_OK);
    return conv;
}

static dr_conv *conv_of(dr_device *device, const shape *s, const float *weight, const float *bias,
                        int map_pixels)
{
    const dr_conv_desc desc = desc_of(s, weight, bias, map_pixels);

    return new_conv(device, &desc);
}

static void one_shape(dr_device *device, dr_isa isa, const shape *s, int map_pixels, uint32_t seed)
{
    const int h = side(s, s->h), w = side(s, s->w);
    const size_t count = pixels(s) * (size_t)s->out;
    float *x = random_floats((size_t)s->n * (size_t)s->h * (size_t)s->w * (size_t)s->in, seed);
    float *y = random_floats(count, seed + 1), *before = random_floats(count, seed + 1);
    float *other = random_floats(count, seed + 2);
    float *weight = random_floats((size_t)(s->in * s->out * s->kernel * s->kernel), seed + 3);
    float *bias = random_floats((size_t)s->out, seed + 4);
    float *table = random_floats(3 * (size_t)(s->out + 5), seed + 5);
    const int32_t index[5] = { 2, 0, 1, 1, 2 };
    dr_conv *conv = conv_of(device, s, weight, s->bias ? bias : NULL, map_pixels);
    dr_conv2d_args a = { .conv = conv };
    dr_tensor self, view;

    a.x = tensor_of(x, s->n, s->h, s->w, s->in, s->in);
    a.y = self = tensor_of(y, s->n, h, w, s->out, s->out);
    view = tensor_of(other, s->n, h, w, s->out, s->out);
    a.residual = s->residual == NONE ? NULL : s->residual == SELF ? &self : &view;
    if (s->row_bias)
        a.row_bias = (dr_row_bias){ .table = table, .index = index, .stride = (size_t)s->out + 5 };
    plan_and_run(device, convolve, &a);

    for (size_t at = 0; at < count; at++) {
        const int j = (int)(at % (size_t)s->out), pixel = (int)(at / (size_t)s->out);
        const int n = pixel / (h * w), row = pixel / w % h, col = pixel % w;
        double want = naive(s, x, weight, n, row, col, j) + (s->bias ? (double)bias[j] : 0);

        want += s->row_bias ? (double)table[index[n] * (s->out + 5) + j] : 0;
        want += s->residual == SELF ? (double)before[at] : s->residual == OTHER ? (double)other[at] : 0;
        if (!(fabs(want - (double)y[at]) <= tolerance(isa, s)))
            fail_msg("shape %zu, image %d (%d, %d) channel %d: %g, not %g", (size_t)(s - shapes), n, row, col,
                     j, (double)y[at], want);
    }
    dr_conv_free(conv);
    free(x), free(y), free(before), free(other), free(weight), free(bias), free(table);
}

/* map_pixels chooses the algorithm: direct sums, Winograd's with weights transformed at every call (where
 * there are more than a megabyte of them), and with transformed weights. */
static const int maps[] = { 1, 4 * 4, 1 << 20 };

enum { MAPS = sizeof(maps) / sizeof(maps[0]) };

static void equals_a_naive_loop(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < SHAPES; i++)
        for (int m = 0; m < MAPS; m++)
            one_shape(on->device, on->isa, &shapes[i], maps[m], 100 * i);
}

static void one_batch(dr_device *device, dr_device *single, const shape *s, int map_pixels)
{
    enum { ALL = 6 };
    const size_t in = (size_t)(s->h * s->w * s->in), out = (size_t)(side(s, s->h) * side(s, s->w) * s->out);
    float *x = random_floats(in * ALL, 1), *all = random_floats(out * ALL, 2),
          *some = random_floats(out * ALL, 3);
    float *weight = random_floats((size_t)(s->in * s->out * s->kernel * s->kernel), 4);
    dr_conv *conv[2] = { conv_of(device, s, weight, NULL, map_pixels),
                         conv_of(single, s, weight, NULL, map_pixels) };
    dr_conv2d_args a = { .conv = conv[0] };

    a.x = tensor_of(x, ALL, s->h, s->w, s->in, s->in);
    a.y = tensor_of(all, ALL, side(s, s->h), side(s, s->w), s->out, s->out);
    plan_and_run(device, convolve, &a);
    for (int n = 1; n < ALL; n++)
        for (int first = 0; first + n <= ALL; first += 2) {
            a.conv = conv[n % 2];
            a.x = tensor_of(x + (size_t)first * in, n, s->h, s->w, s->in, s->in);
            a.y = tensor_of(some, n, side(s, s->h), side(s, s->w), s->out, s->out);
            plan_and_run(n % 2 ? single : device, convolve, &a);
            assert_memory_equal(some, all + (size_t)first * out, (size_t)n * out * sizeof(float));
        }
    dr_conv_free(conv[0]);
    dr_conv_free(conv[1]);
    free(x), free(all), free(some), free(weight);
}

static void bits_of_a_picture_do_not_depend_on_the_others(void **state)
{
    (void)state;
    dr_device *single = open_device(on->isa, 1);

    for (uint32_t i = 0; i < SHAPES; i++)
        for (int m = 0; m < MAPS; m++)
            one_batch(on->device, single, &shapes[i], maps[m]);
    dr_device_close(single);
}

/* --- after an upsampling ------------------------------------------------------------------------ */

/* Returns y, whose pixel (i, j) is pixel (i / 2, j / 2) of x.  x has (h + 1) / 2 lines and (w + 1) / 2
 * columns.  free() the result. */
static float *doubled(const float *x, const shape *s)
{
    const int x_h = (s->h + 1) / 2, x_w = (s->w + 1) / 2;
    float *y = malloc((size_t)(s->n * s->h * s->w * s->in) * sizeof(*y));

    assert_non_null(y);
    for (int at = 0; at < s->n * s->h * s->w * s->in; at++) {
        const int c = at % s->in, pixel = at / s->in;
        const int n = pixel / (s->h * s->w), i = pixel / s->w % s->h / 2, j = pixel % s->w / 2;

        y[at] = x[((n * x_h + i) * x_w + j) * s->in + c];
    }
    return y;
}

static void one_upsampling(dr_device *device, const shape *s, int map_pixels)
{
    const int x_h = (s->h + 1) / 2, x_w = (s->w + 1) / 2;
    const size_t count = pixels(s) * (size_t)s->out;
    float *x = random_floats((size_t)(s->n * x_h * x_w * s->in), 1), *wide = doubled(x, s);
    float *y = random_floats(count, 2), *want = random_floats(count, 2), *other = random_floats(count, 3);
    float *weight = random_floats((size_t)(s->in * s->out * 9), 4), *bias = random_floats((size_t)s->out, 5);
    float *table = random_floats(3 * (size_t)s->out, 6);
    const int32_t index[5] = { 2, 0, 1, 1, 2 };
    const dr_tensor residual = tensor_of(other, s->n, s->h, s->w, s->out, s->out);
    dr_conv_desc desc = desc_of(s, weight, bias, map_pixels);
    dr_conv *plain = new_conv(device, &desc), *upsampling;
    dr_conv2d_args a = { .conv = plain,
                         .x = tensor_of(wide, s->n, s->h, s->w, s->in, s->in),
                         .y = tensor_of(want, s->n, s->h, s->w, s->out, s->out),
                         .row_bias = { table, index, (size_t)s->out },
                         .residual = &residual };

    desc.upsample = true;
    upsampling = new_conv(device, &desc);
    plan_and_run(device, convolve, &a);
    a.conv = upsampling;
    a.x = tensor_of(x, s->n, x_h, x_w, s->in, s->in);
    a.y.data = y;
    plan_and_run(device, convolve, &a);
    assert_memory_equal(y, want, count * sizeof(*y));
    dr_conv_free(plain);
    dr_conv_free(upsampling);
    free(x), free(wide), free(y), free(want), free(other), free(weight), free(bias), free(table);
}

static void upsampling_is_doubling_before(void **state)
{
    /* h and w of y */
    static const shape upsamplings[] = {
        { 1, 1, 1, 1, 1, 3, 1, DR_PAD_AROUND, true, true, OTHER },
        { 2, 2, 2, 5, 7, 3, 1, DR_PAD_AROUND, true, true, OTHER },
        { 2, 8, 12, 33, 64, 3, 1, DR_PAD_AROUND, true, true, OTHER },
        { 3, 7, 10, 21, 33, 3, 1, DR_PAD_AROUND, true, true, OTHER },
        { 2, 16, 9, 64, 36, 3, 1, DR_PAD_AROUND, true, true, OTHER },
        { 5, 5, 7, 40, 40, 3, 1, DR_PAD_AROUND, true, true, OTHER },
    };
    (void)state;

    for (size_t i = 0; i < sizeof(upsamplings) / sizeof(upsamplings[0]); i++)
        for (int m = 0; m < MAPS; m++)
            one_upsampling(on->device, &upsamplings[i], maps[m]);
}

/* --- memory ------------------------------------------------------------------------------------- */

/* Winograd's weights take four times the memory.  A narrow layer on a large map gets them.  A small map, a
 * wide layer (11 MiB of them) and AMX do not. */
static void memory_follows_the_rule(void **state)
{
    static const struct {
        int channels, map_pixels;
        bool stored;
    } cases[] = { { 64, 2 * 2, false }, { 64, 64 * 64, true }, { 288, 64 * 64, false } };
    float *weight = random_floats(9 * 288 * 288, 1);
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const int channels = cases[i].channels;
        const shape s = { 1, 64, 64, channels, channels, 3, 1, DR_PAD_AROUND, false, false, NONE };
        const size_t direct = 9 * (size_t)(channels * channels) * sizeof(float);
        const size_t want = cases[i].stored && on->isa != DR_ISA_AMX ? 4 * direct : direct;
        dr_conv *conv = conv_of(on->device, &s, weight, NULL, cases[i].map_pixels);

        assert_in_range(dr_conv_bytes(conv), want, want + 4096 /* bias, padding */);
        dr_conv_free(conv);
    }
    free(weight);
}

static int run(const machine *m)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_a_naive_loop),
        cmocka_unit_test(bits_of_a_picture_do_not_depend_on_the_others),
        cmocka_unit_test(upsampling_is_doubling_before),
        cmocka_unit_test(memory_follows_the_rule),
    };

    on = m;
    return cmocka_run_group_tests_name(m->name, tests, NULL, NULL);
}

int main(void)
{
    return on_each_machine(run);
}

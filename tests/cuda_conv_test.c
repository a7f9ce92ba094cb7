/* The CUDA convolution, on the host, against the CPU backend's convolutions and linear layers; and the bits of
 * a row, which must not depend on other rows, on the tile, or on how x is read. */
#include "tests/cuda_operator.h"

enum residual { NONE, SELF, OTHER };

typedef struct shape {
    int n, h, w, in, out, kernel, stride;
    dr_padding padding;
    bool bias, row_bias;
    enum residual residual;
} shape;

static const shape shapes[] = {
    /* values one by one, and few outputs */
    { 1, 1, 1, 1, 1, 3, 1, DR_PAD_AROUND, true, false, NONE },
    { 1, 5, 7, 3, 33, 3, 1, DR_PAD_AROUND, true, false, NONE },
    { 2, 5, 9, 7, 21, 3, 2, DR_PAD_RIGHT_BELOW, true, true, SELF },
    { 2, 5, 6, 7, 21, 1, 2, DR_PAD_AROUND, true, false, NONE },
    /* ... and small tiles: conv_in of the UNet, of inpainting, of the encoder */
    { 2, 8, 7, 4, 72, 3, 1, DR_PAD_AROUND, true, false, NONE },
    { 1, 12, 11, 9, 320, 3, 1, DR_PAD_AROUND, true, false, NONE },
    { 1, 16, 12, 3, 128, 3, 1, DR_PAD_AROUND, true, false, NONE },
    { 5, 7, 5, 33, 36, 3, 1, DR_PAD_AROUND, false, true, SELF },
    /* chunks, and few outputs: conv_out */
    { 2, 10, 13, 24, 4, 3, 1, DR_PAD_AROUND, true, true, OTHER },
    { 1, 9, 5, 128, 3, 3, 1, DR_PAD_AROUND, true, false, NONE },
    { 1, 5, 5, 8, 32, 3, 1, DR_PAD_AROUND, true, false, SELF },
    /* ... and small tiles; several rows in one */
    { 2, 8, 8, 64, 64, 3, 1, DR_PAD_AROUND, true, true, OTHER },
    { 5, 2, 3, 8, 48, 3, 1, DR_PAD_AROUND, true, true, SELF },
    { 3, 9, 7, 40, 72, 3, 2, DR_PAD_AROUND, true, true, OTHER },
    { 2, 10, 8, 16, 96, 3, 2, DR_PAD_RIGHT_BELOW, true, false, NONE },
    { 2, 5, 6, 24, 40, 1, 2, DR_PAD_AROUND, false, false, NONE },
    { 24, 8, 8, 8, 136, 1, 1, DR_PAD_AROUND, true, true, OTHER }, /* three groups of tiles */
    /* ... and square ones */
    { 2, 13, 10, 40, 256, 3, 1, DR_PAD_AROUND, true, true, OTHER },
    { 1, 25, 23, 16, 172, 3, 2, DR_PAD_AROUND, true, false, SELF }, /* y's rows are not aligned */
    { 1, 24, 23, 16, 168, 3, 2, DR_PAD_RIGHT_BELOW, true, false, SELF },
    /* ... and wide ones */
    { 2, 12, 11, 64, 160, 3, 1, DR_PAD_AROUND, true, true, SELF },
    { 1, 16, 17, 8, 320, 3, 1, DR_PAD_AROUND, false, false, NONE },
    { 1, 9, 15, 72, 160, 1, 1, DR_PAD_AROUND, true, true, OTHER },
};

static const dr_dtype dtypes[] = { DR_F16, DR_BF16 };

enum { TABLE_ROWS = 3 };
static const int32_t row_index[] = { 2, 0, 1, 1, 2, 0, 0, 1, 2, 2, 1, 0, 2, 0, 1, 1, 2, 0, 0, 1, 2, 2, 1, 0 };

typedef struct problem {
    dr_dtype dtype;
    dr_tensor x, y, residual, weight, bias, table; /* float32; stored ones as the dtype left them */
    dr_tensor *residual_or_null;
    void *stored_x, *stored_y, *stored_residual, *packed;
    dr_cuda_conv_args args; /* of the whole batch */
} problem;

/* Beyond the rounding of the result, for sums of k products of values in [-1, 1): about sqrt(k) / 3 each.  Both
 * sides' errors are random walks of k roundings of the partial sums: six standard deviations of the two
 * together.  Then a few roundings of values below 8, for what is added, and 16-bit subnormals. */
static double tolerance(int k)
{
    return 6 * sqrt(2) * 0x1p-24 * sqrt(k) * (sqrt(k) / 3) + 0x1p-19;
}

static int side(const shape *s, int pixels)
{
    return s->padding == DR_PAD_RIGHT_BELOW ? pixels / s->stride : (pixels + s->stride - 1) / s->stride;
}

static void *packed_weights(dr_dtype dtype, const dr_tensor *weight, int in, int out, int kernel)
{
    void *packed = new_stored(dtype, (size_t)out * (size_t)dr_cuda_conv_weight_ld(in, kernel));

    dr_cuda_conv_pack(dtype, packed, weight->data, in, out, kernel);
    return packed;
}

static problem new_problem(const shape *s, dr_dtype dtype)
{
    const int h = side(s, s->h), w = side(s, s->w), pad = s->in % 2 ? 5 : (4 - s->out % 4) % 4;
    problem p = {
        .dtype = dtype,
        .x = random_tensor(s->n, s->h, s->w, s->in, 1),
        .y = new_tensor(s->n, h, w, s->out),
        .residual = random_tensor(s->n, h, w, s->out, 2),
        .weight = random_tensor(s->out, s->in, s->kernel, s->kernel, 3),
        .bias = random_tensor(1, 1, 1, s->out, 4),
        .table = random_tensor(1, 1, TABLE_ROWS, s->out + pad, 5), /* its entries are aligned, or not */
    };

    p.stored_x = store_tensor(dtype, &p.x);
    p.stored_residual = store_tensor(dtype, &p.residual);
    p.stored_y =
        s->residual == SELF ? store_tensor(dtype, &p.residual) : new_stored(dtype, tensor_values(&p.y));
    free(store_tensor(dtype, &p.weight));
    p.packed = packed_weights(dtype, &p.weight, s->in, s->out, s->kernel);
    p.args = (dr_cuda_conv_args){
        .dtype = dtype,
        .y_dtype = dtype,
        .x = p.stored_x,
        .weight = p.packed,
        .bias = s->bias ? p.bias.data : NULL,
        .row_table = s->row_bias ? p.table.data : NULL,
        .row_index = row_index,
        .row_stride = (size_t)p.table.c,
        .residual = s->residual == NONE   ? NULL
                    : s->residual == SELF ? p.stored_y
                                          : p.stored_residual,
        .y = p.stored_y,
        .x_ld = s->in,
        .y_ld = s->out,
        .residual_ld = s->out,
        .n = s->n,
        .x_h = s->h,
        .x_w = s->w,
        .y_h = h,
        .y_w = w,
        .in = s->in,
        .out = s->out,
        .kernel = s->kernel,
        .stride = s->stride,
        .before = s->padding == DR_PAD_AROUND ? s->kernel / 2 : 0,
    };
    return p;
}

static void free_problem(problem *p)
{
    free(p->x.data), free(p->y.data), free(p->residual.data);
    free(p->weight.data), free(p->bias.data), free(p->table.data);
    free(p->stored_x), free(p->stored_y), free(p->stored_residual), free(p->packed);
}

static void convolve(const dr_cuda_conv_args *a)
{
    dr_cuda_conv(NULL, a);
    assert_shim_is_content();
}

/* The CPU's answer, in p->y. */
static void convolve_on_cpu(dr_device *cpu, const problem *p, const shape *s)
{
    const dr_conv_desc desc = {
        .name = "test",
        .in = s->in,
        .out = s->out,
        .kernel = s->kernel,
        .stride = s->stride,
        .padding = s->padding,
        .map_pixels = 1, /* sums of products, not Winograd's */
        .weight = p->weight.data,
        .bias = s->bias ? p->bias.data : NULL,
    };
    dr_conv2d_args a = { .x = p->x, .y = p->y, .residual = s->residual == NONE ? NULL : &p->residual };
    dr_conv *conv;
    dr_error err;

    assert_int_equal(dr_conv_create(&conv, cpu, &desc, &err), DR_OK);
    a.conv = conv;
    if (s->row_bias)
        a.row_bias = (dr_row_bias){ p->table.data, row_index, (size_t)p->table.c };
    OPERATE(cpu, dr_conv2d, &a);
    dr_conv_free(conv);
}

static void check(const problem *p, const shape *s)
{
    const double error = worst_error(p->dtype, p->stored_y, &p->y);
    const double allowed = tolerance(s->in * s->kernel * s->kernel);

    if (!(error <= allowed))
        fail_msg("%s, kernel %d, stride %d, [%d, %d, %d, %d] to %d: off by %g, allowed %g",
                 dtype_name(p->dtype), s->kernel, s->stride, s->n, s->h, s->w, s->in, s->out, error, allowed);
}

/* Each row alone against the same row in the batch. */
static void check_rows(const problem *p, const shape *s)
{
    const size_t values = tensor_values(&p->y) / (size_t)s->n, bytes = values * dr_dtype_bytes(p->dtype);
    dr_cuda_conv_args a = p->args;

    a.n = 1;
    for (int n = 0; n < s->n; n++) {
        void *alone = new_stored(p->dtype, values);

        memcpy(alone, stored_at(p->dtype, p->stored_residual, (size_t)n * values), bytes);
        a.x = stored_at(p->dtype, p->stored_x, (size_t)(n * s->h * s->w * s->in));
        a.row_index = row_index + n;
        a.y = alone;
        if (s->residual == SELF)
            a.residual = alone;
        else if (s->residual == OTHER)
            a.residual = stored_at(p->dtype, p->stored_residual, (size_t)n * values);
        convolve(&a);
        assert_memory_equal(alone, stored_at(p->dtype, p->stored_y, (size_t)n * values), bytes);
        free(alone);
    }
}

static void agrees_with_cpu(void **state)
{
    for (size_t i = 0; i < COUNT(shapes); i++)
        for (size_t d = 0; d < COUNT(dtypes); d++) {
            problem p = new_problem(&shapes[i], dtypes[d]);

            shim_seed(i);
            convolve(&p.args);
            convolve_on_cpu(*state, &p, &shapes[i]);
            check(&p, &shapes[i]);
            check_rows(&p, &shapes[i]);
            free_problem(&p);
        }
}

/* --- linear layers ------------------------------------------------------------------------------ */

typedef struct linear_shape {
    int tokens, in, out;
    dr_activation activation;
    bool residual, y_float;
    int gap; /* values between the rows of x, y and residual */
} linear_shape;

static const linear_shape linear_shapes[] = {
    { 1, 1, 1, DR_ACT_NONE, false, false, 0 },         { 3, 320, 64, DR_ACT_SILU, false, false, 0 },
    { 77, 48, 72, DR_ACT_QUICK_GELU, true, false, 8 }, { 130, 40, 160, DR_ACT_NONE, true, false, 16 },
    { 128, 64, 136, DR_ACT_GELU, true, true, 4 },      { 129, 21, 33, DR_ACT_NONE, true, false, 3 },
    { 5, 8, 17, DR_ACT_SILU, true, true, 1 },          { 2, 72, 96, DR_ACT_NONE, false, true, 0 },
};

/* Values of [tokens, c] as rows of a wider tensor; NaN between them. */
static void *stored_view(dr_dtype dtype, const dr_tensor *t, int gap)
{
    const size_t c = (size_t)t->c, ld = c + (size_t)gap;
    void *dense = stored_from(dtype, t->data, tensor_values(t));
    void *view = new_stored(dtype, (size_t)t->w * ld);

    for (size_t i = 0; i < (size_t)t->w; i++)
        memcpy(stored_at(dtype, view, i * ld), stored_at(dtype, dense, i * c), c * dr_dtype_bytes(dtype));
    free(dense);
    return view;
}

/* The view's values, dense; what lies between them is as it was. */
static void *dense_from(dr_dtype dtype, void *view, const dr_tensor *t, int gap)
{
    const size_t c = (size_t)t->c, ld = c + (size_t)gap;
    void *dense = new_stored(dtype, tensor_values(t));

    for (size_t i = 0; i < (size_t)t->w; i++) {
        const unsigned char *between = (const unsigned char *)stored_at(dtype, view, i * ld + c);

        memcpy(stored_at(dtype, dense, i * c), stored_at(dtype, view, i * ld), c * dr_dtype_bytes(dtype));
        for (size_t j = 0; j < (size_t)gap * dr_dtype_bytes(dtype); j++)
            assert_int_equal(between[j], 0xff);
    }
    return dense;
}

static void apply_on_cpu(dr_device *cpu, const linear_shape *s, const dr_tensor *weight,
                         const dr_tensor *bias, const dr_linear_args *args)
{
    const dr_linear_desc desc = {
        .name = "test", .in = s->in, .out = s->out, .weight = weight->data, .bias = bias->data
    };
    dr_linear_args a = *args;
    dr_linear *linear;
    dr_error err;

    assert_int_equal(dr_linear_create(&linear, cpu, &desc, &err), DR_OK);
    a.linear = linear;
    OPERATE(cpu, dr_apply_linear, &a);
    dr_linear_free(linear);
}

static void one_linear(dr_device *cpu, const linear_shape *s, dr_dtype dtype)
{
    const dr_dtype y_dtype = s->y_float ? DR_F32 : dtype;
    dr_tensor x = random_tensor(1, 1, s->tokens, s->in, 1), y = new_tensor(1, 1, s->tokens, s->out);
    dr_tensor residual = random_tensor(1, 1, s->tokens, s->out, 2),
              weight = random_tensor(1, 1, s->out, s->in, 3);
    dr_tensor bias = random_tensor(1, 1, 1, s->out, 4);
    void *dense, *packed, *stored_x, *stored_y, *stored_residual;

    free(store_tensor(dtype, &x));
    free(store_tensor(y_dtype, &residual));
    free(store_tensor(dtype, &weight));
    packed = packed_weights(dtype, &weight, s->in, s->out, 1);
    stored_x = stored_view(dtype, &x, s->gap);
    stored_residual = stored_view(y_dtype, &residual, s->gap);
    stored_y = new_stored(y_dtype, (size_t)(s->tokens * (s->out + s->gap)));
    convolve(&(dr_cuda_conv_args){
        .dtype = dtype,
        .y_dtype = y_dtype,
        .x = stored_x,
        .weight = packed,
        .bias = bias.data,
        .residual = s->residual ? stored_residual : NULL,
        .y = stored_y,
        .x_ld = s->in + s->gap,
        .y_ld = s->out + s->gap,
        .residual_ld = s->out + s->gap,
        .n = 1,
        .x_h = 1,
        .x_w = s->tokens,
        .y_h = 1,
        .y_w = s->tokens,
        .in = s->in,
        .out = s->out,
        .kernel = 1,
        .stride = 1,
        .activation = s->activation,
    });
    apply_on_cpu(cpu, s, &weight, &bias,
                 &(dr_linear_args){ .x = x,
                                    .y = y,
                                    .activation = s->activation,
                                    .residual = s->residual ? &residual : NULL });
    dense = dense_from(y_dtype, stored_y, &y, s->gap);
    const double error = worst_error(y_dtype, dense, &y);

    if (!(error <= tolerance(s->in)))
        fail_msg("%s, %d tokens, %d to %d: off by %g, allowed %g", dtype_name(dtype), s->tokens, s->in,
                 s->out, error, tolerance(s->in));
    free(x.data), free(y.data), free(residual.data), free(weight.data), free(bias.data);
    free(dense), free(packed), free(stored_x), free(stored_y), free(stored_residual);
}

static void linear_agrees_with_cpu(void **state)
{
    for (size_t i = 0; i < COUNT(linear_shapes); i++)
        for (size_t d = 0; d < COUNT(dtypes); d++) {
            shim_seed(i);
            one_linear(*state, &linear_shapes[i], dtypes[d]);
        }
}

/* --- the same bits, another way ------------------------------------------------------------------ */

/* Folded into the addresses, or done before. */
static void upsampling_is_only_addresses(void **state)
{
    static const struct {
        int n, x_h, x_w, y_h, y_w, in, out;
    } maps[] = { { 2, 3, 5, 6, 10, 24, 40 }, { 1, 6, 7, 11, 14, 16, 160 }, { 2, 4, 3, 7, 5, 5, 12 } };

    (void)state;
    for (size_t i = 0; i < COUNT(maps); i++) {
        const shape s = { maps[i].n, maps[i].y_h,   maps[i].y_w, maps[i].in, maps[i].out, 3,
                          1,         DR_PAD_AROUND, true,        true,       OTHER };
        problem p = new_problem(&s, DR_F16);
        dr_tensor small = random_tensor(maps[i].n, maps[i].x_h, maps[i].x_w, maps[i].in, 9);
        void *stored_small = store_tensor(DR_F16, &small), *y = new_stored(DR_F16, tensor_values(&p.y));
        dr_cuda_conv_args a = p.args;

        shim_seed(i);
        dr_cuda_upsample(NULL, &(dr_cuda_upsample_args){ .dtype = DR_F16,
                                                         .x = stored_small,
                                                         .y = p.stored_x,
                                                         .n = small.n,
                                                         .x_h = small.h,
                                                         .x_w = small.w,
                                                         .y_h = s.h,
                                                         .y_w = s.w,
                                                         .c = s.in });
        convolve(&p.args);
        a.x = stored_small;
        a.x_h = small.h;
        a.x_w = small.w;
        a.upsample = true;
        a.y = y;
        convolve(&a);
        assert_memory_equal(y, p.stored_y, tensor_values(&p.y) * sizeof(uint16_t));
        free(small.data), free(stored_small), free(y);
        free_problem(&p);
    }
}

/* Two rows of 64 tokens in small tiles, the same tokens as one row in wide ones, and x unaligned. */
static void tiles_and_loads_change_no_bits(void **state)
{
    const shape s = { 2, 8, 8, 72, 160, 1, 1, DR_PAD_AROUND, true, false, OTHER };
    const size_t x_values = 2 * 64 * 72, y_values = 2 * 64 * 160;

    (void)state;
    for (size_t d = 0; d < COUNT(dtypes); d++) {
        problem p = new_problem(&s, dtypes[d]);
        void *unaligned = new_stored(dtypes[d], x_values + 1), *y = new_stored(dtypes[d], y_values);
        dr_cuda_conv_args a = p.args;

        shim_seed(d);
        convolve(&p.args);
        a.n = 1;
        a.x_h = a.y_h = 16;
        a.y = y;
        convolve(&a);
        assert_memory_equal(y, p.stored_y, y_values * sizeof(uint16_t));
        memset(y, 0xff, y_values * sizeof(uint16_t));
        a.x = memcpy(stored_at(dtypes[d], unaligned, 1), p.stored_x, x_values * sizeof(uint16_t));
        convolve(&a);
        assert_memory_equal(y, p.stored_y, y_values * sizeof(uint16_t));
        free(unaligned), free(y);
        free_problem(&p);
    }
}

/* Not a number reaches the pixels whose window it is in, no other: not by the zeros around x, and not by those
 * that fill the last step of K. */
static void nan_stays_under_the_kernel(void **state)
{
    static const shape windows[] = { { 2, 6, 9, 8, 40, 3, 1, DR_PAD_AROUND, true, false, NONE },
                                     { 2, 6, 9, 5, 40, 3, 1, DR_PAD_AROUND, true, false, NONE },
                                     { 2, 6, 9, 8, 40, 1, 1, DR_PAD_AROUND, true, false, NONE } };

    (void)state;
    for (size_t i = 0; i < COUNT(windows); i++) {
        const shape *s = &windows[i];
        problem p = new_problem(s, DR_BF16);

        for (int c = 0; c < s->in; c++) /* row 0, (3, 8): at the right edge */
            ((uint16_t *)p.stored_x)[(3 * 9 + 8) * s->in + c] = 0x7fc0;
        shim_seed(i);
        convolve(&p.args);
        for (int at = 0; at < 2 * 6 * 9 * s->out; at++) {
            const int pixel = at / s->out, n = pixel / 54, y = pixel / 9 % 6, x = pixel % 9;
            const bool under = n == 0 && abs(y - 3) <= s->kernel / 2 && abs(x - 8) <= s->kernel / 2;

            assert_int_equal(isnan(stored_value(DR_BF16, p.stored_y, (size_t)at)) != 0, under);
        }
        free_problem(&p);
    }
}

static void nothing_is_legal(void **state)
{
    const shape s = { 1, 4, 4, 8, 8, 3, 1, DR_PAD_AROUND, true, false, NONE };
    problem p = new_problem(&s, DR_F16);

    (void)state;
    shim_seed(0);
    p.args.n = 0;
    p.args.x = p.args.y = NULL;
    convolve(&p.args);
    free_problem(&p);
}

int main(void)
{
    RUN_WITH_CPU("cuda conv", cmocka_unit_test_prestate(agrees_with_cpu, device),
                 cmocka_unit_test_prestate(linear_agrees_with_cpu, device),
                 cmocka_unit_test_prestate(upsampling_is_only_addresses, device),
                 cmocka_unit_test_prestate(tiles_and_loads_change_no_bits, device),
                 cmocka_unit_test_prestate(nan_stays_under_the_kernel, device),
                 cmocka_unit_test_prestate(nothing_is_legal, device));
}

/* Compares the CUDA convolution, run on the host, with the CPU backend's convolutions and linear layers.
 * Tests also that the bits of a row do not depend on other rows, on the tile, or on how x is read. */
#include "tests/kernels/cuda_operator.h"

enum residual { NONE, SELF, OTHER };

typedef struct shape {
    int n, h, w, in, out, kernel, stride; /* h, w: of what the kernel slides over, x or the doubled x */
    dr_padding padding;
    bool bias, row_bias;
    enum residual residual;
    bool upsample;
} shape;

static const shape shapes[] = {
    /* values one by one, and few outputs */
    { 1, 1, 1, 1, 1, 3, 1, DR_PAD_AROUND, true, false, NONE, false },
    { 1, 5, 7, 3, 33, 3, 1, DR_PAD_AROUND, true, false, NONE, false },
    { 2, 5, 9, 7, 21, 3, 2, DR_PAD_RIGHT_BELOW, true, true, SELF, false },
    { 2, 5, 6, 7, 21, 1, 2, DR_PAD_AROUND, true, false, NONE, false },
    /* ... and small tiles: conv_in of the UNet, of inpainting, of the encoder */
    { 2, 8, 7, 4, 72, 3, 1, DR_PAD_AROUND, true, false, NONE, false },
    { 1, 12, 11, 9, 320, 3, 1, DR_PAD_AROUND, true, false, NONE, false },
    { 1, 16, 12, 3, 128, 3, 1, DR_PAD_AROUND, true, false, NONE, false },
    { 5, 7, 5, 33, 36, 3, 1, DR_PAD_AROUND, false, true, SELF, false },
    /* chunks, and few outputs: conv_out */
    { 2, 10, 13, 24, 4, 3, 1, DR_PAD_AROUND, true, true, OTHER, false },
    { 1, 9, 5, 128, 3, 3, 1, DR_PAD_AROUND, true, false, NONE, false },
    { 1, 5, 5, 8, 32, 3, 1, DR_PAD_AROUND, true, false, SELF, false },
    /* ... and small tiles; several rows in one */
    { 2, 8, 8, 64, 64, 3, 1, DR_PAD_AROUND, true, true, OTHER, false },
    { 5, 2, 3, 8, 48, 3, 1, DR_PAD_AROUND, true, true, SELF, false },
    { 3, 9, 7, 40, 72, 3, 2, DR_PAD_AROUND, true, true, OTHER, false },
    { 2, 10, 8, 16, 96, 3, 2, DR_PAD_RIGHT_BELOW, true, false, NONE, false },
    { 2, 5, 6, 24, 40, 1, 2, DR_PAD_AROUND, false, false, NONE, false },
    { 24, 8, 8, 8, 136, 1, 1, DR_PAD_AROUND, true, true, OTHER, false }, /* three groups of tiles */
    /* ... and square ones */
    { 2, 13, 10, 40, 256, 3, 1, DR_PAD_AROUND, true, true, OTHER, false },
    { 1, 25, 23, 16, 172, 3, 2, DR_PAD_AROUND, true, false, SELF, false }, /* y's rows are not aligned */
    { 1, 24, 23, 16, 168, 3, 2, DR_PAD_RIGHT_BELOW, true, false, SELF, false },
    /* ... and wide ones */
    { 2, 12, 11, 64, 160, 3, 1, DR_PAD_AROUND, true, true, SELF, false },
    { 1, 16, 17, 8, 320, 3, 1, DR_PAD_AROUND, false, false, NONE, false },
    { 1, 9, 15, 72, 160, 1, 1, DR_PAD_AROUND, true, true, OTHER, false },
    /* slices of channels, and Hopper's products: high, wide, square and narrow tiles, their edges, one
     * step and many */
    { 2, 32, 33, 64, 160, 1, 1, DR_PAD_AROUND, true, true, OTHER, false },
    { 1, 32, 33, 64, 160, 3, 1, DR_PAD_AROUND, true, false, SELF, false },
    { 1, 33, 32, 64, 136, 3, 1, DR_PAD_AROUND, false, true, OTHER, false },
    { 2, 12, 11, 128, 160, 3, 1, DR_PAD_AROUND, true, true, SELF, false },
    { 1, 25, 23, 64, 132, 3, 2, DR_PAD_AROUND, true, false, SELF, false }, /* y's rows are not aligned */
    { 2, 24, 23, 64, 128, 3, 2, DR_PAD_RIGHT_BELOW, true, true, NONE, false },
    { 3, 7, 5, 192, 240, 3, 1, DR_PAD_AROUND, true, true, OTHER, false },
    { 5, 2, 2, 64, 160, 3, 1, DR_PAD_AROUND, true, false, NONE, false },
    { 1, 8, 6, 320, 128, 1, 2, DR_PAD_AROUND, true, true, OTHER, false },
    { 2, 24, 22, 64, 160, 3, 1, DR_PAD_AROUND, true, true, SELF, true },
    { 3, 6, 10, 128, 160, 3, 1, DR_PAD_AROUND, false, true, OTHER, true },
    { 1, 7, 10, 64, 128, 3, 1, DR_PAD_AROUND, true, false, NONE, true },
    /* after an upsampling, to twice the size: the same tiles, a phase of y at a time */
    { 1, 2, 2, 1, 1, 3, 1, DR_PAD_AROUND, true, false, NONE, true },
    { 2, 6, 10, 5, 12, 3, 1, DR_PAD_AROUND, true, true, OTHER, true },
    { 2, 10, 6, 9, 40, 3, 1, DR_PAD_AROUND, true, true, SELF, true },
    { 3, 8, 6, 24, 20, 3, 1, DR_PAD_AROUND, true, true, SELF, true },
    { 2, 16, 16, 64, 64, 3, 1, DR_PAD_AROUND, true, false, NONE, true },
    { 5, 4, 6, 8, 96, 3, 1, DR_PAD_AROUND, true, true, OTHER, true },
    { 2, 26, 20, 16, 172, 3, 1, DR_PAD_AROUND, false, true, OTHER, true },
    { 2, 24, 22, 40, 160, 3, 1, DR_PAD_AROUND, true, true, SELF, true },
    /* ... and to one less */
    { 2, 5, 9, 5, 12, 3, 1, DR_PAD_AROUND, true, true, OTHER, true },
    { 2, 7, 10, 24, 40, 3, 1, DR_PAD_AROUND, true, true, SELF, true },
    { 1, 12, 17, 16, 160, 3, 1, DR_PAD_AROUND, true, true, OTHER, true },
    { 1, 1, 1, 8, 136, 3, 1, DR_PAD_AROUND, true, false, NONE, true },
};

static const dr_dtype dtypes[] = { DR_F16, DR_BF16 };

enum { TABLE_ROWS = 3 };
static const int32_t row_index[] = { 2, 0, 1, 1, 2, 0, 0, 1, 2, 2, 1, 0, 2, 0, 1, 1, 2, 0, 0, 1, 2, 2, 1, 0 };

typedef struct problem {
    dr_dtype dtype, x_dtype;                       /* of what is stored: x's may be another */
    dr_tensor x, y, residual, weight, bias, table; /* float32; stored ones as the dtype left them */
    dr_tensor *residual_or_null;
    void *stored_x, *stored_y, *stored_residual, *packed, *phases;
    dr_cuda_conv_args args; /* of the whole batch */
} problem;

/* The error that is allowed beyond the rounding of the result, for sums of k products of values in [-1, 1).
 * Such a sum is about sqrt(k) / 3.  Both sides' errors are random walks of k roundings of the partial sums,
 * and six standard deviations of the two together are allowed.  A few roundings of values below 8 are allowed
 * for what is added, and for 16-bit subnormals. */
static double tolerance(int k)
{
    return 6 * sqrt(2) * 0x1p-24 * sqrt(k) * (sqrt(k) / 3) + 0x1p-19;
}

static bool has_phases(const shape *s)
{
    return s->upsample && s->h % 2 == 0 && s->w % 2 == 0;
}

/* The weights of a phase are rounded sums of one, two, two and four other weights.  They are off by at most
 * the rounding of their size.  Its mean square is 2/3 for two values in [-1, 1), and 4/3 for four.  With
 * errors spread evenly up to that, times x's values (1/3), the sum's variance is in (0 + 2 2/3 + 4/3) / 3 / 3
 * = in 8/27.  Six standard deviations. */
static double phase_tolerance(const shape *s, dr_dtype dtype)
{
    return has_phases(s) ? 6 * rounding_of(dtype) * sqrt(s->in * 8 / 27.0) : 0.0;
}

static int side(const shape *s, int pixels)
{
    return s->padding == DR_PAD_RIGHT_BELOW ? pixels / s->stride : (pixels + s->stride - 1) / s->stride;
}

static void *packed_weights(dr_dtype dtype, const dr_tensor *weight, int in, int out, int kernel, int slice)
{
    void *packed = new_stored(dtype, (size_t)out * (size_t)dr_cuda_conv_weight_ld(dtype, in, kernel));

    dr_cuda_conv_pack(dtype, packed, 1.0f, weight->data, in, out, kernel, slice);
    return packed;
}

static void *packed_phases(dr_dtype dtype, const dr_tensor *weight, int in, int out, int slice)
{
    const size_t values = (size_t)out * (size_t)dr_cuda_conv_weight_ld(dtype, in, 2);
    void *phases = new_stored(dtype, DR_CUDA_CONV_PHASES * values);
    dr_tensor sums = new_tensor(out, in, 2, 2);

    for (int i = 0; i < DR_CUDA_CONV_PHASES; i++) {
        dr_cuda_conv_phase(sums.data, weight->data, (size_t)in * (size_t)out, i);
        dr_cuda_conv_pack(dtype, stored_at(dtype, phases, (size_t)i * values), 1.0f, sums.data, in, out, 2,
                          slice);
    }
    free(sums.data);
    return phases;
}

static problem new_problem(const shape *s, dr_dtype dtype, bool wgmma, int slice)
{
    const int h = side(s, s->h), w = side(s, s->w), pad = s->in % 2 ? 5 : (4 - s->out % 4) % 4;
    problem p = {
        .dtype = dtype,
        .x_dtype = dtype,
        .x = s->upsample ? random_tensor(s->n, (s->h + 1) / 2, (s->w + 1) / 2, s->in, 1)
                         : random_tensor(s->n, s->h, s->w, s->in, 1),
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
    p.packed = packed_weights(dtype, &p.weight, s->in, s->out, s->kernel, slice);
    p.phases = s->upsample ? packed_phases(dtype, &p.weight, s->in, s->out, slice) : NULL;
    p.args = (dr_cuda_conv_args){
        .dtype = dtype,
        .y_dtype = dtype,
        .x = p.stored_x,
        .weight = p.packed,
        .phases = p.phases,
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
        .x_h = p.x.h,
        .x_w = p.x.w,
        .y_h = h,
        .y_w = w,
        .in = s->in,
        .out = s->out,
        .kernel = s->kernel,
        .stride = s->stride,
        .before = s->padding == DR_PAD_AROUND ? s->kernel / 2 : 0,
        .upsample = s->upsample,
        .slice = slice,
        .wgmma = wgmma,
    };
    return p;
}

static void free_problem(problem *p)
{
    free(p->x.data), free(p->y.data), free(p->residual.data);
    free(p->weight.data), free(p->bias.data), free(p->table.data);
    free(p->stored_x), free(p->stored_y), free(p->stored_residual), free(p->packed);
    free(p->phases);
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
        .upsample = s->upsample,
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

static void check(const problem *p, const shape *s, double allowed)
{
    const double error = worst_error(p->dtype, p->stored_y, &p->y);

    if (!(error <= allowed))
        fail_msg("%s, kernel %d, stride %d%s, [%d, %d, %d, %d] to %d: off by %g, allowed %g",
                 dtype_name(p->dtype), s->kernel, s->stride, s->upsample ? ", upsampling" : "", s->n, s->h,
                 s->w, s->in, s->out, error, allowed);
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
        a.x = stored_at(p->x_dtype, p->stored_x, (size_t)n * tensor_values(&p->x) / (size_t)s->n);
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

static void one_conv(dr_device *cpu, const shape *s, dr_dtype dtype, bool wgmma, int slice)
{
    problem p = new_problem(s, dtype, wgmma, slice);

    shim_seed((uint64_t)(s - shapes));
    convolve(&p.args);
    convolve_on_cpu(cpu, &p, s);
    check(&p, s, tolerance(s->in * s->kernel * s->kernel) + phase_tolerance(s, dtype));
    check_rows(&p, s);
    free_problem(&p);
}

static void agrees_with_cpu(void **state)
{
    for (size_t i = 0; i < COUNT(shapes); i++)
        for (size_t d = 0; d < COUNT(dtypes); d++)
            one_conv(*state, &shapes[i], dtypes[d], false, dr_cuda_conv_slice(shapes[i].in));
}

/* The weight alone decides the order of K, so each storage type has one of the two orders. */
static void wgmma_agrees_with_cpu(void **state)
{
    for (size_t i = 0; i < COUNT(shapes); i++)
        for (size_t d = 0; d < COUNT(dtypes) && shapes[i].in % 64 == 0; d++)
            one_conv(*state, &shapes[i], dtypes[d], true, dtypes[d] == DR_F16 ? 64 : shapes[i].in);
}

/* --- 8 bits ---------------------------------------------------------------------------------------- */

/* Each with two steps of K that cross a slice, tiles of 160, 128 and 80, their edges, several rows in one. */
static const shape eight_bit_shapes[] = {
    { 2, 12, 11, 64, 160, 3, 1, DR_PAD_AROUND, true, true, SELF, false },
    { 1, 33, 32, 64, 136, 3, 1, DR_PAD_AROUND, false, true, OTHER, false },
    { 2, 12, 13, 128, 320, 3, 1, DR_PAD_AROUND, true, false, NONE, false },
    { 3, 7, 5, 192, 240, 3, 1, DR_PAD_AROUND, true, true, OTHER, false },
    { 5, 2, 2, 64, 160, 3, 1, DR_PAD_AROUND, true, false, NONE, false },
    { 2, 24, 23, 64, 128, 3, 2, DR_PAD_RIGHT_BELOW, true, true, NONE, false },
    { 2, 9, 8, 64, 128, 1, 1, DR_PAD_AROUND, true, true, OTHER, false },
    { 1, 8, 8, 1280, 160, 3, 1, DR_PAD_AROUND, true, false, NONE, false }, /* a long sum */
};

/* x and the packed weights both hold values of 8 bits; the weights have a scale, too. */
static problem new_eight_bit_problem(const shape *s, dr_dtype y_dtype)
{
    problem p = new_problem(s, y_dtype, true, dr_cuda_conv_slice(s->in));
    const float scale = 0x1p-9f; /* weights are in [-1, 1) */
    uint8_t *x = new_stored(DR_E4M3, tensor_values(&p.x));
    float *values = p.x.data, *weight = p.weight.data;

    for (size_t i = 0; i < tensor_values(&p.x); i++) {
        x[i] = dr_e4m3_from_float(values[i]);
        values[i] = dr_float_from_e4m3(x[i]);
    }
    free(p.stored_x);
    free(p.packed);
    p.x_dtype = DR_E4M3;
    p.stored_x = x;
    p.packed = new_stored(DR_E4M3, (size_t)(s->out * dr_cuda_conv_weight_ld(DR_E4M3, s->in, s->kernel)));
    dr_cuda_conv_pack(DR_E4M3, p.packed, scale, weight, s->in, s->out, s->kernel, p.args.slice);
    for (size_t i = 0; i < tensor_values(&p.weight); i++)
        weight[i] = scale * dr_float_from_e4m3(dr_e4m3_from_float(weight[i] / scale));
    p.args.dtype = DR_E4M3;
    p.args.x = x;
    p.args.weight = p.packed;
    p.args.scale = scale;
    return p;
}

/* Each sum of 128 products is cut four times.  A cut takes up to 2^-13 of the sum, which is about sqrt(128) /
 * 3, and half of that in the mean square.  Cuts are toward zero, and sums have either sign, so the errors are
 * a random walk.  Six standard deviations are allowed, beyond the error of float32 sums.  If the sums did not
 * start again after 128 products, each cut would take half of 2^-13 of the whole sum, in one direction: eight
 * times as much for the longest sum here. */
static double short_sums_tolerance(int k)
{
    const double step = sqrt(128) / 3, steps = ceil(k / 128.0);

    return 6 * sqrt(4 * steps) * 0x1p-14 * step;
}

static void eight_bits_agree_with_cpu(void **state)
{
    for (size_t i = 0; i < COUNT(eight_bit_shapes); i++)
        for (size_t d = 0; d < COUNT(dtypes); d++) {
            const shape *s = &eight_bit_shapes[i];
            const int k = s->in * s->kernel * s->kernel;
            problem p = new_eight_bit_problem(s, dtypes[d]);

            shim_seed(i);
            convolve(&p.args);
            convolve_on_cpu(*state, &p, s);
            check(&p, s, tolerance(k) + short_sums_tolerance(k));
            check_rows(&p, s);
            free_problem(&p);
        }
}

static const char *kernel_of_launch;

static void note_kernel(void *stream, const shim_grid *grid)
{
    (void)stream;
    kernel_of_launch = grid->kernel;
}

/* The layer, the map and x's address decide whether wgmma is used.  The number of rows does not. */
static void wgmma_does_what_it_can(void **state)
{
    static const struct {
        shape s;
        bool wgmma;
    } cases[] = {
        { { 1, 8, 8, 64, 128, 3, 1, DR_PAD_AROUND, true, false, NONE, false }, true },
        { { 9, 1, 1, 64, 1280, 1, 1, DR_PAD_AROUND, true, false, NONE, false }, true },
        { { 2, 8, 8, 64, 128, 3, 1, DR_PAD_AROUND, true, false, NONE, true }, true },
        { { 2, 7, 8, 64, 128, 3, 1, DR_PAD_AROUND, true, false, NONE, true }, false }, /* no phases */
        { { 1, 8, 8, 32, 128, 3, 1, DR_PAD_AROUND, true, false, NONE, false }, false },
        { { 1, 8, 8, 64, 64, 3, 1, DR_PAD_AROUND, true, false, NONE, false }, false },
    };

    (void)state;
    shim_stream = note_kernel;
    for (size_t i = 0; i < COUNT(cases); i++) {
        problem p = new_problem(&cases[i].s, DR_F16, true, dr_cuda_conv_slice(cases[i].s.in));

        convolve(&p.args);
        assert_int_equal(strstr(kernel_of_launch, "wgmma") != NULL, cases[i].wgmma);
        p.args.x = (const uint16_t *)p.args.x + 1;
        convolve(&p.args);
        assert_null(strstr(kernel_of_launch, "wgmma"));
        p.args.x = p.stored_x;
        p.args.wgmma = false;
        convolve(&p.args);
        assert_null(strstr(kernel_of_launch, "wgmma"));
        free_problem(&p);
    }
    shim_stream = NULL;
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
    { 3, 128, 176, DR_ACT_SILU, true, true, 4 }, /* by wgmma */
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
    packed = packed_weights(dtype, &weight, s->in, s->out, 1, s->in);
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
        .slice = s->in,
        .wgmma = true,
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

/* --- after an upsampling -------------------------------------------------------------------------- */

/* Weights have four bits, so sums of four weights need six bits and are not rounded.  Then the phases' sums
 * are as exact as the others. */
static void phases_are_the_same_sums(void **state)
{
    for (size_t i = 0; i < COUNT(shapes); i++)
        for (size_t d = 0; d < COUNT(dtypes) && has_phases(&shapes[i]); d++) {
            const shape *s = &shapes[i];
            problem p = new_problem(s, dtypes[d], true, dr_cuda_conv_slice(s->in));
            float *weight = p.weight.data;

            for (size_t k = 0; k < tensor_values(&p.weight); k++)
                weight[k] = roundf(weight[k] * 8) / 8;
            free(p.phases);
            p.args.phases = p.phases = packed_phases(dtypes[d], &p.weight, s->in, s->out, p.args.slice);
            p.args.weight = NULL;
            shim_seed(i);
            convolve(&p.args);
            convolve_on_cpu(*state, &p, s);
            check(&p, s, tolerance(s->in * 9));
            free_problem(&p);
        }
}

/* Checks the definition of phases.  For output line 2i + a, line k of the kernel lies on line (2i + a + k -
 * 1) / 2 of x.  Line j of the phase lies on line i + a - 1 + j of x. */
static void phases_sum_the_weights_of_a_pixel(void **state)
{
    enum { FILTERS = 6 };
    dr_tensor weight = random_tensor(1, FILTERS, 3, 3, 1), sums = new_tensor(1, FILTERS, 2, 2);

    (void)state;
    for (int phase = 0; phase < DR_CUDA_CONV_PHASES; phase++) {
        const int a = phase / 2, b = phase % 2;

        dr_cuda_conv_phase(sums.data, weight.data, FILTERS, phase);
        for (int at = 0; at < FILTERS * 4; at++) {
            const int jy = at / 2 % 2, jx = at % 2;
            float want = 0;

            for (int tap = 0; tap < 9; tap++) /* with i = 1: nothing is negative */
                if ((2 + a + tap / 3 - 1) / 2 == a + jy && (2 + b + tap % 3 - 1) / 2 == b + jx)
                    want += ((const float *)weight.data)[at / 4 * 9 + tap];
            assert_true(((const float *)sums.data)[at] == want);
        }
    }
    free(weight.data), free(sums.data);
}

/* x with every pixel doubled both ways, as far as there is room in y. */
static void double_pixels(const problem *p, const void *x, const shape *s, void *y)
{
    const size_t bytes = (size_t)s->in * sizeof(uint16_t);

    for (int at = 0; at < s->n * s->h * s->w; at++) {
        const int line = at / s->w, n = line / s->h, i = line % s->h / 2, j = at % s->w / 2;

        memcpy((char *)y + (size_t)at * bytes,
               (const char *)x + (size_t)((n * p->x.h + i) * p->x.w + j) * bytes, bytes);
    }
}

/* Without phases, or with one line or column less, an upsampling that is folded into the addresses gives the
 * same bits as one that is done before. */
static void upsampling_is_only_addresses(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(shapes); i++)
        for (size_t d = 0; d < COUNT(dtypes) && shapes[i].upsample; d++) {
            const shape *s = &shapes[i];
            const size_t bytes = (size_t)(s->n * s->h * s->w) * sizeof(uint16_t);
            const int slice = dr_cuda_conv_slice(s->in);
            problem p = new_problem(s, dtypes[d], false, slice),
                    before = new_problem(s, dtypes[d], false, slice);
            void *wide = malloc(bytes * (size_t)s->in);

            assert_non_null(wide);
            double_pixels(&p, p.stored_x, s, wide);
            before.args.x = wide;
            before.args.x_h = s->h;
            before.args.x_w = s->w;
            before.args.upsample = false;
            if (has_phases(s))
                p.args.phases = NULL;
            shim_seed(i);
            convolve(&p.args);
            convolve(&before.args);
            assert_memory_equal(p.stored_y, before.stored_y, bytes * (size_t)s->out);
            free(wide);
            free_problem(&p);
            free_problem(&before);
        }
}

/* --- the same bits, another way ------------------------------------------------------------------ */

/* Computes two rows of 64 tokens in small tiles, the same tokens as one row in wide tiles, and with x
 * unaligned. */
static void tiles_and_loads_change_no_bits(void **state)
{
    const shape s = { 2, 8, 8, 72, 160, 1, 1, DR_PAD_AROUND, true, false, OTHER, false };
    const size_t x_values = 2 * 64 * 72, y_values = 2 * 64 * 160;

    (void)state;
    for (size_t d = 0; d < COUNT(dtypes); d++) {
        problem p = new_problem(&s, dtypes[d], false, s.in);
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

/* A NaN reaches only the pixels whose windows contain it.  It does not spread through the zeros around x, or
 * through those that fill the last step of K. */
static void nan_stays_under_the_kernel(void **state)
{
    static const shape windows[] = {
        { 2, 6, 9, 8, 40, 3, 1, DR_PAD_AROUND, true, false, NONE, false },
        { 2, 6, 9, 5, 40, 3, 1, DR_PAD_AROUND, true, false, NONE, false },
        { 2, 6, 9, 8, 40, 1, 1, DR_PAD_AROUND, true, false, NONE, false },
        { 2, 6, 10, 8, 40, 3, 1, DR_PAD_AROUND, true, false, NONE, true },
        { 2, 6, 10, 5, 40, 3, 1, DR_PAD_AROUND, true, false, NONE, true },
        { 2, 5, 9, 8, 40, 3, 1, DR_PAD_AROUND, true, false, NONE, true },
        { 2, 6, 9, 64, 160, 3, 1, DR_PAD_AROUND, true, false, NONE, false },
        { 2, 6, 10, 64, 160, 3, 1, DR_PAD_AROUND, true, false, NONE, true },
    };

    (void)state;
    for (size_t i = 0; i < COUNT(windows); i++) {
        const shape *s = &windows[i];
        const int scale = s->upsample ? 2 : 1, reach = s->kernel / 2;
        problem p = new_problem(s, DR_BF16, true, dr_cuda_conv_slice(s->in));
        const int line = p.x.h / 2, column = p.x.w - 1; /* of row 0: at the right edge */

        for (int c = 0; c < s->in; c++)
            ((uint16_t *)p.stored_x)[(line * p.x.w + column) * s->in + c] = 0x7fc0;
        shim_seed(i);
        convolve(&p.args);
        for (int at = 0; at < s->n * s->h * s->w * s->out; at++) {
            const int pixel = at / s->out, n = pixel / (s->h * s->w), y = pixel / s->w % s->h,
                      x = pixel % s->w;
            const bool under = n == 0 && y >= line * scale - reach && y < (line + 1) * scale + reach &&
                               x >= column * scale - reach;

            assert_int_equal(isnan(stored_value(DR_BF16, p.stored_y, (size_t)at)) != 0, under);
        }
        free_problem(&p);
    }
}

static void nothing_is_legal(void **state)
{
    const shape s = { 1, 4, 4, 8, 8, 3, 1, DR_PAD_AROUND, true, false, NONE, false };
    problem p = new_problem(&s, DR_F16, false, s.in);

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
                 cmocka_unit_test_prestate(wgmma_agrees_with_cpu, device),
                 cmocka_unit_test_prestate(wgmma_does_what_it_can, device),
                 cmocka_unit_test_prestate(eight_bits_agree_with_cpu, device),
                 cmocka_unit_test_prestate(linear_agrees_with_cpu, device),
                 cmocka_unit_test_prestate(phases_are_the_same_sums, device),
                 cmocka_unit_test_prestate(phases_sum_the_weights_of_a_pixel, device),
                 cmocka_unit_test_prestate(upsampling_is_only_addresses, device),
                 cmocka_unit_test_prestate(tiles_and_loads_change_no_bits, device),
                 cmocka_unit_test_prestate(nan_stays_under_the_kernel, device),
                 cmocka_unit_test_prestate(nothing_is_legal, device));
}

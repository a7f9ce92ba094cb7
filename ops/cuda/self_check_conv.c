/* self_check_conv.c - checks convolutions, and the group norm that uses the moments of a convolution. */
#include "ops/cuda/memory.h"
#include "ops/cuda/self_check_rig.h"

#include <math.h>

enum {
    SAMPLED = 29, /* one of so many values is computed on the host too: all of them take a few ms */
    GROUPS = 32,
};

enum conv_kind {
    UPSAMPLE = 1,
    HOPPER = 2,     /* sm_90a has a kernel for it too */
    NORM = 4,       /* a group norm uses the moments that the convolution leaves */
    EIGHT_BITS = 8, /* only on a device that was opened with 8-bit convolutions: sm_90a alone */
};

typedef struct conv_case {
    const char *what;
    int in, out, kernel, stride;
    int side;       /* pixels along a side of y */
    unsigned kinds; /* bits of conv_kind */
} conv_case;

/* The cases have a tile of each size, and more steps of K than a ring has stages. */
static const conv_case cases[] = {
    { "a convolution of 4 to 64 channels, 3 x 3", 4, 64, 3, 1, 8, 0 },
    { "a convolution of 64 to 4 channels, 3 x 3", 64, 4, 3, 1, 16, 0 },
    { "a convolution of 64 to 160 channels, 3 x 3, 8 x 8 pixels", 64, 160, 3, 1, 8, HOPPER },
    { "a convolution of 64 to 160 channels, 3 x 3, stride 2", 64, 160, 3, 2, 16, HOPPER | NORM },
    { "a convolution of 64 to 128 channels after an upsampling", 64, 128, 3, 1, 32,
      HOPPER | NORM | UPSAMPLE },
    { "a convolution of 320 to 160 channels, 1 x 1", 320, 160, 1, 1, 32, HOPPER | NORM },
    { "a convolution of 320 to 128 channels, 1 x 1", 320, 128, 1, 1, 32, HOPPER },
    { "a convolution of 128 to 160 channels, 3 x 3, in 8 bits", 128, 160, 3, 1, 16, EIGHT_BITS | NORM },
    { "a convolution of 192 to 128 channels, 3 x 3, in 8 bits", 192, 128, 3, 1, 16, EIGHT_BITS },
    { "a convolution of 64 to 160 channels, 8 x 8 pixels, in 8 bits", 64, 160, 3, 1, 8, EIGHT_BITS },
};

static int input_side(const conv_case *c)
{
    return c->kinds & UPSAMPLE ? c->side / 2 : c->side * c->stride;
}

/* The value of output channel `out` at (py, px), by plain loops.  weight: [out, in, kernel, kernel]. */
static float convolve(const conv_case *c, const float *x, const float *weight, int out, int py, int px)
{
    const int side = input_side(c), before = c->kernel / 2, end = c->kinds & UPSAMPLE ? 2 * side : side;
    float sum = 0.0f;

    for (int ky = 0; ky < c->kernel; ky++)
        for (int kx = 0; kx < c->kernel; kx++) {
            const int y = py * c->stride - before + ky, line = px * c->stride - before + kx;
            const float *pixel =
                x +
                ((c->kinds & UPSAMPLE ? y / 2 : y) * side + (c->kinds & UPSAMPLE ? line / 2 : line)) * c->in;

            if (y < 0 || line < 0 || y >= end || line >= end)
                continue;
            for (int i = 0; i < c->in; i++)
                sum += pixel[i] * weight[((out * c->in + i) * c->kernel + ky) * c->kernel + kx];
        }
    return sum;
}

/* All sums are exact, even with the 14 bits of 8-bit products.  So the stored values must be equal. */
static dr_status compare_conv(self_check_rig *rig, const conv_case *c, const made *x, const float *weight,
                              const made *bias, const made *y, dr_error *err)
{
    const int values = c->side * c->side * c->out;

    for (int i = 0; i < values; i += SAMPLED) {
        const int out = i % c->out, pixel = i / c->out;
        const float sum = convolve(c, x->host, weight, out, pixel / c->side, pixel % c->side);
        const float wanted = self_check_rounded(rig, sum + bias->host[out]);

        if (y->host[i] != wanted)
            return self_check_wrong(rig, c->what, (size_t)i, y->host[i], wanted, err);
    }
    return DR_OK;
}

static dr_dtype dtype_of(const self_check_rig *rig, const conv_case *c)
{
    return c->kinds & EIGHT_BITS ? DR_E4M3 : rig->storage;
}

/* Packs the weight as conv.c does, but without the scale of 8-bit weights, because quarters need none. */
static dr_status pack(self_check_rig *rig, const conv_case *c, const float *weight, int kernel, void **packed,
                      dr_error *err)
{
    const int slice = dr_cuda_conv_slice(c->in), phases = kernel == c->kernel ? 1 : DR_CUDA_CONV_PHASES;
    const dr_dtype dtype = dtype_of(rig, c);
    const size_t line = (size_t)dr_cuda_conv_weight_ld(dtype, c->in, kernel) * dr_dtype_bytes(dtype);
    const size_t bytes = (size_t)c->out * line;
    const size_t filters = (size_t)(c->in * c->out);
    float *sums = phases > 1 ? self_check_host_room(rig, 4 * filters) : NULL,
          *to = self_check_host_room(rig, bytes / sizeof(float));
    dr_status rc = DR_OK;

    *packed = self_check_device_room(rig, (size_t)phases * bytes);
    for (int i = 0; i < phases && !rc; i++) {
        if (sums)
            dr_cuda_conv_phase(sums, weight, filters, i);
        dr_cuda_conv_pack(dtype, to, 1.0f, sums ? sums : weight, c->in, c->out, kernel, slice);
        rc = cuda_upload(&rig->d->base, (char *)*packed + (size_t)i * bytes, to, bytes, err);
    }
    return rc;
}

/* The kernel's arguments: x, bias, weights and y, without the place for moments. */
static dr_status prepare_conv(self_check_rig *rig, const conv_case *c, made *x, float **weight, made *bias,
                              dr_cuda_conv_args *a, dr_error *err)
{
    const dr_dtype dtype = dtype_of(rig, c);
    const int x_side = input_side(c);
    const size_t weights = (size_t)(c->out * c->in * c->kernel * c->kernel);
    void *packed = NULL, *phases = NULL;
    dr_status rc = self_check_made_up(rig, x, (size_t)(x_side * x_side * c->in), dtype, 1, err);

    if (!rc)
        rc = self_check_made_up(rig, bias, (size_t)c->out, DR_F32, 77, err);
    *weight = self_check_host_room(rig, weights);
    self_check_make_up(*weight, weights, 1234567);
    if (!rc)
        rc = pack(rig, c, *weight, c->kernel, &packed, err);
    if (!rc && c->kinds & UPSAMPLE)
        rc = pack(rig, c, *weight, 2, &phases, err);
    *a = (dr_cuda_conv_args){ .dtype = dtype,
                              .y_dtype = rig->storage,
                              .x = x->device,
                              .weight = packed,
                              .phases = phases,
                              .bias = bias->device,
                              .y = self_check_device_room(rig, (size_t)(c->side * c->side * c->out) *
                                                                   sizeof(uint16_t)),
                              .x_ld = c->in,
                              .y_ld = c->out,
                              .n = 1,
                              .x_h = x_side,
                              .x_w = x_side,
                              .y_h = c->side,
                              .y_w = c->side,
                              .in = c->in,
                              .out = c->out,
                              .kernel = c->kernel,
                              .stride = c->stride,
                              .before = c->kernel / 2,
                              .upsample = (c->kinds & UPSAMPLE) != 0,
                              .slice = dr_cuda_conv_slice(c->in),
                              .scale = 1.0f,
                              .wgmma = rig->wgmma,
                              .groups = c->kinds & NORM ? GROUPS : 0 };
    return rc;
}

/* --- a group norm of what a convolution left ------------------------------------------------------ */

/* The mean and the scale of a group, by plain loops. first: its first channel. width: how many it has. */
static void moments_of(const conv_case *c, const float *x, int first, int width, float *mean, float *scale)
{
    const int pixels = c->side * c->side;
    double sum = 0.0, square = 0.0;

    for (int i = 0; i < pixels * width; i++)
        sum += (double)x[i / width * c->out + first + i % width];
    sum /= pixels * width;
    for (int i = 0; i < pixels * width; i++) {
        const double away = (double)x[i / width * c->out + first + i % width] - sum;

        square += away * away;
    }
    *mean = (float)sum;
    *scale = (float)(1.0 / sqrt(square / (pixels * width) + 1e-5));
}

/* Rounding to the storage may be wrong by half a unit.  The rounding of float32 sums may move a value to
 * the other side.  That makes one unit in all. */
static dr_status compare_norm(self_check_rig *rig, const conv_case *c, const made *x, const made *gamma,
                              const made *beta, const made *y, dr_error *err)
{
    const float unit = rig->storage == DR_F16 ? 0x1p-10f : 0x1p-7f;
    const int width = c->out / GROUPS, pixels = c->side * c->side;
    float mean, scale;

    for (int g = 0; g < GROUPS; g++) {
        moments_of(c, x->host, g * width, width, &mean, &scale);
        for (int i = 0; i < pixels * width; i++) {
            const int channel = g * width + i % width, at = i / width * c->out + channel;
            const float wanted = (x->host[at] - mean) * scale * gamma->host[channel] + beta->host[channel];

            if (!(fabsf(y->host[at] - wanted) <= unit * fmaxf(1.0f, fabsf(wanted))))
                return self_check_wrong(rig, "a group norm of the moments that a convolution left",
                                        (size_t)at, y->host[at], wanted, err);
        }
    }
    return DR_OK;
}

static dr_status check_norm(self_check_rig *rig, const conv_case *c, const made *x,
                            const dr_cuda_moments *parts, int part_count, dr_error *err)
{
    const size_t values = (size_t)(c->side * c->side * c->out);
    made gamma, beta, y;
    dr_status rc = self_check_made_up(rig, &gamma, (size_t)c->out, DR_F32, 5, err);

    if (!rc)
        rc = self_check_made_up(rig, &beta, (size_t)c->out, DR_F32, 55, err);
    if (rc)
        return rc;
    y.device = self_check_device_room(rig, values * sizeof(uint16_t));
    dr_cuda_group_norm_args a = { .dtype = rig->storage,
                                  .y_dtype = rig->storage,
                                  .x = x->device,
                                  .y = y.device,
                                  .gamma = gamma.device,
                                  .beta = beta.device,
                                  .eps = 1e-5f,
                                  .n = 1,
                                  .pixels = c->side * c->side,
                                  .c = c->out,
                                  .groups = GROUPS,
                                  .parts = parts,
                                  .part_count = part_count };
    a.workspace = self_check_device_room(rig, dr_cuda_group_norm_workspace(&a));
    dr_cuda_group_norm(rig->d->stream[DR_LANE_DENOISE], &a);
    rc = self_check_fetch(rig, &y, values, "a group norm", err);
    return rc ? rc : compare_norm(rig, c, x, &gamma, &beta, &y, err);
}

static dr_status check_case(self_check_rig *rig, const conv_case *c, dr_error *err)
{
    dr_cuda_conv_args a;
    made x, bias, y;
    float *weight;
    dr_status rc = prepare_conv(rig, c, &x, &weight, &bias, &a, err);
    const int parts = c->kinds & NORM ? dr_cuda_conv_parts(&a) : 0;

    if (rc)
        return rc;
    dr_assert(!(c->kinds & NORM) || parts > 0);
    if (c->kinds & NORM)
        a.parts = self_check_device_room(rig, (size_t)(GROUPS * parts) * sizeof(*a.parts));
    dr_cuda_conv(rig->d->stream[DR_LANE_DENOISE], &a);
    y.device = a.y;
    rc = self_check_fetch(rig, &y, (size_t)(c->side * c->side * c->out), c->what, err);
    if (!rc)
        rc = compare_conv(rig, c, &x, weight, &bias, &y, err);
    return rc || !(c->kinds & NORM) ? rc : check_norm(rig, c, &y, a.parts, parts, err);
}

static bool is_for(const self_check_rig *rig, const conv_case *c)
{
    return c->kinds & EIGHT_BITS ? rig->wgmma && rig->d->fp8_convs : !rig->wgmma || c->kinds & HOPPER;
}

dr_status self_check_convolutions(self_check_rig *rig, dr_error *err)
{
    dr_status rc = DR_OK;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]) && !rc; i++) {
        rig->device_used = rig->host_used = 0;
        if (is_for(rig, &cases[i]))
            rc = check_case(rig, &cases[i], err);
    }
    return rc;
}

#include "ops/cuda/self_check.h"

#include "base/half.h"
#include "kernels/cuda.h"
#include "ops/cuda/cuda.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    DEVICE_BYTES = 4 << 20, /* for the largest case: 3 MiB */
    HOST_FLOATS = 3 << 20,
    /* Of so many queries, and of so many values of a convolution, one is computed on the host, too: all in a few ms. */
    QUERIES_SAMPLED = 7,
    VALUES_SAMPLED = 29,
    GROUPS = 32,
};

static const float SCALE = 0.5f; /* of scores: so that some keys have most of the weight */

/* One case after the other uses all of the memory. */
typedef struct bench {
    cuda_device *d;
    bool wgmma;
    dr_dtype storage;
    char *device;
    float *host;
    size_t device_used, host_used; /* bytes, floats */
} bench;

/* Values on both sides. */
typedef struct made {
    float *host;
    void *device;
} made;

/* --- memory and values -------------------------------------------------------------------- */

static void *device_room(bench *b, size_t bytes)
{
    void *at = b->device + b->device_used;

    b->device_used += (bytes + 255) / 256 * 256;
    dr_assert(b->device_used <= DEVICE_BYTES);
    return at;
}

static float *host_room(bench *b, size_t floats)
{
    float *at = b->host + b->host_used;

    b->host_used += floats;
    dr_assert(b->host_used <= HOST_FLOATS);
    return at;
}

/* Quarters from -1 to 1: exact in every storage.  Their products and any sum of a few thousand of these are exact in float32,
 * in whatever order. */
static void make_up(float *to, size_t count, uint32_t seed)
{
    for (size_t i = 0; i < count; i++) {
        const uint32_t mixed = ((uint32_t)i + seed) * 2654435761u;

        to[i] = (float)(mixed >> 16) * 9.0f / 65536.0f;
        to[i] = (floorf(to[i]) - 4.0f) / 4.0f;
    }
}

static uint16_t stored_of(const bench *b, float value)
{
    return b->storage == DR_F16 ? dr_f16_from_float(value) : dr_bf16_from_float(value);
}

static float value_of(const bench *b, uint16_t stored)
{
    return b->storage == DR_F16 ? dr_float_from_f16(stored) : dr_float_from_bf16(stored);
}

static void store(const bench *b, void *to, size_t i, dr_dtype dtype, float value)
{
    if (dtype == DR_F32)
        ((float *)to)[i] = value;
    else if (dtype == DR_E4M3)
        ((uint8_t *)to)[i] = dr_e4m3_from_float(value);
    else
        ((uint16_t *)to)[i] = stored_of(b, value);
}

static dr_status made_up(bench *b, made *m, size_t count, dr_dtype dtype, uint32_t seed, dr_error *err)
{
    const size_t bytes = count * dr_dtype_bytes(dtype);
    void *stored = host_room(b, count);

    m->host = host_room(b, count);
    m->device = device_room(b, bytes);
    make_up(m->host, count, seed);
    for (size_t i = 0; i < count; i++)
        store(b, stored, i, dtype, m->host[i]);
    return cuda_upload(&b->d->base, m->device, stored, bytes, err);
}

/* What a kernel left. */
static dr_status fetch(bench *b, made *m, size_t count, const char *what, dr_error *err)
{
    uint16_t *stored = (uint16_t *)host_room(b, count);
    dr_status rc = cuda_check(b->d, cudaPeekAtLastError(), what, err);

    m->host = host_room(b, count);
    if (!rc)
        rc = cuda_download(&b->d->base, stored, m->device, count * sizeof(*stored), err);
    for (size_t i = 0; i < count && !rc; i++)
        m->host[i] = value_of(b, stored[i]);
    return rc;
}

static dr_status wrong(const bench *b, const char *what, size_t index, float got, float wanted, dr_error *err)
{
    return dr_fail(err, DR_EDEVICE, "%s computes wrongly: %s (%s): value %zu is %g, and should be %g",
                   b->d->name, what, b->wgmma ? "sm_90a" : "sm_80", index, (double)got, (double)wanted);
}

/* --- attention --------------------------------------------------------------------------------- */

typedef struct attention_case {
    const char *what;
    int d, q_tokens, kv_tokens;
    bool wide; /* a kernel for all devices */
} attention_case;

/* Two blocks of queries of each kernel, the second not full; tiles of keys, the last not full, more than a ring holds. */
static const attention_case attention_cases[] = {
    { "attention of 40 channels", 40, 200, 425, false },
    { "attention of 64 channels", 64, 200, 340, false },
    { "attention of 80 channels", 80, 140, 425, false },
    { "attention of 160 channels", 160, 140, 340, false },
    { "attention of 512 channels", 512, 40, 80, true },
};

/* One query's output, a head of d channels; tokens are ld apart. */
static void attend(const float *q, const float *k, const float *v, int ld, const attention_case *c,
                   float *scores, float *y)
{
    float most = -INFINITY, sum = 0.0f;

    for (int t = 0; t < c->kv_tokens; t++) {
        scores[t] = 0.0f;
        for (int i = 0; i < c->d; i++)
            scores[t] += q[i] * k[t * ld + i];
        most = fmaxf(most, scores[t]);
    }
    for (int i = 0; i < c->d; i++)
        y[i] = 0.0f;
    for (int t = 0; t < c->kv_tokens; t++) {
        const float p = expf((scores[t] - most) * SCALE);

        sum += p;
        for (int i = 0; i < c->d; i++)
            y[i] += p * v[t * ld + i];
    }
    for (int i = 0; i < c->d; i++)
        y[i] /= sum;
}

/* Of values up to 1 the rounding of p, to half a unit, changes a mean by that; its own rounding is as much again.  exp is off by
 * 2 units of float32.  So two halves, and as much to spare. */
static float attention_tolerance(const bench *b)
{
    return b->storage == DR_F16 ? 0x1p-10f : 0x1p-7f;
}

static dr_status compare_attention(bench *b, const attention_case *c, const made *q, const made *k,
                                   const made *v, const made *y, dr_error *err)
{
    const int heads = c->wide ? 1 : 2, ld = heads * c->d;
    float *scores = host_room(b, (size_t)c->kv_tokens), *wanted = host_room(b, (size_t)c->d);

    for (int token = 0; token < c->q_tokens; token += QUERIES_SAMPLED)
        for (int head = 0; head < heads; head++) {
            const int at = token * ld + head * c->d;

            attend(q->host + at, k->host + head * c->d, v->host + head * c->d, ld, c, scores, wanted);
            for (int i = 0; i < c->d; i++)
                if (!(fabsf(y->host[at + i] - wanted[i]) <= attention_tolerance(b)))
                    return wrong(b, c->what, (size_t)(at + i), y->host[at + i], wanted[i], err);
        }
    return DR_OK;
}

static dr_status check_attention(bench *b, const attention_case *c, dr_error *err)
{
    const int heads = c->wide ? 1 : 2, ld = heads * c->d;
    const size_t q_values = (size_t)(c->q_tokens * ld), kv_values = (size_t)(c->kv_tokens * ld);
    made q, k, v, y;
    dr_status rc = made_up(b, &q, q_values, b->storage, 1, err);

    if (!rc)
        rc = made_up(b, &k, kv_values, b->storage, 1234567, err);
    if (!rc)
        rc = made_up(b, &v, kv_values, b->storage, 7654321, err);
    if (rc)
        return rc;
    y.device = device_room(b, q_values * sizeof(uint16_t));
    dr_cuda_attention(b->d->stream[DR_LANE_DENOISE], &(dr_cuda_attention_args){ .dtype = b->storage,
                                                                                .q = q.device,
                                                                                .k = k.device,
                                                                                .v = v.device,
                                                                                .y = y.device,
                                                                                .q_ld = ld,
                                                                                .k_ld = ld,
                                                                                .v_ld = ld,
                                                                                .y_ld = ld,
                                                                                .n = 1,
                                                                                .heads = heads,
                                                                                .d = c->d,
                                                                                .q_tokens = c->q_tokens,
                                                                                .kv_tokens = c->kv_tokens,
                                                                                .scale = SCALE,
                                                                                .wgmma = b->wgmma });
    rc = fetch(b, &y, q_values, c->what, err);
    return rc ? rc : compare_attention(b, c, &q, &k, &v, &y, err);
}

/* --- convolutions --------------------------------------------------------------------------------- */

typedef struct conv_case {
    const char *what;
    int in, out, kernel, stride;
    int side; /* of y */
    bool upsample;
    bool wgmma;      /* sm_90a has a kernel for it, too */
    bool norm;       /* and a group norm takes the moments that it leaves */
    bool eight_bits; /* on a device that was opened with such convolutions; sm_90a alone */
} conv_case;

/* A tile of each size, more steps of K than a ring has stages. */
static const conv_case conv_cases[] = {
    { .what = "a convolution of 4 to 64 channels, 3 x 3",
      .in = 4,
      .out = 64,
      .kernel = 3,
      .stride = 1,
      .side = 8 },
    { .what = "a convolution of 64 to 4 channels, 3 x 3",
      .in = 64,
      .out = 4,
      .kernel = 3,
      .stride = 1,
      .side = 16 },
    { .what = "a convolution of 64 to 160 channels, 3 x 3, 8 x 8 pixels",
      .in = 64,
      .out = 160,
      .kernel = 3,
      .stride = 1,
      .side = 8,
      .wgmma = true },
    { .what = "a convolution of 64 to 160 channels, 3 x 3, stride 2",
      .in = 64,
      .out = 160,
      .kernel = 3,
      .stride = 2,
      .side = 16,
      .wgmma = true,
      .norm = true },
    { .what = "a convolution of 64 to 128 channels after an upsampling",
      .in = 64,
      .out = 128,
      .kernel = 3,
      .stride = 1,
      .side = 32,
      .upsample = true,
      .wgmma = true,
      .norm = true },
    { .what = "a convolution of 320 to 160 channels, 1 x 1",
      .in = 320,
      .out = 160,
      .kernel = 1,
      .stride = 1,
      .side = 32,
      .wgmma = true,
      .norm = true },
    { .what = "a convolution of 320 to 128 channels, 1 x 1",
      .in = 320,
      .out = 128,
      .kernel = 1,
      .stride = 1,
      .side = 32,
      .wgmma = true },
    { .what = "a convolution of 128 to 160 channels, 3 x 3, in 8 bits",
      .in = 128,
      .out = 160,
      .kernel = 3,
      .stride = 1,
      .side = 16,
      .wgmma = true,
      .norm = true,
      .eight_bits = true },
};

static int input_side(const conv_case *c)
{
    return c->upsample ? c->side / 2 : c->side * c->stride;
}

/* Of output channel `out` at (py, px); weight: [out, in, kernel, kernel]. */
static float convolve(const conv_case *c, const float *x, const float *weight, int out, int py, int px)
{
    const int side = input_side(c), before = c->kernel / 2, end = c->upsample ? 2 * side : side;
    float sum = 0.0f;

    for (int ky = 0; ky < c->kernel; ky++)
        for (int kx = 0; kx < c->kernel; kx++) {
            const int y = py * c->stride - before + ky, line = px * c->stride - before + kx;
            const float *pixel =
                x + ((c->upsample ? y / 2 : y) * side + (c->upsample ? line / 2 : line)) * c->in;

            if (y < 0 || line < 0 || y >= end || line >= end)
                continue;
            for (int i = 0; i < c->in; i++)
                sum += pixel[i] * weight[((out * c->in + i) * c->kernel + ky) * c->kernel + kx];
        }
    return sum;
}

/* All sums are exact, those of 8 bits' 14 too, so what is stored is the same. */
static dr_status compare_conv(bench *b, const conv_case *c, const made *x, const float *weight,
                              const made *bias, const made *y, dr_error *err)
{
    const int values = c->side * c->side * c->out;

    for (int i = 0; i < values; i += VALUES_SAMPLED) {
        const int out = i % c->out, pixel = i / c->out;
        const float sum = convolve(c, x->host, weight, out, pixel / c->side, pixel % c->side);
        const float wanted = value_of(b, stored_of(b, sum + bias->host[out]));

        if (y->host[i] != wanted)
            return wrong(b, c->what, (size_t)i, y->host[i], wanted, err);
    }
    return DR_OK;
}

static dr_dtype dtype_of(const bench *b, const conv_case *c)
{
    return c->eight_bits ? DR_E4M3 : b->storage;
}

/* As conv.c does it, but for the scale of 8 bits: quarters need none. */
static dr_status pack(bench *b, const conv_case *c, const float *weight, int kernel, void **packed,
                      dr_error *err)
{
    const int slice = dr_cuda_conv_slice(c->in), phases = kernel == c->kernel ? 1 : DR_CUDA_CONV_PHASES;
    const dr_dtype dtype = dtype_of(b, c);
    const size_t line = (size_t)dr_cuda_conv_weight_ld(dtype, c->in, kernel) * dr_dtype_bytes(dtype);
    const size_t bytes = (size_t)c->out * line;
    const size_t filters = (size_t)(c->in * c->out);
    float *sums = phases > 1 ? host_room(b, 4 * filters) : NULL, *to = host_room(b, bytes / sizeof(float));
    dr_status rc = DR_OK;

    *packed = device_room(b, (size_t)phases * bytes);
    for (int i = 0; i < phases && !rc; i++) {
        if (sums)
            dr_cuda_conv_phase(sums, weight, filters, i);
        dr_cuda_conv_pack(dtype, to, 1.0f, sums ? sums : weight, c->in, c->out, kernel, slice);
        rc = cuda_upload(&b->d->base, (char *)*packed + (size_t)i * bytes, to, bytes, err);
    }
    return rc;
}

/* x, bias, the weights and y: all that the kernel has, but for what it leaves to a norm. */
static dr_status prepare_conv(bench *b, const conv_case *c, made *x, float **weight, made *bias,
                              dr_cuda_conv_args *a, dr_error *err)
{
    const dr_dtype dtype = dtype_of(b, c);
    const int x_side = input_side(c);
    const size_t weights = (size_t)(c->out * c->in * c->kernel * c->kernel);
    void *packed = NULL, *phases = NULL;
    dr_status rc = made_up(b, x, (size_t)(x_side * x_side * c->in), dtype, 1, err);

    if (!rc)
        rc = made_up(b, bias, (size_t)c->out, DR_F32, 77, err);
    *weight = host_room(b, weights);
    make_up(*weight, weights, 1234567);
    if (!rc)
        rc = pack(b, c, *weight, c->kernel, &packed, err);
    if (!rc && c->upsample)
        rc = pack(b, c, *weight, 2, &phases, err);
    *a = (dr_cuda_conv_args){ .dtype = dtype,
                              .y_dtype = b->storage,
                              .x = x->device,
                              .weight = packed,
                              .phases = phases,
                              .bias = bias->device,
                              .y = device_room(b, (size_t)(c->side * c->side * c->out) * sizeof(uint16_t)),
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
                              .upsample = c->upsample,
                              .slice = dr_cuda_conv_slice(c->in),
                              .scale = 1.0f,
                              .wgmma = b->wgmma,
                              .groups = c->norm ? GROUPS : 0 };
    return rc;
}

/* --- a group norm of what a convolution left ------------------------------------------------------ */

/* Of a group's first channel and how many there are. */
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

/* Rounding to the storage is half a unit; a sum's in float32 may put it on the other side: a unit. */
static dr_status compare_norm(bench *b, const conv_case *c, const made *x, const made *gamma,
                              const made *beta, const made *y, dr_error *err)
{
    const float unit = b->storage == DR_F16 ? 0x1p-10f : 0x1p-7f;
    const int width = c->out / GROUPS, pixels = c->side * c->side;
    float mean, scale;

    for (int g = 0; g < GROUPS; g++) {
        moments_of(c, x->host, g * width, width, &mean, &scale);
        for (int i = 0; i < pixels * width; i++) {
            const int channel = g * width + i % width, at = i / width * c->out + channel;
            const float wanted = (x->host[at] - mean) * scale * gamma->host[channel] + beta->host[channel];

            if (!(fabsf(y->host[at] - wanted) <= unit * fmaxf(1.0f, fabsf(wanted))))
                return wrong(b, "a group norm of the moments that a convolution left", (size_t)at,
                             y->host[at], wanted, err);
        }
    }
    return DR_OK;
}

static dr_status check_norm(bench *b, const conv_case *c, const made *x, const dr_cuda_moments *parts,
                            int part_count, dr_error *err)
{
    const size_t values = (size_t)(c->side * c->side * c->out);
    made gamma, beta, y;
    dr_status rc = made_up(b, &gamma, (size_t)c->out, DR_F32, 5, err);

    if (!rc)
        rc = made_up(b, &beta, (size_t)c->out, DR_F32, 55, err);
    if (rc)
        return rc;
    y.device = device_room(b, values * sizeof(uint16_t));
    dr_cuda_group_norm_args a = { .dtype = b->storage,
                                  .y_dtype = b->storage,
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
    a.workspace = device_room(b, dr_cuda_group_norm_workspace(&a));
    dr_cuda_group_norm(b->d->stream[DR_LANE_DENOISE], &a);
    rc = fetch(b, &y, values, "a group norm", err);
    return rc ? rc : compare_norm(b, c, x, &gamma, &beta, &y, err);
}

static dr_status check_conv(bench *b, const conv_case *c, dr_error *err)
{
    dr_cuda_conv_args a;
    made x, bias, y;
    float *weight;
    dr_status rc = prepare_conv(b, c, &x, &weight, &bias, &a, err);
    const int parts = c->norm ? dr_cuda_conv_parts(&a) : 0;

    if (rc)
        return rc;
    dr_assert(!c->norm || parts > 0);
    if (c->norm)
        a.parts = device_room(b, (size_t)(GROUPS * parts) * sizeof(*a.parts));
    dr_cuda_conv(b->d->stream[DR_LANE_DENOISE], &a);
    y.device = a.y;
    rc = fetch(b, &y, (size_t)(c->side * c->side * c->out), c->what, err);
    if (!rc)
        rc = compare_conv(b, c, &x, weight, &bias, &y, err);
    return rc || !c->norm ? rc : check_norm(b, c, &y, a.parts, parts, err);
}

/* --- all of them ------------------------------------------------------------------------------------- */

static bool is_for(const bench *b, const conv_case *c)
{
    return b->wgmma ? c->wgmma && (!c->eight_bits || b->d->fp8_convs) : !c->eight_bits;
}

static dr_status check_all(bench *b, dr_error *err)
{
    dr_status rc = DR_OK;

    for (size_t i = 0; i < sizeof(attention_cases) / sizeof(attention_cases[0]) && !rc; i++) {
        b->device_used = b->host_used = 0;
        if (!b->wgmma || !attention_cases[i].wide)
            rc = check_attention(b, &attention_cases[i], err);
    }
    for (size_t i = 0; i < sizeof(conv_cases) / sizeof(conv_cases[0]) && !rc; i++) {
        b->device_used = b->host_used = 0;
        if (is_for(b, &conv_cases[i]))
            rc = check_conv(b, &conv_cases[i], err);
    }
    return rc;
}

/* Of the kernels for sm_90a, or else for sm_80. */
static dr_status check_isa(cuda_device *d, bool wgmma, dr_error *err)
{
    bench b = { .d = d, .wgmma = wgmma, .storage = d->base.activation_dtype };
    void *memory = NULL;
    dr_status rc;

    b.host = malloc(HOST_FLOATS * sizeof(*b.host));
    if (!b.host)
        return dr_fail(err, DR_ENOMEM, "no memory to check what the device computes");
    rc = cuda_alloc(&memory, &d->base, DEVICE_BYTES, err);
    b.device = memory;
    if (!rc)
        rc = check_all(&b, err);
    dr_device_free(&d->base, memory);
    free(b.host);
    return rc ? rc : cuda_check_alive(d, err);
}

dr_status cuda_self_check(cuda_device *d, bool asked_for, dr_error *err)
{
    dr_status rc = check_isa(d, false, err);
    dr_error why;

    if (rc || !d->wgmma)
        return rc;
    rc = check_isa(d, true, &why);
    if (!rc)
        return DR_OK;
    if (cuda_check_alive(d, NULL))
        return dr_fail(err, rc, "%s; isa = sm_80 does without the kernels for sm_90a", why.text);
    if (asked_for || rc != DR_EDEVICE)
        return dr_fail(err, rc, "%s", why.text);
    d->wgmma = false;
    snprintf(d->base.note, sizeof(d->base.note), "%s; the kernels for sm_80 are right, and used", why.text);
    d->base.noted = true;
    return DR_OK;
}

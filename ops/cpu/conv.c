/* conv.c - convolutions as sums of shifted products (ops/cpu/product.h).
 *
 * An image of w columns lies in the operand with zeros around it.  Each line begins with a zero column.
 * That zero also pads the right end of the line before:
 *
 *     0 0 0 0 0       line 0 of zeros         With lines of `pitch` rows, output (y, x) is row
 *     0 a b c d       line 1                  y * pitch + x of c, and tap (dy, dx) reads the row
 *     0 e f g h       line 2                  dy * pitch + dx further on: one constant shift for all.
 *     0 0 0 0 0       line 3 of zeros         Row y * pitch + w is computed for nothing.
 *
 * All images of a batch stand in one tall picture, sharing the line of zeros between them, and a chunk is
 * some lines of it: a small map's weights are read once for the whole batch.
 *
 * With stride 2 the picture is dealt out in four phases, by even and odd lines and columns; tap (dy, dx) then
 * reads phase (dy % 2, dx % 2) shifted by (dy / 2, dx / 2), and the rest is the same. */
#include "ops/cpu/product.h"
#include "ops/cpu/winograd.h"

#include <stdlib.h>
#include <string.h>

enum {
    OPERAND_BYTES_MAX = 1280 << 10, /* beside some panels of nine taps (180 KiB each) in a cache of 2 MiB */
    SHIFT_ROWS = 2,                 /* how far the last tap reaches into its line */
};

typedef struct cpu_conv_layer {
    dr_conv base;
    cpu_winograd *winograd; /* NULL: `weights` is used */
    cpu_weights weights;
} cpu_conv_layer;

/* One run's picture.  A padded line or column is counted from the zeros before the first pixel. */
typedef struct picture {
    const dr_conv2d_args *args;
    const cpu_weights *weights;
    int stride, before; /* zeros before the first line and column */
    int reach;          /* lines of a phase that a chunk needs beyond its own */
    int pitch;          /* rows of c in a line: columns of the output, and a pad */
    int period;         /* lines of c from one image to the next: output lines and a pad line */
    int lines;          /* of c in a chunk, at most */
} picture;

dr_status cpu_conv_create(dr_conv **out, dr_device *device, const dr_conv_desc *desc, dr_error *err)
{
    cpu_conv_layer *layer = calloc(1, sizeof(*layer));
    dr_status rc;

    dr_assert(desc->padding == DR_PAD_AROUND || (desc->kernel == 3 && desc->stride == 2));
    if (!layer)
        return dr_fail(err, DR_ENOMEM, "%s: no memory for the layer", desc->name);
    layer->base = (dr_conv){
        .device = device,
        .in = desc->in,
        .out = desc->out,
        .kernel = desc->kernel,
        .stride = desc->stride,
        .padding = desc->padding,
        .upsample = desc->upsample,
    };
    if (cpu_winograd_pays(cpu_of(device), desc)) {
        rc = cpu_winograd_create(&layer->winograd, cpu_of(device), desc, err);
        layer->base.bytes = layer->winograd ? cpu_winograd_bytes(layer->winograd) : 0;
    } else {
        rc = cpu_weights_pack(&layer->weights, cpu_of(device), desc->name, desc->in, desc->out,
                              desc->kernel * desc->kernel, desc->weight, desc->bias, err);
        layer->base.bytes = layer->weights.bytes;
    }
    if (rc) {
        cpu_conv_free(&layer->base);
        return rc;
    }
    *out = &layer->base;
    return DR_OK;
}

void cpu_conv_free(dr_conv *conv)
{
    cpu_conv_layer *layer = (cpu_conv_layer *)conv;

    cpu_winograd_free(layer->winograd);
    cpu_weights_free(&layer->weights);
    free(layer);
}

/* --- a convolution of one tap -------------------------------------------------------- */

static const float *row_bias_of(const dr_row_bias *b, int n)
{
    return b->table ? b->table + (size_t)b->index[n] * b->stride : NULL;
}

/* Every pixel is a row; in one go, or where images have biases of their own, image by image. */
static dr_status run_rows(dr_pass *p, const cpu_weights *w, const dr_conv2d_args *a)
{
    const int step = a->row_bias.table ? 1 : a->x.n;

    for (int n = 0; n < a->x.n; n += step) {
        const dr_tensor residual = a->residual ? dr_tensor_rows(*a->residual, n, step) : a->y;
        const cpu_rows rows = {
            .weights = w,
            .x = dr_tensor_rows(a->x, n, step),
            .y = dr_tensor_rows(a->y, n, step),
            .row_bias = p->planning ? NULL : row_bias_of(&a->row_bias, n),
            .residual = a->residual ? &residual : NULL,
        };
        const dr_status rc = cpu_rows_run(p, &rows);

        if (rc)
            return rc;
    }
    return DR_OK;
}

/* --- more taps ------------------------------------------------------------------------ */

/* A line of one phase: columns phase, phase + stride, ... of a padded line of x, or zeros for x NULL. */
static void load_line(const picture *q, char *to, const float *x, int phase, int channels)
{
    const dr_matmul_kernels *k = q->weights->kernels;
    const dr_tensor *t = &q->args->x;
    const size_t row = k->operand_stride(channels);
    int first = 0, end = 0;

    if (x) {
        const int at = phase - q->before; /* pixel of the first column: -1 is the pad */

        first = at < 0;
        end = (t->w - at + q->stride - 1) / q->stride;
        end = end < q->pitch ? end : q->pitch;
        k->load(to + (size_t)first * row, x + (ptrdiff_t)(at + first * q->stride) * t->ld,
                (size_t)q->stride * (size_t)t->ld, end - first, channels);
    }
    memset(to, 0, (size_t)first * row);
    memset(to + (size_t)end * row, 0, (size_t)(q->pitch - end) * row);
}

/* The pixels of a padded line of the tall picture; NULL for a line of zeros. */
static const float *line_of(const picture *q, int line)
{
    const dr_tensor *t = &q->args->x;
    const int n = line / (q->period * q->stride), y = line % (q->period * q->stride) - q->before;

    if (n >= t->n || y < 0 || y >= t->h)
        return NULL;
    return (const float *)t->data + ((size_t)n * (size_t)t->h + (size_t)y) * (size_t)t->w * (size_t)t->ld;
}

static int phase_lines(const picture *q)
{
    return q->lines + q->reach;
}

static void load(const cpu_chunk *chunk, void *operand, int channel, int channels)
{
    const picture *q = chunk->layer;
    const size_t row = q->weights->kernels->operand_stride(channels);
    const int phases = q->weights->taps > 1 ? q->stride : 1;
    char *to = operand;

    for (int phase = 0; phase < phases * phases; phase++)
        for (int i = 0; i < phase_lines(q); i++) {
            const float *x = line_of(q, (chunk->first + i) * q->stride + phase / phases);

            load_line(q, to, x ? x + channel : NULL, phase % phases, channels);
            to += (size_t)q->pitch * row;
        }
    /* The last tile also reads what lies behind the picture.  It must be zeros, because other values may be
     * slow to multiply (denormals). */
    memset(to, 0, (size_t)((char *)operand + (size_t)chunk->operand_rows * row - to));
}

static void store(const cpu_chunk *chunk, const cpu_sums *sums)
{
    const picture *q = chunk->layer;
    const dr_conv2d_args *a = q->args;
    const size_t ld = (size_t)a->y.ld;

    for (int i = 0; i < chunk->rows / q->pitch; i++) {
        const int line = chunk->first + i, n = line / q->period, y = line % q->period;
        const size_t at = ((size_t)n * (size_t)a->y.h + (size_t)y) * (size_t)a->y.w * ld;

        if (y < a->y.h)
            cpu_sums_finish(sums, i * q->pitch, a->y.w,
                            &(dr_matmul_finish){
                                .bias = q->weights->bias,
                                .row_bias = row_bias_of(&a->row_bias, n),
                                .residual = a->residual ? (const float *)a->residual->data + at : NULL,
                                .residual_ld = ld,
                                .y = (float *)a->y.data + at,
                                .y_ld = ld,
                                .stream = cpu_streams(&a->y),
                            });
    }
}

static picture picture_of(const cpu_conv_layer *layer, const dr_conv2d_args *a)
{
    const int wide = layer->base.kernel > 1;

    return (picture){
        .args = a,
        .weights = &layer->weights,
        .stride = layer->base.stride,
        .before = wide && layer->base.padding == DR_PAD_AROUND,
        .reach = wide ? (layer->base.stride == 1 ? 2 : 1) : 0,
        .pitch = a->y.w + wide,
        .period = a->y.h + wide,
    };
}

static cpu_chunk chunk_of(const picture *q, int tile)
{
    const int phases = q->weights->taps > 1 ? q->stride : 1, kernel = q->weights->taps > 1 ? 3 : 1;
    cpu_chunk chunk = { .load = load, .store = store, .layer = q };

    chunk.operand_rows = phases * phases * phase_lines(q) * q->pitch + SHIFT_ROWS + tile;
    for (int t = 0; t < q->weights->taps; t++) {
        const int dy = t / kernel, dx = t % kernel, phase = dy % phases * phases + dx % phases;

        chunk.shift[t] = (phase * phase_lines(q) + dy / phases) * q->pitch + dx / phases;
    }
    return chunk;
}

static dr_status run_taps(dr_pass *p, const cpu_conv_layer *layer, const dr_conv2d_args *a)
{
    const cpu_device *cpu = cpu_of(p->device);
    const cpu_weights *w = &layer->weights;
    picture q = picture_of(layer, a);
    const size_t line_bytes = (size_t)(q.stride * q.stride * q.pitch) * w->kernels->operand_stride(w->slice);
    const int fit = (int)(OPERAND_BYTES_MAX / line_bytes) - q.reach;
    const cpu_split split = cpu_split_work(cpu, w->panels, a->x.n * q.period, fit, 1);
    cpu_chunk chunk;
    size_t bytes;
    char *scratch;

    q.lines = split.step;
    chunk = chunk_of(&q, w->kernels->tile);
    bytes = cpu_chunk_bytes(w, q.lines * q.pitch, chunk.operand_rows, split.panel_step);
    scratch = dr_arena_take(p->arena, bytes * (size_t)cpu->thread_count);
    if (!scratch)
        return dr_fail(&p->error, DR_ENOMEM, "no %zu bytes of scratch for a convolution",
                       bytes * (size_t)cpu->thread_count);
    if (!p->planning)
        cpu_chunks_run(cpu, &(cpu_chunks){
                                .weights = w,
                                .split = &split,
                                .common = chunk,
                                .unit_rows = q.pitch,
                                .scratch = scratch,
                                .chunk_bytes = bytes,
                            });
    dr_arena_release(p->arena, scratch);
    return DR_OK;
}

static dr_status run(dr_pass *p, const cpu_conv_layer *layer, const dr_conv2d_args *a)
{
    if (layer->winograd)
        return cpu_winograd_run(p, layer->winograd, a);
    if (layer->base.kernel == 1 && layer->base.stride == 1)
        return run_rows(p, &layer->weights, a);
    return run_taps(p, layer, a);
}

/* --- after an upsampling --------------------------------------------------------------- */

typedef struct doubling {
    dr_tensor x, y; /* pixel (i, j) of y is (i / 2, j / 2) of x */
} doubling;

static void double_lines(void *arg, size_t begin, size_t end, int thread)
{
    const doubling *d = arg;
    const size_t c = (size_t)d->x.c, h = (size_t)d->y.h, w = (size_t)d->y.w;

    (void)thread;
    for (size_t line = begin; line < end; line++) {
        const size_t from = line / h * (size_t)d->x.h + line % h / 2;
        const float *x = (const float *)d->x.data + from * (size_t)d->x.w * c;
        float *y = (float *)d->y.data + line * w * c;

        for (size_t j = 0; j < w; j++)
            memcpy(y + j * c, x + j / 2 * c, c * sizeof(*y));
    }
}

/* The doubled map is scratch: four times x. */
static dr_status run_upsampled(dr_pass *p, const cpu_conv_layer *layer, const dr_conv2d_args *a)
{
    doubling d = { .x = a->x, .y = dr_take(p, a->y.n, a->y.h, a->y.w, a->x.c) };
    dr_conv2d_args wide = *a;
    dr_status rc = p->error.status;

    if (rc)
        return rc;
    if (!p->planning)
        cpu_for(cpu_of(p->device)->threads, (size_t)d.y.n * (size_t)d.y.h,
                cpu_grain((size_t)d.y.w * (size_t)d.y.c), double_lines, &d);
    wide.x = d.y;
    rc = run(p, layer, &wide);
    dr_release(p, &d.y);
    return rc;
}

dr_status cpu_conv2d(dr_pass *p, const dr_conv2d_args *a)
{
    const cpu_conv_layer *layer = (const cpu_conv_layer *)a->conv;

    return layer->base.upsample ? run_upsampled(p, layer, a) : run(p, layer, a);
}

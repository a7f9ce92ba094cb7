#include "ops/cpu/product.h"

#include <stdlib.h>
#include <string.h>

enum {
    /* Channels of a slice: an operand of some hundred rows and one panel (of nine taps) fit in half a
     * megabyte each. */
    SLICE_OF_ONE_TAP = 1280,
    SLICE_OF_MANY = 160,
    SLICE_MULTIPLE = 32,
};

static int at_least(int a, int b)
{
    return a > b ? a : b;
}

static int at_most(int a, int b)
{
    return a < b ? a : b;
}

static int divide_up(int a, int b)
{
    return (a + b - 1) / b;
}

static int round_up(int a, int multiple)
{
    return divide_up(a, multiple) * multiple;
}

/* --- weights ---------------------------------------------------------------------- */

/* Equal slices, as large as allowed. */
static int slice_of(int in, int taps)
{
    const int most = taps == 1 ? SLICE_OF_ONE_TAP : SLICE_OF_MANY;

    return at_most(in, round_up(divide_up(in, divide_up(in, most)), SLICE_MULTIPLE));
}

static int slice_channels(const cpu_weights *w, int slice)
{
    return at_most(w->slice, w->in - slice * w->slice);
}

/* All slices before one are full. */
static char *panel_at(const cpu_weights *w, int slice, int panel)
{
    const size_t full = w->kernels->panel_bytes(w->slice) * (size_t)w->taps;
    const size_t own = w->kernels->panel_bytes(slice_channels(w, slice)) * (size_t)w->taps;

    return w->packed + full * (size_t)w->panels * (size_t)slice + own * (size_t)panel;
}

dr_status cpu_weights_pack(cpu_weights *w, const cpu_device *cpu, const char *name, int in, int out, int taps,
                           const float *weight, const float *bias, dr_error *err)
{
    const dr_matmul_kernels *k = cpu->kernels->matmul;
    size_t packed_bytes, bias_bytes;

    dr_assert(taps <= CPU_TAPS_MAX);
    *w = (cpu_weights){ .kernels = k, .in = in, .out = out, .taps = taps };
    w->slice = slice_of(in, taps);
    w->slices = divide_up(in, w->slice);
    w->panels = divide_up(out, k->panel);
    packed_bytes =
        (size_t)(w->slices - 1) * k->panel_bytes(w->slice) + k->panel_bytes(slice_channels(w, w->slices - 1));
    packed_bytes *= (size_t)w->panels * (size_t)taps;
    bias_bytes = (size_t)w->panels * (size_t)k->panel * sizeof(float);
    w->packed = cpu->base.backend->alloc((dr_device *)&cpu->base, packed_bytes, NULL);
    w->bias = calloc(1, bias_bytes);
    w->bytes = packed_bytes + bias_bytes;
    if (!w->packed || !w->bias) {
        cpu_weights_free(w);
        return dr_fail(err, DR_ENOMEM, "%s: no %zu bytes for the packed weights", name,
                       packed_bytes + bias_bytes);
    }
    if (bias)
        memcpy(w->bias, bias, (size_t)out * sizeof(float));
#pragma omp parallel for collapse(2) schedule(static) num_threads(cpu->threads)
    for (int s = 0; s < w->slices; s++)
        for (int p = 0; p < w->panels; p++) {
            const int channels = slice_channels(w, s), column = p * k->panel;
            const float *from =
                weight + ((size_t)column * (size_t)in + (size_t)(s * w->slice)) * (size_t)taps;

            for (int t = 0; t < taps; t++)
                k->pack(panel_at(w, s, p) + (size_t)t * k->panel_bytes(channels), from + t,
                        (size_t)in * (size_t)taps, (size_t)taps, at_most(k->panel, out - column), channels);
        }
    return DR_OK;
}

void cpu_weights_free(cpu_weights *w)
{
    free(w->packed);
    free(w->bias);
    *w = (cpu_weights){ 0 };
}

/* --- chunks ----------------------------------------------------------------------- */

static size_t operand_bytes(const cpu_weights *w, int operand_rows)
{
    return (size_t)operand_rows * w->kernels->operand_stride(w->slice);
}

/* Sums wait for the next slice, of all panels; with one slice, each panel is done at once. */
static size_t sums_of_panel(const cpu_weights *w, int rows)
{
    return (size_t)round_up(rows, w->kernels->tile) * (size_t)w->kernels->panel;
}

size_t cpu_chunk_bytes(const cpu_weights *w, int rows, int operand_rows, int panels)
{
    const size_t sums = sums_of_panel(w, rows) * (size_t)(w->slices > 1 ? panels : 1) * sizeof(float);
    const size_t bytes = operand_bytes(w, operand_rows) + sums;

    return (bytes + DR_ARENA_ALIGN - 1) / DR_ARENA_ALIGN * DR_ARENA_ALIGN;
}

void cpu_chunk_run(const cpu_weights *w, const cpu_chunk *chunk, void *scratch)
{
    const dr_matmul_kernels *k = w->kernels;
    float *sums = (float *)((char *)scratch + operand_bytes(w, chunk->operand_rows));

    for (int s = 0; s < w->slices; s++) {
        const int channels = slice_channels(w, s);
        ptrdiff_t shift[CPU_TAPS_MAX];

        for (int t = 0; t < w->taps; t++)
            shift[t] = chunk->shift[t] * (ptrdiff_t)k->operand_stride(channels);
        chunk->load(chunk, scratch, s * w->slice, channels);
        for (int i = 0; i < chunk->panels; i++) {
            const int panel = chunk->panel + i, column = panel * k->panel;
            float *c = sums + (w->slices > 1 ? sums_of_panel(w, chunk->rows) * (size_t)i : 0);

            k->multiply(c, scratch, shift, w->taps, panel_at(w, s, panel), channels, chunk->rows, s > 0);
            if (s == w->slices - 1)
                chunk->store(chunk, c, column, at_most(k->panel, w->out - column));
        }
    }
}

cpu_split cpu_split_work(const cpu_device *cpu, int panels, int count, int most, int multiple)
{
    cpu_split s = { .count = count, .panels = panels, .parts = 1 };

    s.chunks = divide_up(count, at_least(most, 1));
    if (s.chunks >= cpu->threads)
        s.chunks = round_up(s.chunks, cpu->threads);
    else
        s.parts = at_most(divide_up(cpu->threads, s.chunks), panels);
    s.step = at_most(round_up(divide_up(count, s.chunks), multiple), count);
    s.chunks = divide_up(count, s.step);
    s.panel_step = divide_up(panels, s.parts);
    s.parts = divide_up(panels, s.panel_step);
    return s;
}

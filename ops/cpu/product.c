#include "ops/cpu/product.h"

#include <stdlib.h>
#include <string.h>

enum {
    /* Channels of a slice: an operand of some hundred rows and one panel (of nine taps) fit in half a
     * megabyte each. */
    SLICE_OF_ONE_TAP = 1280,
    SLICE_OF_MANY = 160,
    SLICE_MULTIPLE = 32,

    /* So many panels are finished together, row by row: that writes half a kilobyte of y at a time.  One
     * panel's 128 bytes of each row would go to another page each time, which took a fourth of a wide
     * layer's time. */
    FINISHED_COLUMNS = 128,
    FINISHED_ROWS = 16,
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

/* Divides channels into equal slices, as large as allowed. */
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

typedef struct packing {
    const cpu_weights *weights;
    const float *from; /* [out, in, taps] */
} packing;

/* Items: panels of all slices. */
static void pack_panels(void *arg, size_t begin, size_t end, int thread)
{
    const packing *a = arg;
    const cpu_weights *w = a->weights;
    const dr_matmul_kernels *k = w->kernels;
    const size_t in = (size_t)w->in, taps = (size_t)w->taps;

    (void)thread;
    for (size_t i = begin; i < end; i++) {
        const int slice = (int)i / w->panels, panel = (int)i % w->panels;
        const int channels = slice_channels(w, slice), column = panel * k->panel;
        const float *from = a->from + ((size_t)column * in + (size_t)(slice * w->slice)) * taps;

        for (size_t t = 0; t < taps; t++)
            k->pack(panel_at(w, slice, panel) + t * k->panel_bytes(channels), from + t, in * taps, taps,
                    at_most(k->panel, w->out - column), channels);
    }
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
    w->packed = cpu_memory(packed_bytes);
    w->bias = calloc(1, bias_bytes);
    w->bytes = packed_bytes + bias_bytes;
    if (!w->packed || !w->bias) {
        cpu_weights_free(w);
        return dr_fail(err, DR_ENOMEM, "%s: no %zu bytes for the packed weights", name,
                       packed_bytes + bias_bytes);
    }
    if (bias)
        memcpy(w->bias, bias, (size_t)out * sizeof(float));
    cpu_for(cpu->threads, (size_t)w->slices * (size_t)w->panels, 1, pack_panels,
            &(packing){ .weights = w, .from = weight });
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

static size_t sums_of_panel(const cpu_weights *w, int rows)
{
    return (size_t)round_up(rows, w->kernels->tile) * (size_t)w->kernels->panel;
}

static int panels_together(const cpu_weights *w)
{
    return FINISHED_COLUMNS / w->kernels->panel;
}

/* With several slices the sums of all panels wait for the next slice.  With a single slice only those wait
 * that are finished together. */
static int panels_kept(const cpu_weights *w, int panels)
{
    return w->slices > 1 ? panels : at_most(panels, panels_together(w));
}

size_t cpu_chunk_bytes(const cpu_weights *w, int rows, int operand_rows, int panels)
{
    const size_t sums = sums_of_panel(w, rows) * (size_t)panels_kept(w, panels) * sizeof(float);
    const size_t bytes = operand_bytes(w, operand_rows) + sums;

    return (bytes + DR_ARENA_ALIGN - 1) / DR_ARENA_ALIGN * DR_ARENA_ALIGN;
}

/* One slice of a chunk, whose operand is loaded. */
static void run_slice(const cpu_weights *w, const cpu_chunk *chunk, int slice, const void *operand, float *c)
{
    const dr_matmul_kernels *k = w->kernels;
    const int channels = slice_channels(w, slice), together = panels_together(w);
    const size_t panel_floats = sums_of_panel(w, chunk->rows);
    ptrdiff_t shift[CPU_TAPS_MAX];

    for (int t = 0; t < w->taps; t++)
        shift[t] = chunk->shift[t] * (ptrdiff_t)k->operand_stride(channels);
    for (int first = 0; first < chunk->panels; first += together) {
        const cpu_sums sums = {
            .weights = w,
            .c = c + (w->slices > 1 ? panel_floats * (size_t)first : 0),
            .panel_floats = panel_floats,
            .panel = chunk->panel + first,
            .panels = at_most(together, chunk->panels - first),
        };

        for (int i = 0; i < sums.panels; i++)
            k->multiply(sums.c + panel_floats * (size_t)i, operand, shift, w->taps,
                        panel_at(w, slice, sums.panel + i), channels, chunk->rows, slice > 0);
        if (slice == w->slices - 1)
            chunk->store(chunk, &sums);
    }
}

void cpu_chunk_run(const cpu_weights *w, const cpu_chunk *chunk, void *scratch)
{
    float *c = (float *)((char *)scratch + operand_bytes(w, chunk->operand_rows));

    for (int s = 0; s < w->slices; s++) {
        chunk->load(chunk, scratch, s * w->slice, slice_channels(w, s));
        run_slice(w, chunk, s, scratch, c);
    }
}

void cpu_sums_finish(const cpu_sums *sums, int row, int rows, const dr_matmul_finish *f)
{
    const cpu_weights *w = sums->weights;
    const int width = w->kernels->panel;

    for (int r = 0; r < rows; r += FINISHED_ROWS)
        for (int i = 0; i < sums->panels; i++) {
            const int column = (sums->panel + i) * width;
            dr_matmul_finish part = *f;

            part.bias += column;
            part.row_bias += part.row_bias ? column : 0;
            part.residual += part.residual ? (size_t)r * f->residual_ld + (size_t)column : 0;
            part.y += (size_t)r * f->y_ld + (size_t)column;
            w->kernels->finish(&part,
                               sums->c + sums->panel_floats * (size_t)i + (size_t)(row + r) * (size_t)width,
                               at_most(FINISHED_ROWS, rows - r), at_most(width, w->out - column));
        }
}

cpu_split cpu_split_work(const cpu_device *cpu, int panels, int count, int most, int multiple)
{
    cpu_split s = { .count = count, .panels = panels, .parts = 1 };

    s.chunks = divide_up(count, at_least(most, 1));
    if (s.chunks >= cpu->thread_count)
        s.chunks = round_up(s.chunks, cpu->thread_count);
    else
        s.parts = at_most(divide_up(cpu->thread_count, s.chunks), panels);
    s.step = at_most(round_up(divide_up(count, s.chunks), multiple), count);
    s.chunks = divide_up(count, s.step);
    s.panel_step = divide_up(panels, s.parts);
    s.parts = divide_up(panels, s.panel_step);
    return s;
}

/* Items: parts of all chunks. */
static void run_parts(void *arg, size_t begin, size_t end, int thread)
{
    const cpu_chunks *a = arg;
    const cpu_split *s = a->split;

    for (size_t i = begin; i < end; i++) {
        cpu_chunk chunk = a->common;

        chunk.first = (int)i / s->parts * s->step;
        chunk.rows = at_most(s->step, s->count - chunk.first) * a->unit_rows;
        chunk.panel = (int)i % s->parts * s->panel_step;
        chunk.panels = at_most(s->panel_step, s->panels - chunk.panel);
        cpu_chunk_run(a->weights, &chunk, a->scratch + a->chunk_bytes * (size_t)thread);
    }
    a->weights->kernels->settle();
}

void cpu_chunks_run(const cpu_device *cpu, const cpu_chunks *chunks)
{
    cpu_chunks a = *chunks;

    cpu_for(cpu->threads, (size_t)a.split->chunks * (size_t)a.split->parts, 1, run_parts, &a);
}

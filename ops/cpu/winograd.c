#include "ops/cpu/winograd.h"

#include "kernels/matmul.h"
#include "kernels/winograd.h"
#include "ops/cpu/product.h"

#include <stdlib.h>
#include <string.h>

enum {
    POINTS = DR_WINOGRAD_POINTS,
    IN = DR_WINOGRAD_IN,
    OUT = DR_WINOGRAD_OUT,
    TAPS = 9,

    PANEL_MAX = 32, /* columns, on any instruction set */
};

/* Weights of a layer that is narrow for its map are transformed once and for all: up to what a cache
 * beyond the second level is sure to hold, and so many bytes for a pixel, as all of them are read once a
 * group.  Those of other layers stay as they are, which is a fourth of the memory, and every group
 * transforms them for itself. */
enum { STORED_BYTES_MAX = 10 << 20, STORED_BYTES_PER_PIXEL = 64 << 10 };

/* Stored: v and m of a group should stay in the second-level cache; but not too few tiles for reading all
 * weights, and more than some gain nothing. */
enum {
    STORED_GROUP_BYTES = 2 << 20,
    STORED_TILES_MIN = 56,
    STORED_TILES_MAX = 224,
    STORED_BLOCK_CHANNELS = 256,
};

/* Not stored: enough tiles for the transform of the weights to be a small part, and no more than leave a
 * block of v and u and the sums of some panels in that cache.  The panels are half a kilobyte of each
 * pixel of y. */
enum { TILES_MAX = 64, BLOCK_CHANNELS = 64, TOGETHER_COLUMNS = 128 };

struct cpu_winograd {
    const dr_matmul_kernels *matmul;
    const dr_winograd_kernels *transform;
    int in, out, panels;
    bool stored; /* transformed */
    size_t bytes;
    float *packed; /* stored: [36, panels, in, panel]; else [panels, in, taps, panel] */
    float *bias;   /* [panels * panel] */
    float *zeros;  /* [in]: the pixels around a picture */
};

bool cpu_winograd_pays(const cpu_device *cpu, const dr_conv_desc *desc)
{
    /* Below, the input's transform costs more than the products save; and below a tile there is nothing to
     * save. */
    enum { IN_MIN = 32, PIXELS_MIN = OUT * OUT };

    return cpu->kernels->winograd && desc->kernel == 3 && desc->stride == 1 &&
           desc->padding == DR_PAD_AROUND && desc->in >= IN_MIN && desc->map_pixels >= PIXELS_MIN;
}

/* Floats of one tap, or one point, of one panel. */
static size_t panel_floats(const cpu_winograd *w)
{
    return w->matmul->panel_bytes(w->in) / sizeof(float);
}

/* --- weights ------------------------------------------------------------------------- */

typedef struct packing {
    const cpu_winograd *w;
    const float *weight; /* [out, in, taps] */
    float *plain;        /* stored: a panel of each thread, before it is transformed */
} packing;

/* Items: panels. */
static void pack_panels(void *arg, size_t begin, size_t end, int thread)
{
    const packing *a = arg;
    const cpu_winograd *w = a->w;
    const size_t row = (size_t)w->in * TAPS, panel = TAPS * panel_floats(w);

    for (size_t i = begin; i < end; i++) {
        const int width = w->matmul->panel, first = (int)i * width, left = w->out - first;
        float *plain = w->stored ? a->plain + (size_t)thread * panel : w->packed + i * panel;

        w->matmul->pack(plain, a->weight + (size_t)first * row, row, 1, left < width ? left : width,
                        w->in * TAPS);
        if (w->stored)
            w->transform->weights(w->packed + i * panel_floats(w), (size_t)w->panels * panel_floats(w), plain,
                                  w->in, width);
    }
}

static dr_status pack_weights(cpu_winograd *w, const cpu_device *cpu, const float *weight)
{
    const size_t plain = w->stored ? (size_t)cpu->thread_count * TAPS * panel_floats(w) * sizeof(float) : 0;
    const size_t packed =
        (size_t)(w->stored ? POINTS : TAPS) * (size_t)w->panels * panel_floats(w) * sizeof(float);
    packing a = { .w = w, .weight = weight };

    w->packed = cpu_memory(packed);
    a.plain = plain ? cpu_memory(plain) : NULL;
    w->bytes += packed;
    if (w->packed && (a.plain || !plain))
        cpu_for(cpu->threads, (size_t)w->panels, 1, pack_panels, &a);
    free(a.plain);
    return w->packed && (a.plain || !plain) ? DR_OK : DR_ENOMEM;
}

dr_status cpu_winograd_create(cpu_winograd **out, const cpu_device *cpu, const dr_conv_desc *desc,
                              dr_error *err)
{
    const dr_matmul_kernels *k = cpu->kernels->matmul;
    const int panels = (desc->out + k->panel - 1) / k->panel;
    const size_t columns = (size_t)panels * (size_t)k->panel;
    const size_t stored_bytes = POINTS * columns * (size_t)desc->in * sizeof(float);
    cpu_winograd *w = calloc(1, sizeof(*w));

    dr_assert(k->panel <= PANEL_MAX);
    *out = NULL;
    if (!w)
        goto no_memory;
    *w = (cpu_winograd){
        .matmul = k, .transform = cpu->kernels->winograd, .in = desc->in, .out = desc->out, .panels = panels
    };
    w->stored = stored_bytes <= STORED_BYTES_MAX &&
                stored_bytes <= (size_t)STORED_BYTES_PER_PIXEL * (size_t)desc->map_pixels;
    w->bias = calloc(columns, sizeof(float));
    w->zeros = calloc((size_t)desc->in, sizeof(float));
    w->bytes = (columns + (size_t)desc->in) * sizeof(float);
    if (!w->bias || !w->zeros || pack_weights(w, cpu, desc->weight))
        goto no_memory;
    if (desc->bias)
        memcpy(w->bias, desc->bias, (size_t)desc->out * sizeof(float));
    *out = w;
    return DR_OK;

no_memory:
    cpu_winograd_free(w);
    return dr_fail(err, DR_ENOMEM, "%s: no memory for the packed weights", desc->name);
}

void cpu_winograd_free(cpu_winograd *w)
{
    if (!w)
        return;
    free(w->packed);
    free(w->bias);
    free(w->zeros);
    free(w);
}

size_t cpu_winograd_bytes(const cpu_winograd *w)
{
    return w->bytes;
}

/* --- a run ------------------------------------------------------------------------- */

/* The tiles of all pictures, and how a thread's v, m and u are laid out. */
typedef struct grid {
    const cpu_winograd *w;
    const dr_conv2d_args *args;
    int down, across; /* tiles of a picture */
    int rows;         /* of v and m: a group's tiles, up to whole tiles of the product */
    int block;        /* channels transformed and multiplied at a time; the last block may have fewer */
    int together;     /* panels */
    cpu_split split;
    /* Floats.  v [blocks, 36, rows, block], m [together, 36, rows, panel], u [36, block, panel]; a point
     * is an odd number of cache lines from the next, so that 36 of them fall into different sets of a
     * cache. */
    size_t v_point, m_point, u_point;
    size_t v_floats, m_floats, u_floats;
} grid;

/* One thread's share: some tiles, some panels. */
typedef struct group {
    int first, tiles;
    int panel, panels;
    float *v, *m, *u;
} group;

/* Of what row size and count are multiples of a cache line. */
static size_t odd_lines(size_t floats)
{
    enum { LINE = 16 };
    const size_t lines = (floats + LINE - 1) / LINE;

    return (lines | 1) * LINE;
}

static size_t row_floats(const cpu_winograd *w, int channels)
{
    return w->matmul->operand_stride(channels) / sizeof(float);
}

/* Tiles of a group. */
static int tiles_most(const cpu_winograd *w)
{
    const size_t row = row_floats(w, w->in) + (size_t)(w->panels * w->matmul->panel);
    const int fit = (int)(STORED_GROUP_BYTES / (POINTS * row * sizeof(float)));

    if (!w->stored)
        return TILES_MAX;
    return fit < STORED_TILES_MIN ? STORED_TILES_MIN : fit > STORED_TILES_MAX ? STORED_TILES_MAX : fit;
}

static grid grid_of(const cpu_device *cpu, const cpu_winograd *w, const dr_conv2d_args *a)
{
    const int down = (a->y.h + OUT - 1) / OUT, across = (a->y.w + OUT - 1) / OUT, tile = w->matmul->tile;
    const int panel = w->matmul->panel;
    grid g = { .w = w, .args = a, .down = down, .across = across };
    int blocks;

    g.split = cpu_split_work(cpu, w->panels, a->y.n * down * across, tiles_most(w), 1);
    g.rows = (g.split.step + tile - 1) / tile * tile;
    g.block = w->stored ? STORED_BLOCK_CHANNELS : BLOCK_CHANNELS;
    g.block = w->in < g.block ? w->in : g.block;
    g.together = w->stored || g.split.panel_step < TOGETHER_COLUMNS / panel ? g.split.panel_step
                                                                            : TOGETHER_COLUMNS / panel;
    blocks = (w->in + g.block - 1) / g.block;
    g.v_point = odd_lines((size_t)g.rows * row_floats(w, g.block));
    g.m_point = odd_lines((size_t)(g.rows * panel));
    g.u_point = odd_lines((size_t)(g.block * panel));
    g.v_floats = (size_t)blocks * POINTS * g.v_point;
    g.m_floats = (size_t)g.together * POINTS * g.m_point;
    g.u_floats = w->stored ? 0 : POINTS * g.u_point;
    return g;
}

static int block_channels(const grid *g, int first)
{
    return g->w->in - first < g->block ? g->w->in - first : g->block;
}

/* Where the block of v that begins with channel `first` lies. */
static float *block_of(const grid *g, const group *u, int first)
{
    return u->v + (size_t)(first / g->block) * POINTS * g->v_point;
}

/* The upper left output of a tile. */
static void place_of(const grid *g, int tile, int *n, int *y, int *x)
{
    *n = tile / (g->down * g->across);
    *y = tile / g->across % g->down * OUT;
    *x = tile % g->across * OUT;
}

static void transform_input(const grid *g, const group *u, int i)
{
    const dr_tensor *t = &g->args->x;
    const float *pixel[POINTS];
    int n, y, x;

    place_of(g, u->first + i, &n, &y, &x);
    for (int p = 0; p < POINTS; p++) {
        const int yi = y + p / IN - 1, xi = x + p % IN - 1;
        const size_t at = ((size_t)n * (size_t)t->h + (size_t)yi) * (size_t)t->w + (size_t)xi;
        const bool inside = yi >= 0 && yi < t->h && xi >= 0 && xi < t->w;

        pixel[p] = inside ? (const float *)t->data + at * (size_t)t->ld : g->w->zeros;
    }
    for (int first = 0; first < g->w->in; first += g->block) {
        const int channels = block_channels(g, first);

        g->w->transform->input(block_of(g, u, first) + (size_t)i * row_floats(g->w, channels), g->v_point,
                               pixel, channels);
        for (int p = 0; p < POINTS; p++)
            pixel[p] += channels;
    }
}

/* Of tile i, panels [first, first + panels). */
static void transform_output(const grid *g, const group *u, int i, int first, int panels)
{
    const cpu_winograd *w = g->w;
    const dr_conv2d_args *a = g->args;
    const int width = w->matmul->panel;
    const size_t ld = (size_t)a->y.ld;
    float out[OUT * OUT * PANEL_MAX] __attribute__((aligned(64)));
    const float *row_bias;
    int n, y, x;

    place_of(g, u->first + i, &n, &y, &x);
    row_bias =
        a->row_bias.table ? a->row_bias.table + (size_t)a->row_bias.index[n] * a->row_bias.stride : NULL;
    for (int j = 0; j < panels; j++) {
        const int column = (first + j) * width, left = w->out - column;

        w->transform->output(out, u->m + (size_t)j * POINTS * g->m_point + (size_t)(i * width), g->m_point,
                             width);
        for (int line = 0; line < OUT && y + line < a->y.h; line++) {
            const size_t pixel =
                ((size_t)n * (size_t)a->y.h + (size_t)(y + line)) * (size_t)a->y.w + (size_t)x;
            const size_t at = pixel * ld + (size_t)column;
            const dr_matmul_finish f = {
                .bias = w->bias + column,
                .row_bias = row_bias ? row_bias + column : NULL,
                .residual = a->residual ? (const float *)a->residual->data + at : NULL,
                .residual_ld = ld,
                .y = (float *)a->y.data + at,
                .y_ld = ld,
                .stream = cpu_streams(&a->y),
            };

            w->matmul->finish(&f, out + line * OUT * width, a->y.w - x < OUT ? a->y.w - x : OUT,
                              left < width ? left : width);
        }
    }
}

static void multiply(const grid *g, const group *u, float *m, size_t point, int first, const float *weights)
{
    static const ptrdiff_t no_shift = 0;

    g->w->matmul->multiply(m + point * g->m_point, block_of(g, u, first) + point * g->v_point, &no_shift, 1,
                           weights, block_channels(g, first), u->tiles, first > 0);
}

/* The sums of panels [panel, panel + panels), over all channels. */
static void multiply_stored(const grid *g, const group *u, int panel, int panels)
{
    const cpu_winograd *w = g->w;

    for (size_t point = 0; point < POINTS; point++)
        for (int j = 0; j < panels; j++) {
            const float *weights =
                w->packed + (point * (size_t)w->panels + (size_t)(panel + j)) * panel_floats(w);

            for (int first = 0; first < w->in; first += g->block)
                multiply(g, u, u->m + (size_t)j * POINTS * g->m_point, point, first,
                         weights + (size_t)first * (size_t)w->matmul->panel);
        }
}

static void transform_and_multiply(const grid *g, const group *u, int panel, int panels)
{
    const cpu_winograd *w = g->w;
    const int width = w->matmul->panel;

    for (int first = 0; first < w->in; first += g->block)
        for (int j = 0; j < panels; j++) {
            const float *plain = w->packed + (size_t)(panel + j) * TAPS * panel_floats(w);

            w->transform->weights(u->u, g->u_point, plain + (size_t)(first * TAPS) * (size_t)width,
                                  block_channels(g, first), width);
            for (size_t point = 0; point < POINTS; point++)
                multiply(g, u, u->m + (size_t)j * POINTS * g->m_point, point, first,
                         u->u + point * g->u_point);
        }
}

/* Rows up to a whole tile are multiplied too; what lies there may be slow (denormals). */
static void clear_rest(const grid *g, const group *u)
{
    for (int first = 0; first < g->w->in; first += g->block) {
        const size_t row = row_floats(g->w, block_channels(g, first));

        for (size_t point = 0; point < POINTS; point++)
            memset(block_of(g, u, first) + point * g->v_point + (size_t)u->tiles * row, 0,
                   (size_t)(g->rows - u->tiles) * row * sizeof(float));
    }
}

static void run_group(const grid *g, const group *u)
{
    for (int i = 0; i < u->tiles; i++)
        transform_input(g, u, i);
    clear_rest(g, u);
    for (int panel = u->panel; panel < u->panel + u->panels; panel += g->together) {
        const int left = u->panel + u->panels - panel, panels = left < g->together ? left : g->together;

        if (g->w->stored)
            multiply_stored(g, u, panel, panels);
        else
            transform_and_multiply(g, u, panel, panels);
        for (int i = 0; i < u->tiles; i++)
            transform_output(g, u, i, panel, panels);
    }
}

typedef struct groups {
    const grid *grid;
    float *scratch;
    size_t thread_floats;
} groups;

/* Items: parts of all chunks of tiles. */
static void run_groups(void *arg, size_t begin, size_t end, int thread)
{
    const groups *a = arg;
    const grid *g = a->grid;
    const cpu_split *s = &g->split;
    float *own = a->scratch + a->thread_floats * (size_t)thread;

    for (size_t i = begin; i < end; i++) {
        const int first = (int)i / s->parts * s->step, panel = (int)i % s->parts * s->panel_step;
        const int tiles = s->count - first, panels = s->panels - panel;

        run_group(g, &(group){
                         .first = first,
                         .tiles = tiles < s->step ? tiles : s->step,
                         .panel = panel,
                         .panels = panels < s->panel_step ? panels : s->panel_step,
                         .v = own,
                         .m = own + g->v_floats,
                         .u = own + g->v_floats + g->m_floats,
                     });
    }
    g->w->matmul->settle();
}

dr_status cpu_winograd_run(dr_pass *p, const cpu_winograd *w, const dr_conv2d_args *a)
{
    const cpu_device *cpu = cpu_of(p->device);
    const grid g = grid_of(cpu, w, a);
    const cpu_split *s = &g.split;
    const size_t floats = g.v_floats + g.m_floats + g.u_floats;
    float *scratch = dr_arena_take(p->arena, floats * sizeof(float) * (size_t)cpu->thread_count);

    if (!scratch)
        return dr_fail(&p->error, DR_ENOMEM, "no %zu bytes of scratch for a convolution",
                       floats * sizeof(float) * (size_t)cpu->thread_count);
    if (!p->planning)
        cpu_for(cpu->threads, (size_t)s->chunks * (size_t)s->parts, 1, run_groups,
                &(groups){ .grid = &g, .scratch = scratch, .thread_floats = floats });
    dr_arena_release(p->arena, scratch);
    return DR_OK;
}

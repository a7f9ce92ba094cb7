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

    /* A group's v and m should stay in the second-level cache, but the weights are read once a group: so not
     * too few tiles; and more than some gain nothing. */
    GROUP_BYTES = 2 << 20,
    GROUP_TILES_MIN = 56,
    GROUP_TILES_MAX = 224,
    PANEL_MAX = 32, /* columns, on any instruction set */
};

struct cpu_winograd {
    const dr_matmul_kernels *matmul;
    const dr_winograd_kernels *transform;
    int in, out, panels;
    size_t bytes;
    char *packed; /* [36, panels, in, panel] */
    float *bias;  /* [panels * panel] */
    float *zeros; /* [in]: the pixels around a picture */
};

bool cpu_winograd_pays(const cpu_device *cpu, const dr_conv_desc *desc)
{
    /* Below, the transforms cost more than the products save. */
    enum { CHANNELS_MIN = 32 };
    /* The transformed weights are four times the weights and are read at every call: at most so many
     * bytes for a pixel of the map.  SD 1.5 at 512 x 512 then spends 1 GiB on them: all 3x3 layers at 64 x 64
     * and the decoder, the 640 -> 640 ones at 32 x 32, none below. */
    enum { BYTES_PER_PIXEL_MAX = 64 << 10 };
    const size_t bytes = (size_t)POINTS * (size_t)desc->in * (size_t)desc->out * sizeof(float);

    return cpu->kernels->winograd && desc->kernel == 3 && desc->stride == 1 &&
           desc->padding == DR_PAD_AROUND && desc->in >= CHANNELS_MIN && desc->out >= CHANNELS_MIN &&
           bytes <= (size_t)BYTES_PER_PIXEL_MAX * (size_t)desc->map_pixels;
}

static char *panel_at(const cpu_winograd *w, int point, int panel)
{
    return w->packed + ((size_t)point * (size_t)w->panels + (size_t)panel) * w->matmul->panel_bytes(w->in);
}

/* One point of the transformed weights of a panel: plain [columns, in], then packed. */
static void pack_panel(const cpu_winograd *w, const dr_conv_desc *desc, int point, int panel, float *plain)
{
    const int first = panel * w->matmul->panel;
    const int columns = desc->out - first < w->matmul->panel ? desc->out - first : w->matmul->panel;
    const float *g = desc->weight + (size_t)first * (size_t)desc->in * 9;

    for (size_t i = 0; i < (size_t)columns * (size_t)desc->in; i++)
        plain[i] = (float)dr_winograd_weight(g + 9 * i, point);
    w->matmul->pack(panel_at(w, point, panel), plain, (size_t)desc->in, 1, columns, desc->in);
}

typedef struct packing {
    const cpu_winograd *w;
    const dr_conv_desc *desc;
    float *plain; /* of each thread: one panel of one point */
} packing;

/* Items: panels of all points. */
static void pack_panels(void *arg, size_t begin, size_t end, int thread)
{
    const packing *a = arg;
    const size_t plain = (size_t)a->w->matmul->panel * (size_t)a->desc->in;

    for (size_t i = begin; i < end; i++)
        pack_panel(a->w, a->desc, (int)i / a->w->panels, (int)i % a->w->panels,
                   a->plain + (size_t)thread * plain);
}

dr_status cpu_winograd_create(cpu_winograd **out, const cpu_device *cpu, const dr_conv_desc *desc,
                              dr_error *err)
{
    const dr_matmul_kernels *k = cpu->kernels->matmul;
    const int panels = (desc->out + k->panel - 1) / k->panel;
    const size_t packed_bytes = (size_t)POINTS * (size_t)panels * k->panel_bytes(desc->in);
    cpu_winograd *w = calloc(1, sizeof(*w));
    float *plain = malloc((size_t)cpu->thread_count * (size_t)k->panel * (size_t)desc->in * sizeof(float));

    dr_assert(k->panel <= PANEL_MAX);
    *out = NULL;
    if (!w || !plain)
        goto no_memory;
    *w = (cpu_winograd){
        .matmul = k, .transform = cpu->kernels->winograd, .in = desc->in, .out = desc->out, .panels = panels
    };
    w->bias = calloc((size_t)panels * (size_t)k->panel, sizeof(float));
    w->zeros = calloc((size_t)desc->in, sizeof(float));
    w->packed = cpu->base.backend->alloc((dr_device *)&cpu->base, packed_bytes, NULL);
    if (!w->bias || !w->zeros || !w->packed)
        goto no_memory;
    w->bytes = packed_bytes + ((size_t)panels * (size_t)k->panel + (size_t)desc->in) * sizeof(float);
    if (desc->bias)
        memcpy(w->bias, desc->bias, (size_t)desc->out * sizeof(float));
    cpu_for(cpu->threads, (size_t)POINTS * (size_t)panels, 1, pack_panels,
            &(packing){ .w = w, .desc = desc, .plain = plain });
    free(plain);
    *out = w;
    return DR_OK;

no_memory:
    free(plain);
    cpu_winograd_free(w);
    return dr_fail(err, DR_ENOMEM, "%s: no %zu bytes for the packed weights", desc->name, packed_bytes);
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

/* The tiles of all pictures, and how a thread's v and m are laid out. */
typedef struct grid {
    const cpu_winograd *w;
    const dr_conv2d_args *args;
    int down, across; /* tiles of a picture */
    int rows;         /* of v and m: a group's tiles, up to whole tiles of the product */
    cpu_split split;
    size_t v_row, v_point, m_panel, m_point; /* floats */
} grid;

/* One thread's share: some tiles, some panels. */
typedef struct group {
    int first, tiles;
    int panel, panels;
    float *v, *m;
} group;

static grid grid_of(const cpu_device *cpu, const cpu_winograd *w, const dr_conv2d_args *a)
{
    const int down = (a->y.h + OUT - 1) / OUT, across = (a->y.w + OUT - 1) / OUT, tile = w->matmul->tile;
    const size_t m_row = (size_t)w->panels * (size_t)w->matmul->panel;
    grid g = { .w = w, .args = a, .down = down, .across = across };
    int most;

    g.v_row = w->matmul->operand_stride(w->in) / sizeof(float);
    most = (int)(GROUP_BYTES / (POINTS * (g.v_row + m_row) * sizeof(float)));
    most = most < GROUP_TILES_MIN ? GROUP_TILES_MIN : most > GROUP_TILES_MAX ? GROUP_TILES_MAX : most;
    g.split = cpu_split_work(cpu, w->panels, a->y.n * down * across, most, 1);
    g.rows = (g.split.step + tile - 1) / tile * tile;
    g.v_point = (size_t)g.rows * g.v_row;
    g.m_panel = (size_t)g.rows * (size_t)w->matmul->panel;
    g.m_point = g.m_panel * (size_t)g.split.panel_step;
    return g;
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
    g->w->transform->input(u->v + (size_t)i * g->v_row, g->v_point, pixel, g->w->in);
}

static void transform_output(const grid *g, const group *u, int i)
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
    for (int j = 0; j < u->panels; j++) {
        const int column = (u->panel + j) * width, left = w->out - column;

        w->transform->output(out, u->m + (size_t)j * g->m_panel + (size_t)(i * width), g->m_point, width);
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

static void run_group(const grid *g, const group *u)
{
    static const ptrdiff_t no_shift = 0;
    const dr_matmul_kernels *k = g->w->matmul;

    for (int i = 0; i < u->tiles; i++)
        transform_input(g, u, i);
    for (int point = 0; point < POINTS; point++) {
        float *v = u->v + (size_t)point * g->v_point;

        /* Rows up to a whole tile are multiplied too; what lies there may be slow (denormals). */
        memset(v + (size_t)u->tiles * g->v_row, 0, (size_t)(g->rows - u->tiles) * g->v_row * sizeof(float));
        for (int j = 0; j < u->panels; j++)
            k->multiply(u->m + (size_t)point * g->m_point + (size_t)j * g->m_panel, v, &no_shift, 1,
                        panel_at(g->w, point, u->panel + j), g->w->in, u->tiles, false);
    }
    for (int i = 0; i < u->tiles; i++)
        transform_output(g, u, i);
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
                         .m = own + POINTS * g->v_point,
                     });
    }
}

dr_status cpu_winograd_run(dr_pass *p, const cpu_winograd *w, const dr_conv2d_args *a)
{
    const cpu_device *cpu = cpu_of(p->device);
    const grid g = grid_of(cpu, w, a);
    const cpu_split *s = &g.split;
    const size_t floats = POINTS * (g.v_point + g.m_point);
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

/* norm.c - group norm and layer norm over threads.
 *
 * The blocks of pixels, and so the order of every sum, follow from the shape alone: neither the number
 * of threads nor the other rows change a bit. */
#include "ops/cpu/cpu.h"

#include "kernels/norm.h"

#include <math.h>

/* Pixels that are summed in float before double takes over. */
enum { BLOCK_PIXELS = 64 };

/* One row's map, cut into blocks.  The arrays hold [blocks, c] and [c] of that row. */
typedef struct map {
    const float *x;
    size_t pixels, c, blocks;
    float *sum, *square;
    float *mean, *scale, *shift;
} map;

static size_t block_pixels(const map *m, size_t block)
{
    const size_t left = m->pixels - block * BLOCK_PIXELS;

    return left < BLOCK_PIXELS ? left : BLOCK_PIXELS;
}

static map map_shape(const dr_tensor *x)
{
    map m = { .pixels = (size_t)x->h * (size_t)x->w, .c = (size_t)x->c };

    m.blocks = (m.pixels + BLOCK_PIXELS - 1) / BLOCK_PIXELS;
    return m;
}

/* The arrays of row n lie one after the other in the scratch. */
static map map_of(const dr_tensor *x, float *scratch, size_t n)
{
    map m = map_shape(x);

    m.x = (const float *)x->data + n * m.pixels * m.c;
    m.sum = scratch + n * (2 * m.blocks + 3) * m.c;
    m.square = m.sum + m.blocks * m.c;
    m.mean = m.square + m.blocks * m.c;
    m.scale = m.mean + m.c;
    m.shift = m.scale + m.c;
    return m;
}

/* Chan, Golub and LeVeque's rule for joining parts, in double: the parts are the group's channels in
 * each block. */
static void finish_group(const map *m, const dr_norm *norm, size_t group)
{
    const size_t width = m->c / (size_t)norm->groups, first = group * width;
    const double count = (double)(m->pixels * width);
    double mean = 0.0, spread = 0.0, scale;

    for (size_t b = 0; b < m->blocks; b++)
        for (size_t j = first; j < first + width; j++)
            mean += m->x[b * BLOCK_PIXELS * m->c + j] * (double)block_pixels(m, b) + m->sum[b * m->c + j];
    mean /= count;
    for (size_t b = 0; b < m->blocks; b++) {
        const double pixels = (double)block_pixels(m, b);

        for (size_t j = first; j < first + width; j++) {
            const double sum = m->sum[b * m->c + j];
            const double away = m->x[b * BLOCK_PIXELS * m->c + j] + sum / pixels - mean;

            spread += m->square[b * m->c + j] - sum * sum / pixels + pixels * away * away;
        }
    }
    scale = 1.0 / sqrt(fmax(spread, 0.0) / count + (double)norm->eps);
    for (size_t j = first; j < first + width; j++) {
        const double rounded = (float)mean; /* the rest of the mean goes into the shift */

        m->mean[j] = (float)mean;
        m->scale[j] = (float)(scale * norm->gamma[j]);
        m->shift[j] = (float)(norm->beta[j] - (mean - rounded) * scale * norm->gamma[j]);
    }
}

typedef struct group_norm_loop {
    const dr_norm_kernels *kernels;
    const dr_group_norm_args *args;
    size_t blocks, c; /* of a row */
    float *scratch;
} group_norm_loop;

/* Items: blocks of all rows. */
static void sum_blocks(void *arg, size_t begin, size_t end, int thread)
{
    const group_norm_loop *l = arg;

    (void)thread;
    for (size_t i = begin; i < end; i++) {
        const map m = map_of(&l->args->x, l->scratch, i / l->blocks);
        const size_t b = i % l->blocks;

        l->kernels->channel_sums(m.sum + b * l->c, m.square + b * l->c, m.x + b * BLOCK_PIXELS * l->c,
                                 block_pixels(&m, b), l->c);
    }
}

/* Items: groups of all rows. */
static void finish_groups(void *arg, size_t begin, size_t end, int thread)
{
    const group_norm_loop *l = arg;
    const size_t groups = (size_t)l->args->norm->groups;

    (void)thread;
    for (size_t i = begin; i < end; i++) {
        const map m = map_of(&l->args->x, l->scratch, i / groups);

        finish_group(&m, l->args->norm, i % groups);
    }
}

/* Items: blocks of all rows. */
static void apply_blocks(void *arg, size_t begin, size_t end, int thread)
{
    const group_norm_loop *l = arg;

    (void)thread;
    for (size_t i = begin; i < end; i++) {
        const map m = map_of(&l->args->x, l->scratch, i / l->blocks);
        const size_t first = i % l->blocks * BLOCK_PIXELS * l->c;
        float *y = (float *)l->args->y.data + (size_t)(m.x - (const float *)l->args->x.data);

        l->kernels->apply(y + first, m.x + first, block_pixels(&m, i % l->blocks), l->c, m.mean, m.scale,
                          m.shift, l->args->silu);
    }
}

dr_status cpu_group_norm(dr_pass *p, const dr_group_norm_args *a)
{
    const cpu_device *cpu = cpu_of(p->device);
    const map shape = map_shape(&a->x);
    const size_t rows = (size_t)a->x.n, blocks = shape.blocks, c = shape.c, groups = (size_t)a->norm->groups;
    const size_t bytes = rows * (2 * blocks + 3) * c * sizeof(float);
    group_norm_loop l = { .kernels = cpu->kernels->norm, .args = a, .blocks = blocks, .c = c };

    l.scratch = dr_arena_take(p->arena, bytes);
    if (!l.scratch)
        return dr_fail(&p->error, DR_ENOMEM, "no %zu bytes left for a group norm's sums", bytes);
    if (!p->planning) {
        cpu_for(cpu->threads, rows * blocks, cpu_grain(BLOCK_PIXELS * c), sum_blocks, &l);
        cpu_for(cpu->threads, rows * groups, cpu_grain(blocks * 2 * c / groups), finish_groups, &l);
        cpu_for(cpu->threads, rows * blocks, cpu_grain(BLOCK_PIXELS * c), apply_blocks, &l);
    }
    dr_arena_release(p->arena, l.scratch);
    return DR_OK;
}

typedef struct layer_norm_loop {
    const dr_norm_kernels *kernels;
    const dr_layer_norm_args *args;
} layer_norm_loop;

static void layer_norm_pixels(void *arg, size_t begin, size_t end, int thread)
{
    const layer_norm_loop *l = arg;
    const dr_norm *norm = l->args->norm;
    const size_t c = (size_t)l->args->x.c;

    (void)thread;
    for (size_t i = begin; i < end; i++)
        l->kernels->layer_norm((float *)l->args->y.data + i * c, (const float *)l->args->x.data + i * c, c,
                               norm->gamma, norm->beta, norm->eps);
}

dr_status cpu_layer_norm(dr_pass *p, const dr_layer_norm_args *a)
{
    const cpu_device *cpu = cpu_of(p->device);
    layer_norm_loop l = { .kernels = cpu->kernels->norm, .args = a };

    if (!p->planning)
        cpu_for(cpu->threads, dr_tensor_pixels(&a->x), cpu_grain((size_t)a->x.c), layer_norm_pixels, &l);
    return DR_OK;
}

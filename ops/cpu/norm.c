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
        const double rounded = (float)mean; /* what that leaves of the mean goes into the shift */

        m->mean[j] = (float)mean;
        m->scale[j] = (float)(scale * norm->gamma[j]);
        m->shift[j] = (float)(norm->beta[j] - (mean - rounded) * scale * norm->gamma[j]);
    }
}

dr_status cpu_group_norm(dr_pass *p, const dr_group_norm_args *a)
{
    const dr_norm_kernels *k = cpu_of(p->device)->kernels->norm;
    const map shape = map_shape(&a->x);
    const size_t rows = (size_t)a->x.n, blocks = shape.blocks, c = shape.c, groups = (size_t)a->norm->groups;
    const size_t bytes = rows * (2 * blocks + 3) * c * sizeof(float);
    float *scratch = dr_arena_take(p->arena, bytes);

    if (!scratch)
        return dr_fail(&p->error, DR_ENOMEM, "no %zu bytes left for a group norm's sums", bytes);
    if (p->planning)
        goto out;
#pragma omp parallel
    {
#pragma omp for schedule(static)
        for (size_t i = 0; i < rows * blocks; i++) {
            const map m = map_of(&a->x, scratch, i / blocks);
            const size_t b = i % blocks;

            k->channel_sums(m.sum + b * c, m.square + b * c, m.x + b * BLOCK_PIXELS * c, block_pixels(&m, b), c);
        }
#pragma omp for schedule(static)
        for (size_t i = 0; i < rows * groups; i++) {
            const map m = map_of(&a->x, scratch, i / groups);

            finish_group(&m, a->norm, i % groups);
        }
#pragma omp for schedule(static)
        for (size_t i = 0; i < rows * blocks; i++) {
            const map m = map_of(&a->x, scratch, i / blocks);
            const size_t first = i % blocks * BLOCK_PIXELS * c;
            float *y = (float *)a->y.data + (size_t)(m.x - (const float *)a->x.data);

            k->apply(y + first, m.x + first, block_pixels(&m, i % blocks), c, m.mean, m.scale, m.shift, a->silu);
        }
    }
out:
    dr_arena_release(p->arena, scratch);
    return DR_OK;
}

dr_status cpu_layer_norm(dr_pass *p, const dr_layer_norm_args *a)
{
    const dr_norm_kernels *k = cpu_of(p->device)->kernels->norm;
    const size_t pixels = dr_tensor_pixels(&a->x), c = (size_t)a->x.c;
    const float *x = a->x.data;
    float *y = a->y.data;

    if (p->planning)
        return DR_OK;
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < pixels; i++)
        k->layer_norm(y + i * c, x + i * c, c, a->norm->gamma, a->norm->beta, a->norm->eps);
    return DR_OK;
}

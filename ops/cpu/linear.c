/* linear.c - y = activation(x W^T + b) + residual, chunk by chunk (ops/cpu/product.h). */
#include "ops/cpu/product.h"

#include <stdlib.h>
#include <string.h>

typedef struct cpu_linear_layer {
    dr_linear base;
    cpu_weights weights;
} cpu_linear_layer;

enum {
    OPERAND_BYTES_MAX = 768 << 10, /* beside a panel in a second-level cache of 1 to 2 MiB */
    ROWS_MAX = 196,                /* 64 to 512 were tried: flat from 128 to 256; whole tiles of 14 */
};

dr_status cpu_linear_create(dr_linear **out, dr_device *device, const dr_linear_desc *desc, dr_error *err)
{
    cpu_linear_layer *layer = calloc(1, sizeof(*layer));
    dr_status rc;

    if (!layer)
        return dr_fail(err, DR_ENOMEM, "%s: no memory for the layer", desc->name);
    rc = cpu_weights_pack(&layer->weights, cpu_of(device), desc->name, desc->in, desc->out, 1, desc->weight,
                          desc->bias, err);
    if (rc) {
        free(layer);
        return rc;
    }
    layer->base =
        (dr_linear){ .device = device, .in = desc->in, .out = desc->out, .bytes = layer->weights.bytes };
    *out = &layer->base;
    return DR_OK;
}

void cpu_linear_free(dr_linear *linear)
{
    cpu_linear_layer *layer = (cpu_linear_layer *)linear;

    cpu_weights_free(&layer->weights);
    free(layer);
}

/* --- a run ------------------------------------------------------------------------- */

static void load(const cpu_chunk *chunk, void *operand, int channel, int channels)
{
    const cpu_rows *r = chunk->layer;
    const dr_matmul_kernels *k = r->weights->kernels;
    const size_t ld = (size_t)r->x.ld;
    const float *x = (const float *)r->x.data + (size_t)chunk->first * ld + channel;

    k->load(operand, x, ld, chunk->rows, channels);
    /* The last tile reads beyond the rows.  It finds zeros there: other values may be slow to multiply
     * (denormals). */
    memset((char *)operand + (size_t)chunk->rows * k->operand_stride(channels), 0,
           (size_t)(chunk->operand_rows - chunk->rows) * k->operand_stride(channels));
}

static void store(const cpu_chunk *chunk, const cpu_sums *sums)
{
    const cpu_rows *r = chunk->layer;
    const size_t first = (size_t)chunk->first;
    dr_matmul_finish f = {
        .bias = r->weights->bias,
        .row_bias = r->row_bias,
        .y = (float *)r->y.data + first * (size_t)r->y.ld,
        .y_ld = (size_t)r->y.ld,
        .activation = r->activation,
        .stream = cpu_streams(&r->y),
    };

    if (r->residual) {
        f.residual = (const float *)r->residual->data + first * (size_t)r->residual->ld;
        f.residual_ld = (size_t)r->residual->ld;
    }
    cpu_sums_finish(sums, 0, chunk->rows, &f);
}

dr_status cpu_rows_run(dr_pass *p, const cpu_rows *r)
{
    const cpu_device *cpu = cpu_of(p->device);
    const cpu_weights *w = r->weights;
    const int tile = w->kernels->tile;
    const int fit = (int)(OPERAND_BYTES_MAX / w->kernels->operand_stride(w->slice));
    const cpu_split split =
        cpu_split_work(cpu, w->panels, (int)dr_tensor_pixels(&r->x), fit < ROWS_MAX ? fit : ROWS_MAX, tile);
    const int operand_rows = (split.step + tile - 1) / tile * tile;
    const size_t bytes = cpu_chunk_bytes(w, split.step, operand_rows, split.panel_step);
    char *scratch = dr_arena_take(p->arena, bytes * (size_t)cpu->thread_count);

    if (!scratch)
        return dr_fail(&p->error, DR_ENOMEM, "no %zu bytes of scratch for a linear layer",
                       bytes * (size_t)cpu->thread_count);
    if (!p->planning)
        cpu_chunks_run(
            cpu, &(cpu_chunks){
                     .weights = w,
                     .split = &split,
                     .common = { .operand_rows = operand_rows, .load = load, .store = store, .layer = r },
                     .unit_rows = 1,
                     .scratch = scratch,
                     .chunk_bytes = bytes,
                 });
    dr_arena_release(p->arena, scratch);
    return DR_OK;
}

dr_status cpu_linear(dr_pass *p, const dr_linear_args *a)
{
    const cpu_linear_layer *layer = (const cpu_linear_layer *)a->linear;

    return cpu_rows_run(p, &(cpu_rows){
                               .weights = &layer->weights,
                               .x = a->x,
                               .y = a->y,
                               .activation = cpu_activation(cpu_of(p->device), a->activation),
                               .residual = a->residual,
                           });
}

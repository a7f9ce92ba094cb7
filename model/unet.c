#include "model/unet.h"

#include "model/unet_block.h"

#include <stdlib.h>

/* Beside the skips, the widest block has 7 tensors of a transformer and the scratch of an operator. */
_Static_assert((int)DR_SKIPS_MAX + 16 <= (int)DR_ARENA_BLOCKS_MAX, "skips leave room in the arena");

struct dr_unet {
    dr_device *device;
    dr_unet_config config;
    dr_conv *conv_in, *conv_out;
    dr_norm conv_norm_out;
    dr_linear *time_linear_1, *time_linear_2;
    float *class_embedding; /* device, [class_embeddings, time_embed_dim]; NULL: none */
    dr_unet_block down[DR_BLOCKS_MAX], mid, up[DR_BLOCKS_MAX]; /* by level: up[0] runs last */
    dr_unet_columns columns;
};

/* --- loading --------------------------------------------------------------------- */

static dr_conv *load_conv(const dr_unet *u, const dr_loader *l, const char *name, int in, int out)
{
    return dr_load_conv(l, name,
                        &(dr_conv_shape){
                            .in = in,
                            .out = out,
                            .kernel = 3,
                            .stride = 1,
                            .map_pixels = dr_unet_map_pixels(&u->config, 0),
                            .bias = true,
                        });
}

static void load_layers(dr_unet *u, const dr_loader *l)
{
    const dr_unet_config *c = &u->config;
    const int width = c->channels[0], time = dr_unet_time_embed_dim(c);

    u->conv_in = load_conv(u, l, "conv_in", c->in_channels, width);
    u->time_linear_1 = dr_load_linear(l, "time_embedding.linear_1", width, time, DR_BIAS);
    u->time_linear_2 = dr_load_linear(l, "time_embedding.linear_2", time, time, DR_BIAS);
    if (c->class_embeddings > 0)
        u->class_embedding = dr_load_vector(l, "class_embedding.weight", c->class_embeddings, time);
    for (int level = 0; level < c->blocks; level++)
        u->down[level] = dr_unet_down_block_load(l, c, level, &u->columns);
    if (c->mid_block)
        u->mid = dr_unet_mid_block_load(l, c, &u->columns);
    for (int level = c->blocks - 1; level >= 0; level--)
        u->up[level] = dr_unet_up_block_load(l, c, level, &u->columns);
    u->conv_norm_out = dr_load_norm(l, "conv_norm_out", width, c->norm_groups, c->norm_eps);
    u->conv_out = load_conv(u, l, "conv_out", width, c->out_channels);
}

dr_unet *dr_unet_load(const dr_loader *l, const dr_unet_config *config)
{
    dr_unet *u = calloc(1, sizeof(*u));

    if (!u) {
        dr_fail(&l->state->error, DR_ENOMEM, "no memory for a UNet");
        return NULL;
    }
    u->device = l->state->device;
    u->config = *config;
    load_layers(u, l);
    if (!l->state->error.status)
        return u;
    dr_unet_free(u);
    return NULL;
}

void dr_unet_free(dr_unet *u)
{
    if (!u)
        return;
    for (int level = 0; level < u->config.blocks; level++) {
        dr_unet_block_free(u->device, &u->down[level]);
        dr_unet_block_free(u->device, &u->up[level]);
    }
    dr_unet_block_free(u->device, &u->mid);
    dr_conv_free(u->conv_in);
    dr_conv_free(u->conv_out);
    dr_norm_free(u->device, &u->conv_norm_out);
    dr_linear_free(u->time_linear_1);
    dr_linear_free(u->time_linear_2);
    dr_device_free(u->device, u->class_embedding);
    free(u);
}

/* --- prompts --------------------------------------------------------------------- */

size_t dr_unet_context_bytes(const dr_unet *u, int rows)
{
    return (size_t)rows * DR_TOKENS * (size_t)u->columns.context *
           dr_dtype_bytes(dr_device_activation_dtype(u->device));
}

void dr_unet_context_forward(dr_pass *p, const dr_unet *u, dr_tensor prompt_embeds,
                             const dr_unet_context *context, int first_row)
{
    const dr_context_rows rows = { .data = context->data, .rows = context->rows };

    dr_assert(first_row >= 0 && prompt_embeds.n <= context->rows - first_row);
    dr_assert(prompt_embeds.w == DR_TOKENS && prompt_embeds.c == u->config.cross_attention_dim);
    for (int level = 0; level < u->config.blocks; level++) {
        dr_unet_block_context_forward(p, &u->down[level], prompt_embeds, &rows, first_row);
        dr_unet_block_context_forward(p, &u->up[level], prompt_embeds, &rows, first_row);
    }
    dr_unet_block_context_forward(p, &u->mid, prompt_embeds, &rows, first_row);
}

/* --- timesteps ------------------------------------------------------------------- */

int dr_unet_time_channels(const dr_unet *u)
{
    return u->columns.time;
}

/* silu(linear_2(silu(linear_1(sinusoids))) + class).  Every time_emb_proj begins with this last SiLU, so
 * it is computed once, here. */
static dr_tensor embed_time(dr_pass *p, const dr_unet *u, const dr_unet_time_args *a)
{
    const dr_unet_config *c = &u->config;
    const int time = dr_unet_time_embed_dim(c);
    dr_tensor emb = dr_take(p, a->n, 1, 1, time);
    dr_tensor hidden = dr_take(p, a->n, 1, 1, time);
    dr_tensor sinusoids = dr_take(p, a->n, 1, 1, c->channels[0]);

    dr_timestep_embedding(p, &(dr_timestep_embedding_args){
                                 .timestep = a->timesteps,
                                 .y = sinusoids,
                                 .flip_sin_to_cos = c->flip_sin_to_cos,
                                 .freq_shift = c->freq_shift,
                             });
    dr_apply_linear(p, &(dr_linear_args){ .linear = u->time_linear_1,
                                          .x = sinusoids,
                                          .y = hidden,
                                          .activation = c->activation });
    dr_release(p, &sinusoids);
    dr_apply_linear(p, &(dr_linear_args){ .linear = u->time_linear_2, .x = hidden, .y = emb });
    dr_release(p, &hidden);
    if (u->class_embedding)
        dr_lookup(p, &(dr_lookup_args){
                         .table = u->class_embedding, .index = a->classes, .y = emb, .accumulate = true });
    dr_activate(p, &(dr_activate_args){ .x = emb, .y = emb, .activation = c->activation });
    return emb;
}

void dr_unet_time_forward(dr_pass *p, const dr_unet *u, const dr_unet_time_args *a)
{
    const dr_tensor table = { .data = a->table,
                              .dtype = DR_F32,
                              .n = a->n,
                              .h = 1,
                              .w = 1,
                              .c = u->columns.time,
                              .ld = u->columns.time };
    dr_tensor emb;

    dr_assert(!u->class_embedding == !a->classes);
    emb = embed_time(p, u, a);
    for (int level = 0; level < u->config.blocks; level++) {
        dr_unet_block_time_forward(p, &u->down[level], emb, table);
        dr_unet_block_time_forward(p, &u->up[level], emb, table);
    }
    dr_unet_block_time_forward(p, &u->mid, emb, table);
    dr_release(p, &emb);
}

/* --- a step ---------------------------------------------------------------------- */

static dr_tensor middle(dr_pass *p, const dr_unet *u, const dr_unet_tables *t, dr_tensor x)
{
    dr_tensor y;

    if (u->config.mid_block)
        return dr_unet_mid_block_forward(p, &u->mid, t, x);
    y = dr_take_like(p, x); /* the first up block releases its input, and x is also its first skip */
    dr_scale(p, &(dr_scale_args){ .x = x, .y = y, .factor = 1 });
    return y;
}

void dr_unet_forward(dr_pass *p, const dr_unet *u, const dr_unet_args *a)
{
    const dr_unet_tables tables = {
        .rows = { .count = a->out.n, .sample = a->x_row },
        .time = { .table = a->time_table, .row = a->time_row, .stride = (size_t)u->columns.time },
        .context = { .data = a->context->data, .rows = a->context->rows, .row = a->context_row },
    };
    dr_unet_skips skips = { .count = 1 };
    dr_tensor x;

    skips.skip[0] = dr_take(p, a->x.n, a->x.h, a->x.w, u->config.channels[0]);
    skips.skip[0] = dr_conv2d(p, &(dr_conv2d_args){ .conv = u->conv_in,
                                                    .x = a->x,
                                                    .y = skips.skip[0],
                                                    .norm_groups = u->config.norm_groups });
    for (int level = 0; level < u->config.blocks; level++)
        dr_unet_down_block_forward(p, &u->down[level], &tables, &skips);
    x = dr_rows_expand(p, &tables.rows, middle(p, u, &tables, skips.skip[skips.count - 1]));
    for (int level = u->config.blocks - 1; level >= 0; level--)
        x = dr_unet_up_block_forward(p, &u->up[level], &tables, x, &skips);
    dr_assert(skips.count == 0);
    dr_group_norm(p, &(dr_group_norm_args){ .x = x, .y = x, .norm = &u->conv_norm_out, .silu = true });
    dr_conv2d(p, &(dr_conv2d_args){ .conv = u->conv_out, .x = x, .y = a->out });
    dr_release(p, &x);
}

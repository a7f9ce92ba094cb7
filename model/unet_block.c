#include "model/unet_block.h"

#include <stdlib.h>

int dr_unet_map_pixels(const dr_unet_config *c, int level)
{
    const int more = (1 << level) - 1;

    return ((c->sample_size[0] + more) >> level) * ((c->sample_size[1] + more) >> level);
}

int dr_unet_time_embed_dim(const dr_unet_config *c)
{
    return 4 * c->channels[0];
}

/* --- loading --------------------------------------------------------------------- */

static void make_room(dr_unet_block *b, const dr_loader *l, int resnets, int attentions)
{
    b->resnet = calloc((size_t)resnets, sizeof(*b->resnet));
    b->attention = calloc((size_t)attentions + 1, sizeof(*b->attention)); /* + 1, because 0 is legal */
    if (!b->resnet || !b->attention) {
        dr_fail(&l->state->error, DR_ENOMEM, "%s: no memory for a block of %d resnets", l->prefix, resnets);
        return;
    }
    b->resnets = resnets;
    b->attentions = attentions;
}

static void load_resnet(dr_unet_block *b, int i, const dr_loader *l, const dr_unet_config *c, int level,
                        int in, dr_unet_columns *columns)
{
    const dr_loader at = dr_loader_at(l, "resnets.%d", i);

    b->resnet[i] = dr_resnet_load(&at, &(dr_resnet_shape){
                                           .in = in,
                                           .out = c->channels[level],
                                           .groups = c->norm_groups,
                                           .eps = c->norm_eps,
                                           .map_pixels = dr_unet_map_pixels(c, level),
                                           .time = dr_unet_time_embed_dim(c),
                                           .eight_bits = true,
                                       });
    b->resnet[i].time_offset = columns->time;
    columns->time += c->channels[level];
}

static void load_attention(dr_unet_block *b, int i, const dr_loader *l, const dr_unet_config *c, int level,
                           bool only_cross_attention, dr_unet_columns *columns)
{
    const dr_loader at = dr_loader_at(l, "attentions.%d", i);

    b->attention[i] = dr_transformer_load(&at,
                                          &(dr_transformer_shape){
                                              .channels = c->channels[level],
                                              .heads = c->heads[level],
                                              .blocks = c->transformer_layers[level],
                                              .cross_attention_dim = c->cross_attention_dim,
                                              .only_cross_attention = only_cross_attention,
                                              .groups = c->norm_groups,
                                          },
                                          &columns->context);
}

dr_unet_block dr_unet_down_block_load(const dr_loader *root, const dr_unet_config *c, int level,
                                      dr_unet_columns *columns)
{
    const dr_loader l = dr_loader_at(root, "down_blocks.%d", level);
    const int layers = c->layers_per_block[level];
    dr_unet_block b = { 0 };

    make_room(&b, &l, layers, c->down_attention[level] ? layers : 0);
    for (int i = 0; i < b.resnets; i++) {
        load_resnet(&b, i, &l, c, level, c->channels[i == 0 && level > 0 ? level - 1 : level], columns);
        if (b.attentions)
            load_attention(&b, i, &l, c, level, c->only_cross_attention[level], columns);
    }
    if (level < c->blocks - 1)
        b.resample = dr_downsampler_load(&l, c->channels[level], DR_PAD_AROUND,
                                         dr_unet_map_pixels(c, level + 1), c->norm_groups);
    return b;
}

dr_unet_block dr_unet_mid_block_load(const dr_loader *root, const dr_unet_config *c, dr_unet_columns *columns)
{
    const dr_loader l = dr_loader_at(root, "mid_block");
    const int level = c->blocks - 1;
    dr_unet_block b = { 0 };

    make_room(&b, &l, 2, 1);
    for (int i = 0; i < b.resnets; i++)
        load_resnet(&b, i, &l, c, level, c->channels[level], columns);
    if (b.attentions)
        load_attention(&b, 0, &l, c, level, c->mid_only_cross_attention, columns);
    return b;
}

/* How many channels resnet i of an up block reads: those of its input and of a skip.  The first resnet's
 * input has the width of the level below.  The last skip is the downsampler of the level above, or
 * conv_in. */
static int up_resnet_in(const dr_unet_config *c, int level, int i)
{
    const bool first = i == 0 && level < c->blocks - 1;
    const bool last = i == c->layers_per_block[level] && level > 0;

    return c->channels[first ? level + 1 : level] + c->channels[last ? level - 1 : level];
}

dr_unet_block dr_unet_up_block_load(const dr_loader *root, const dr_unet_config *c, int level,
                                    dr_unet_columns *columns)
{
    const int index = c->blocks - 1 - level;
    const dr_loader l = dr_loader_at(root, "up_blocks.%d", index);
    const int layers = c->layers_per_block[level] + 1;
    dr_unet_block b = { 0 };

    make_room(&b, &l, layers, c->up_attention[index] ? layers : 0);
    for (int i = 0; i < b.resnets; i++) {
        load_resnet(&b, i, &l, c, level, up_resnet_in(c, level, i), columns);
        if (b.attentions)
            load_attention(&b, i, &l, c, level, c->only_cross_attention[level], columns);
    }
    if (level > 0)
        b.resample = dr_upsampler_load(&l, c->channels[level], dr_unet_map_pixels(c, level - 1), 0);
    return b;
}

void dr_unet_block_free(dr_device *device, dr_unet_block *b)
{
    for (int i = 0; i < b->resnets; i++)
        dr_resnet_free(device, &b->resnet[i]);
    for (int i = 0; i < b->attentions; i++)
        dr_transformer_free(device, &b->attention[i]);
    dr_resample_free(&b->resample);
    free(b->resnet);
    free(b->attention);
}

/* --- tables ---------------------------------------------------------------------- */

void dr_unet_block_time_forward(dr_pass *p, const dr_unet_block *b, dr_tensor emb, dr_tensor table)
{
    for (int i = 0; i < b->resnets; i++) {
        const dr_resnet *r = &b->resnet[i];
        const dr_tensor y = dr_tensor_channels(table, r->time_offset, r->out);

        dr_apply_linear(p, &(dr_linear_args){ .linear = r->time_emb_proj, .x = emb, .y = y });
    }
}

void dr_unet_block_context_forward(dr_pass *p, const dr_unet_block *b, dr_tensor prompt_embeds,
                                   const dr_context_rows *context, int first_row)
{
    for (int i = 0; i < b->attentions; i++)
        dr_transformer_context_forward(p, &b->attention[i], prompt_embeds, context, first_row);
}

/* --- forward --------------------------------------------------------------------- */

static dr_tensor top(const dr_unet_skips *skips)
{
    dr_assert(skips->count > 0);
    return skips->skip[skips->count - 1];
}

static void push(dr_unet_skips *skips, dr_tensor t)
{
    dr_assert(skips->count < DR_SKIPS_MAX);
    skips->skip[skips->count++] = t;
}

static dr_tensor pop(dr_unet_skips *skips)
{
    const dr_tensor t = top(skips);

    skips->count--;
    return t;
}

void dr_unet_down_block_forward(dr_pass *p, const dr_unet_block *b, const dr_unet_tables *t,
                                dr_unet_skips *skips)
{
    for (int i = 0; i < b->resnets; i++) {
        dr_tensor y = dr_resnet_forward(p, &b->resnet[i], top(skips), true, &t->time);

        if (b->attentions)
            y = dr_transformer_forward(p, &b->attention[i], y, &t->rows, &t->context);
        push(skips, y);
    }
    if (b->resample.conv)
        push(skips, dr_downsample_forward(p, &b->resample, top(skips)));
}

dr_tensor dr_unet_mid_block_forward(dr_pass *p, const dr_unet_block *b, const dr_unet_tables *t, dr_tensor x)
{
    x = dr_resnet_forward(p, &b->resnet[0], x, true, &t->time);
    x = dr_transformer_forward(p, &b->attention[0], x, &t->rows, &t->context);
    return dr_resnet_forward(p, &b->resnet[1], x, false, &t->time);
}

dr_tensor dr_unet_up_block_forward(dr_pass *p, const dr_unet_block *b, const dr_unet_tables *t, dr_tensor x,
                                   dr_unet_skips *skips)
{
    for (int i = 0; i < b->resnets; i++) {
        dr_tensor skip = dr_rows_expand(p, &t->rows, pop(skips));
        dr_tensor both = dr_take(p, x.n, x.h, x.w, x.c + skip.c);

        both = dr_concat(p, &(dr_concat_args){
                                .a = x, .b = skip, .y = both, .norm_groups = b->resnet[i].norm1.groups });
        dr_release(p, &skip);
        dr_release(p, &x);
        x = dr_resnet_forward(p, &b->resnet[i], both, false, &t->time);
        if (b->attentions)
            x = dr_transformer_forward(p, &b->attention[i], x, &t->rows, &t->context);
    }
    if (!b->resample.conv)
        return x;
    return dr_upsample_forward(p, &b->resample, x, top(skips).h,
                               top(skips).w); /* not always twice the size: sides may be odd */
}

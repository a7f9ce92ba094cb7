/* transformer.h - where a picture looks at itself and at the prompt: diffusers' Transformer2DModel.
 *
 *     x -> norm -> proj_in -> blocks -> proj_out -> + x
 *
 *     block:  h += attn1(norm1(h))    self-attention; with only_cross_attention to the prompt
 *             h += attn2(norm2(h))    to the prompt
 *             h += ff(norm3(h))       GEGLU, four times as wide
 *
 * proj_in and proj_out are 1x1 convolutions or linear layers in the checkpoint: the
 * same thing over pixels with channels last.
 *
 * Vaswani et al. 2017; Shazeer 2020 (GEGLU); Rombach et al. 2022. */
#ifndef DR_MODEL_TRANSFORMER_H
#define DR_MODEL_TRANSFORMER_H

#include "model/loader.h"
#include "model/rows.h"

typedef struct dr_transformer_shape {
    int channels, heads, blocks;
    int cross_attention_dim;
    bool only_cross_attention;
    int groups;
} dr_transformer_shape;

typedef struct dr_transformer_block dr_transformer_block;

typedef struct dr_transformer {
    dr_norm norm;
    dr_linear *proj_in, *proj_out;
    int blocks;
    dr_transformer_block *block; /* [blocks] */
} dr_transformer;

/* *context_channels counts the columns that cross-attention layers have claimed so far: each
 * takes its own, keys then values. */
dr_transformer dr_transformer_load(const dr_loader *l, const dr_transformer_shape *shape,
                                   int *context_channels);
void dr_transformer_free(dr_device *device, dr_transformer *t); /* a zeroed or half-loaded one is allowed */

/* Keys and values of all layers: layer after layer, each [rows, 77, k | v]. */
typedef struct dr_context_rows {
    void *data;         /* device */
    int rows;           /* of every layer */
    const int32_t *row; /* device, [n]: the one that each row of the batch attends to */
} dr_context_rows;

/* Fill this transformer's layers in rows [first_row, first_row + n) from prompt_embeds [n, 1, 77, ...]. */
void dr_transformer_context_forward(dr_pass *p, const dr_transformer *t, dr_tensor prompt_embeds,
                                    const dr_context_rows *context, int first_row);

/* x [n, h, w, channels], a row for each sample or each of the batch, is used up; the output, with a row
 * for each of the batch, is the caller's. */
dr_tensor dr_transformer_forward(dr_pass *p, const dr_transformer *t, dr_tensor x, const dr_rows *rows,
                                 const dr_context_rows *context);

#endif

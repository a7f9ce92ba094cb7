/* transformer.h - attention of a picture to itself and to the prompt: diffusers' Transformer2DModel.
 *
 *     x -> norm -> proj_in -> blocks -> proj_out -> + x
 *
 *     block:  h += attn1(norm1(h))    self-attention; with only_cross_attention: attention to the prompt
 *             h += attn2(norm2(h))    attention to the prompt
 *             h += ff(norm3(h))       GEGLU, four times as wide
 *
 * A checkpoint has proj_in and proj_out as 1x1 convolutions or as linear layers.  With channels last both
 * compute the same.
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

/* Load the layers below l.  *context_channels counts the columns of the context that layers have claimed
 * so far; each cross-attention layer claims 2 * channels more, for keys and then values.  On failure the
 * loader has the error, and the result may be half loaded. */
dr_transformer dr_transformer_load(const dr_loader *l, const dr_transformer_shape *shape,
                                   int *context_channels);
void dr_transformer_free(dr_device *device, dr_transformer *t); /* a zeroed or half-loaded one is allowed */

/* The context: keys and values of the prompts for all layers, layer after layer, each [rows, 77, k | v]. */
typedef struct dr_context_rows {
    void *data;         /* device */
    int rows;           /* rows of every layer: one for each prompt */
    const int32_t *row; /* device, [n]: the row that each row of the batch attends to */
} dr_context_rows;

/* Compute the keys and values of this transformer's layers for n prompts, from prompt_embeds [n, 1, 77,
 * cross_attention_dim], into the context's rows [first_row, first_row + n). */
void dr_transformer_context_forward(dr_pass *p, const dr_transformer *t, dr_tensor prompt_embeds,
                                    const dr_context_rows *context, int first_row);

/* x [n, h, w, channels] has a row for each sample, or for each row of the batch; it is released.  Returns
 * [rows->count, h, w, channels], which the caller releases. */
dr_tensor dr_transformer_forward(dr_pass *p, const dr_transformer *t, dr_tensor x, const dr_rows *rows,
                                 const dr_context_rows *context);

#endif

/* unet_block.h - one block of the UNet: a level on the way down or up, or the middle.
 *
 *     down   resnet (transformer)  resnet (transformer)  downsampler      each output is a skip
 *     mid    resnet  transformer   resnet
 *     up     (skip) resnet (transformer)  (skip) resnet (transformer)  ...  upsampler
 *
 * One structure holds any of them: parts that a block lacks are NULL or zero. */
#ifndef DR_MODEL_UNET_BLOCK_H
#define DR_MODEL_UNET_BLOCK_H

#include "model/config.h"
#include "model/resample.h"
#include "model/resnet.h"
#include "model/rows.h"
#include "model/transformer.h"

typedef struct dr_unet_block {
    int resnets, attentions;
    dr_resnet *resnet;         /* [resnets], owned */
    dr_transformer *attention; /* [attentions], owned: 0 or as many as resnets; one less in the middle */
    dr_resample resample;
} dr_unet_block;

/* How many columns of the time table and of the context the layers loaded so far have claimed. */
typedef struct dr_unet_columns {
    int time, context;
} dr_unet_columns;

/* Load a block; l is at the root of the UNet's file.  Level 0 has the widest map, so the up block of level
 * i has the prefix "up_blocks.(blocks - 1 - i)".  On failure the loader has the error, and the block may
 * be half loaded. */
dr_unet_block dr_unet_down_block_load(const dr_loader *l, const dr_unet_config *c, int level,
                                      dr_unet_columns *columns);
dr_unet_block dr_unet_mid_block_load(const dr_loader *l, const dr_unet_config *c, dr_unet_columns *columns);
dr_unet_block dr_unet_up_block_load(const dr_loader *l, const dr_unet_config *c, int level,
                                    dr_unet_columns *columns);
void dr_unet_block_free(dr_device *device, dr_unet_block *b); /* a zeroed or half-loaded one is allowed */

int dr_unet_map_pixels(const dr_unet_config *c,
                       int level);                   /* pixels of a level's map, at the model's own size */
int dr_unet_time_embed_dim(const dr_unet_config *c); /* channels of the time embedding */

/* Outputs of the way down that the way up reads, last in first out.  The block that removes a skip
 * releases it.  The first skips have a row for each sample, the others a row for each row of the batch. */
typedef struct dr_unet_skips {
    dr_tensor skip[DR_SKIPS_MAX];
    int count;
} dr_unet_skips;

/* What all blocks of a call read. */
typedef struct dr_unet_tables {
    dr_rows rows;
    dr_time_rows time;
    dr_context_rows context;
} dr_unet_tables;

/* Down: reads the topmost skip.  Each output becomes the new topmost skip. */
void dr_unet_down_block_forward(dr_pass *p, const dr_unet_block *b, const dr_unet_tables *t,
                                dr_unet_skips *skips);
/* Middle: x is the topmost skip and stays as it is.  The caller releases the output. */
dr_tensor dr_unet_mid_block_forward(dr_pass *p, const dr_unet_block *b, const dr_unet_tables *t, dr_tensor x);
/* Up: x, with all rows of the batch, is released, and so is one skip for each resnet.  The caller releases
 * the output. */
dr_tensor dr_unet_up_block_forward(dr_pass *p, const dr_unet_block *b, const dr_unet_tables *t, dr_tensor x,
                                   dr_unet_skips *skips);

/* Fill this block's columns of the time table and of the context (unet.h).  emb: [n, 1, 1,
 * time_embed_dim], after SiLU.  table: [n, 1, 1, dr_unet_time_channels()]. */
void dr_unet_block_time_forward(dr_pass *p, const dr_unet_block *b, dr_tensor emb, dr_tensor table);
void dr_unet_block_context_forward(dr_pass *p, const dr_unet_block *b, dr_tensor prompt_embeds,
                                   const dr_context_rows *context, int first_row);

#endif

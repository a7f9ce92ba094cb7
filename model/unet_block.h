/* unet_block.h - one level of the UNet, on the way down, in the middle or on the way up.
 *
 *     down   resnet (transformer)  resnet (transformer)  downsampler      every output is a skip
 *     mid    resnet  transformer   resnet
 *     up     (skip) resnet (transformer)  (skip) resnet (transformer)  ...  upsampler
 *
 * One structure holds any of them: what a block lacks is NULL or zero. */
#ifndef DR_MODEL_UNET_BLOCK_H
#define DR_MODEL_UNET_BLOCK_H

#include "model/config.h"
#include "model/resample.h"
#include "model/resnet.h"
#include "model/rows.h"
#include "model/transformer.h"

typedef struct dr_unet_block {
    int resnets, attentions;
    dr_resnet *resnet;         /* [resnets] */
    dr_transformer *attention; /* [attentions]: 0, or as many as resnets; one less in the middle */
    dr_resample resample;
} dr_unet_block;

/* Columns of the two tables that the layers loaded so far have claimed. */
typedef struct dr_unet_columns {
    int time, context;
} dr_unet_columns;

/* l is the root.  Level 0 is the widest map; the up block of level i has the prefix
 * "up_blocks.(blocks - 1 - i)". */
dr_unet_block dr_unet_down_block_load(const dr_loader *l, const dr_unet_config *c, int level,
                                      dr_unet_columns *columns);
dr_unet_block dr_unet_mid_block_load(const dr_loader *l, const dr_unet_config *c, dr_unet_columns *columns);
dr_unet_block dr_unet_up_block_load(const dr_loader *l, const dr_unet_config *c, int level,
                                    dr_unet_columns *columns);
void dr_unet_block_free(dr_device *device, dr_unet_block *b); /* a zeroed or half-loaded one is allowed */

/* The pixels of a level's map at the model's own size, and channels of its time embedding. */
int dr_unet_map_pixels(const dr_unet_config *c, int level);
int dr_unet_time_embed_dim(const dr_unet_config *c);

/* Outputs of the way down that the way up takes back, last in first out.  Whoever pops owns.  The first
 * ones have a row for each sample, the others one for each of the batch. */
typedef struct dr_unet_skips {
    dr_tensor skip[DR_SKIPS_MAX];
    int count;
} dr_unet_skips;

/* What all blocks of a step read. */
typedef struct dr_unet_tables {
    dr_rows rows;
    dr_time_rows time;
    dr_context_rows context;
} dr_unet_tables;

/* Down: from the topmost skip on; every output becomes the new topmost. */
void dr_unet_down_block_forward(dr_pass *p, const dr_unet_block *b, const dr_unet_tables *t,
                                dr_unet_skips *skips);
/* Mid: x belongs to a skip and is left alone; the output is the caller's. */
dr_tensor dr_unet_mid_block_forward(dr_pass *p, const dr_unet_block *b, const dr_unet_tables *t, dr_tensor x);
/* Up: x, with all rows of the batch, is used up, and a skip for each resnet; the output is the caller's. */
dr_tensor dr_unet_up_block_forward(dr_pass *p, const dr_unet_block *b, const dr_unet_tables *t, dr_tensor x,
                                   dr_unet_skips *skips);

/* This block's columns of the tables; see unet.h. emb [n, 1, 1, time_embed_dim], after SiLU. */
void dr_unet_block_time_forward(dr_pass *p, const dr_unet_block *b, dr_tensor emb, dr_tensor table);
void dr_unet_block_context_forward(dr_pass *p, const dr_unet_block *b, dr_tensor prompt_embeds,
                                   const dr_context_rows *context, int first_row);

#endif

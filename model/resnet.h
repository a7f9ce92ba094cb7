/* resnet.h - the convolution block of UNet and VAE: diffusers' ResnetBlock2D.
 *
 *     x -> norm1, silu -> conv1 (+ time) -> norm2, silu -> conv2 -> + -> y
 *     |                                                              |
 *     +------------ conv_shortcut, where the width changes ----------+
 *
 * He et al. 2016.  What a timestep adds after conv1 is not computed here: it comes as
 * columns of the time table (unet.h). */
#ifndef DR_MODEL_RESNET_H
#define DR_MODEL_RESNET_H

#include "model/loader.h"

typedef struct dr_resnet_shape {
    int in, out;
    int groups;
    float eps;
    int map_pixels;  /* at the model's own size: see dr_conv_desc */
    int time;        /* channels of the time embedding; 0: none (VAE) */
    bool eight_bits; /* its convolutions may be: see dr_conv_desc */
} dr_resnet_shape;

typedef struct dr_resnet {
    dr_norm norm1, norm2;
    dr_conv *conv1, *conv2;
    dr_linear *conv_shortcut; /* 1x1, so a linear layer over pixels; NULL: in == out */
    dr_linear *time_emb_proj; /* NULL without time */
    int time_offset;          /* its first column of the time table, set by the UNet */
    int in, out;
} dr_resnet;

dr_resnet dr_resnet_load(const dr_loader *l, const dr_resnet_shape *shape);
void dr_resnet_free(dr_device *device, dr_resnet *r); /* a zeroed or half-loaded one is allowed */

/* The rows of the time table that a batch is at. */
typedef struct dr_time_rows {
    const float *table;
    const int32_t *row; /* device, [n] */
    size_t stride;      /* floats of a row */
} dr_time_rows;

/* The block's output, the caller's to release.  `keep`: somebody else (a skip
 * connection) still needs x.  Without it x's memory is used up: released, or the output itself.
 * time: NULL for a block without. */
dr_tensor dr_resnet_forward(dr_pass *p, const dr_resnet *r, dr_tensor x, bool keep, const dr_time_rows *time);

#endif

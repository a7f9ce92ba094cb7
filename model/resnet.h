/* resnet.h - the convolution block of UNet and VAE: diffusers' ResnetBlock2D.
 *
 *     x -> norm1, silu -> conv1 (+ time) -> norm2, silu -> conv2 -> + -> y
 *     |                                                              |
 *     +------------ conv_shortcut, where the width changes ----------+
 *
 * He et al. 2016.  What a timestep adds after conv1 is read from columns of the time table (unet.h). */
#ifndef DR_MODEL_RESNET_H
#define DR_MODEL_RESNET_H

#include "model/loader.h"

typedef struct dr_resnet_shape {
    int in, out;
    int groups;
    float eps;
    int map_pixels;  /* at the model's own size: see dr_conv_desc */
    int time;        /* channels of the time embedding; 0: none (VAE) */
    bool eight_bits; /* its convolutions may multiply in 8 bits: see dr_conv_desc */
} dr_resnet_shape;

typedef struct dr_resnet {
    dr_norm norm1, norm2;
    dr_conv *conv1, *conv2;
    dr_linear *conv_shortcut; /* 1x1, so a linear layer over pixels; NULL: in == out */
    dr_linear *time_emb_proj; /* NULL without time */
    int time_offset;          /* its first column of the time table, set by the UNet */
    int in, out;
} dr_resnet;

/* Load the block below l.  On failure the loader has the error, and the block may be half loaded. */
dr_resnet dr_resnet_load(const dr_loader *l, const dr_resnet_shape *shape);
void dr_resnet_free(dr_device *device, dr_resnet *r); /* a zeroed or half-loaded one is allowed */

/* The time table, and which of its rows each row of the batch reads. */
typedef struct dr_time_rows {
    const float *table; /* device, [rows of the table, stride] */
    const int32_t *row; /* device, [n] */
    size_t stride;      /* floats of a row */
} dr_time_rows;

/* x [n, h, w, in] becomes an output [n, h, w, out], which the caller releases.  keep: x stays as it is,
 * because a skip connection still needs it.  Without keep, x is released, or becomes the output.  time:
 * NULL for a block without a time embedding. */
dr_tensor dr_resnet_forward(dr_pass *p, const dr_resnet *r, dr_tensor x, bool keep, const dr_time_rows *time);

#endif

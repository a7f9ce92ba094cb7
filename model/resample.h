/* resample.h - between two levels of a UNet or VAE: diffusers' Downsample2D and Upsample2D.
 *
 *     down   3x3 convolution of stride 2
 *     up     nearest neighbour to twice the size, or one pixel less, then a 3x3 convolution */
#ifndef DR_MODEL_RESAMPLE_H
#define DR_MODEL_RESAMPLE_H

#include "model/loader.h"

typedef struct dr_resample {
    dr_conv *conv; /* NULL: the block does not resample */
    dr_padding padding;
    int norm_groups;
} dr_resample;

/* map_pixels: of the output, at the model's own size.  norm_groups: of the norm that the output goes to, or 0. */
dr_resample dr_downsampler_load(const dr_loader *l, int channels, dr_padding padding, int map_pixels,
                                int norm_groups);
dr_resample dr_upsampler_load(const dr_loader *l, int channels, int map_pixels, int norm_groups);
void dr_resample_free(dr_resample *r); /* a zeroed one is allowed */

/* The output is the caller's to release.  Down leaves x alone, up uses it up. */
dr_tensor dr_downsample_forward(dr_pass *p, const dr_resample *r, dr_tensor x);
dr_tensor dr_upsample_forward(dr_pass *p, const dr_resample *r, dr_tensor x, int h, int w);

#endif

/* resample.h - between two levels of a UNet or VAE: diffusers' Downsample2D and Upsample2D.
 *
 *     down   3x3 convolution of stride 2
 *     up     nearest neighbour to twice the size, or one pixel less, then a 3x3 convolution */
#ifndef DR_MODEL_RESAMPLE_H
#define DR_MODEL_RESAMPLE_H

#include "model/loader.h"

typedef struct dr_resample {
    dr_conv *conv; /* owned; NULL: the block does not resample */
    dr_padding padding;
    int norm_groups; /* groups of the norm that reads the output; 0: no norm does */
} dr_resample;

/* Load the convolution "downsamplers.0.conv" or "upsamplers.0.conv" below l, from channels to channels.
 * map_pixels: pixels of the output at the model's own size.  On failure the loader has the error, and conv
 * is NULL. */
dr_resample dr_downsampler_load(const dr_loader *l, int channels, dr_padding padding, int map_pixels,
                                int norm_groups);
dr_resample dr_upsampler_load(const dr_loader *l, int channels, int map_pixels, int norm_groups);
void dr_resample_free(dr_resample *r); /* a zeroed one is allowed */

/* x [n, h, w, channels] becomes an output that the caller releases.  Down gives half the size and leaves x
 * as it is.  Up gives [n, h, w, channels] of the arguments, which is twice the size of x or one pixel
 * less, and releases x. */
dr_tensor dr_downsample_forward(dr_pass *p, const dr_resample *r, dr_tensor x);
dr_tensor dr_upsample_forward(dr_pass *p, const dr_resample *r, dr_tensor x, int h, int w);

#endif

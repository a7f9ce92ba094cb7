/* unet.h - the denoiser: diffusers' UNet2DConditionModel.
 *
 *     once per prompt     context_forward   keys and values of every cross-attention layer
 *     once per schedule   time_forward      what every resnet adds for a timestep
 *     every step          forward
 *
 *     x -> conv_in -> down 0 -> down 1 -> ... -> mid -> ... -> up -> up -> norm -> conv_out
 *              |        |         |                     |       |    |
 *              +--------+---------+----- skips, last in first out ---+
 *
 * What does not change between steps is in two tables owned by the caller; a row of the
 * batch names its entry in each, so rows can have any prompts and timesteps.  Rows of one sample
 * (rows.h) are one row up to the first cross-attention: in SD 1.x conv_in, a resnet and the largest
 * self-attention.
 *
 * Ronneberger et al. 2015; Ho et al. 2020; Rombach et al. 2022.  Weights never change once loaded. */
#ifndef DR_MODEL_UNET_H
#define DR_MODEL_UNET_H

#include "model/config.h"
#include "model/loader.h"

typedef struct dr_unet dr_unet;

/* `l` is the root of the UNet's file.  On failure NULL, and the loader has the error. */
dr_unet *dr_unet_load(const dr_loader *l, const dr_unet_config *config);
void dr_unet_free(dr_unet *unet); /* NULL is allowed */

/* --- prompts: keys and values ------------------------------------------------------- */

/* Device memory of dr_unet_context_bytes(unet, rows), the caller's:
 *
 *     layer 0 [rows, 77, k | v]   layer 1 [rows, 77, k | v]   ... */
typedef struct dr_unet_context {
    void *data;
    int rows; /* prompts that it has room for */
} dr_unet_context;

size_t dr_unet_context_bytes(const dr_unet *unet, int rows);

/* Fill the context's rows [first_row, first_row + n) from prompt_embeds [n, 1, 77, cross_attention_dim]. */
void dr_unet_context_forward(dr_pass *p, const dr_unet *unet, dr_tensor prompt_embeds,
                             const dr_unet_context *context, int first_row);

/* --- timesteps ----------------------------------------------------------------------- */

/* Floats of one row of the time table: the output channels of all resnets, one after the other. */
int dr_unet_time_channels(const dr_unet *unet);

/* table: device float32, [n, dr_unet_time_channels()].  timesteps: device, [n], may be fractional.
 * classes: device, [n], each in [0, class_embeddings) (the upscaler's noise level); NULL for a UNet
 * without class embeddings. */
typedef struct dr_unet_time_args {
    const float *timesteps;
    const int32_t *classes;
    int n;
    float *table;
} dr_unet_time_args;
void dr_unet_time_forward(dr_pass *p, const dr_unet *unet, const dr_unet_time_args *a);

/* --- a step -------------------------------------------------------------------------- */

typedef struct dr_unet_args {
    dr_tensor x;          /* [samples, h, w, in_channels]; any h and w */
    dr_tensor out;        /* [rows, h, w, out_channels]; may not be x */
    const int32_t *x_row; /* device, [rows]: the sample of each (rows.h); begins with 0, 1, ... samples - 1 */
    const dr_unet_context *context;
    const int32_t *context_row; /* device, [rows] */
    const float *time_table;
    const int32_t *time_row; /* device, [rows]; the same for all rows of a sample */
} dr_unet_args;
void dr_unet_forward(dr_pass *p, const dr_unet *unet, const dr_unet_args *a);

#endif

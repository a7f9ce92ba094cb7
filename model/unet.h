/* unet.h - the denoiser: diffusers' UNet2DConditionModel.
 *
 *     once for each prompt              context_forward   keys and values of every cross-attention layer
 *     once for each list of timesteps   time_forward      what every resnet adds for a timestep
 *     at every call                     forward
 *
 *     x -> conv_in -> down 0 -> down 1 -> ... -> mid -> ... -> up -> up -> norm -> conv_out
 *              |        |         |                     |       |    |
 *              +--------+---------+----- skips, last in first out ---+
 *
 * The caller owns two tables with what does not change between calls: the context and the time table.
 * Each row of the batch names its row in either table, so the rows of a batch may have any prompts and
 * timesteps.  Up to the first cross-attention the rows of one sample (rows.h) are computed as one row: in
 * SD 1.x that is conv_in, a resnet and the largest self-attention.
 *
 * Ronneberger et al. 2015; Ho et al. 2020; Rombach et al. 2022.  Threads: the device's own.  Weights never
 * change once they are loaded. */
#ifndef DR_MODEL_UNET_H
#define DR_MODEL_UNET_H

#include "model/config.h"
#include "model/loader.h"

typedef struct dr_unet dr_unet;

/* Load the weights; `l` is at the root of the UNet's file.  The caller owns the result.  On failure NULL,
 * and the loader has the error. */
dr_unet *dr_unet_load(const dr_loader *l, const dr_unet_config *config);
void dr_unet_free(dr_unet *unet); /* NULL is allowed */

/* --- prompts: keys and values ------------------------------------------------------- */

/* Keys and values of `rows` prompts.  data is device memory of dr_unet_context_bytes(unet, rows) bytes,
 * which the caller owns:
 *
 *     layer 0 [rows, 77, k | v]   layer 1 [rows, 77, k | v]   ... */
typedef struct dr_unet_context {
    void *data;
    int rows; /* how many prompts it has room for */
} dr_unet_context;

/* Bytes of device memory for the keys and values of so many prompts. */
size_t dr_unet_context_bytes(const dr_unet *unet, int rows);

/* Compute the keys and values of n prompts, from prompt_embeds [n, 1, 77, cross_attention_dim], into the
 * context's rows [first_row, first_row + n). */
void dr_unet_context_forward(dr_pass *p, const dr_unet *unet, dr_tensor prompt_embeds,
                             const dr_unet_context *context, int first_row);

/* --- timesteps ----------------------------------------------------------------------- */

/* Floats of one row of the time table: the output channels of all resnets, one resnet after the other. */
int dr_unet_time_channels(const dr_unet *unet);

typedef struct dr_unet_time_args {
    const float *timesteps; /* device, [n]; may be fractional */
    /* device, [n], each in [0, class_embeddings): the upscaler's noise level.  NULL without class
     * embeddings. */
    const int32_t *classes;
    int n;
    float *table; /* device, [n, dr_unet_time_channels()]: written */
} dr_unet_time_args;

/* Compute rows of the time table. */
void dr_unet_time_forward(dr_pass *p, const dr_unet *unet, const dr_unet_time_args *a);

/* --- a call -------------------------------------------------------------------------- */

typedef struct dr_unet_args {
    dr_tensor x;          /* [samples, h, w, in_channels]; any h and w */
    dr_tensor out;        /* [rows, h, w, out_channels]: written; must not be x */
    const int32_t *x_row; /* device, [rows]: the sample of each row (rows.h) */
    const dr_unet_context *context;
    const int32_t *context_row; /* device, [rows]: the context's row for each row of the batch */
    const float *time_table;    /* device, [any number, dr_unet_time_channels()] */
    const int32_t *time_row;    /* device, [rows]: the time table's row; the same for all rows of a sample */
} dr_unet_args;

/* Predict: noise, x0 or v of each row, as the model was trained. */
void dr_unet_forward(dr_pass *p, const dr_unet *unet, const dr_unet_args *a);

#endif

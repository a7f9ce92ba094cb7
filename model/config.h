/* config.h - what the JSON files of a diffusers model folder say, checked and typed.
 *
 * A model is what its configs say, whatever its name suggests.  A value that Darkroom does not support is
 * refused, with file, key and value in the message.  A key that is missing has diffusers' default.  A key
 * that the class does not know is ignored, as diffusers does.
 *
 * Threads: any; nothing here has a state. */
#ifndef DR_MODEL_CONFIG_H
#define DR_MODEL_CONFIG_H

#include "base/error.h"
#include "base/limits.h"
#include "model/sampler.h"
#include "ops/ops.h"

#include <stdbool.h>

/* transformers' CLIPTextModel */
typedef struct dr_text_encoder_config {
    int vocab_size, width, layers, heads, intermediate, positions;
    dr_activation activation; /* quick_gelu or gelu */
    float layer_norm_eps;
} dr_text_encoder_config;

/* diffusers' UNet2DConditionModel.  Arrays have one value for each block, the widest map first. */
typedef struct dr_unet_config {
    int in_channels, out_channels;
    int sample_size[2]; /* height, width */
    int blocks;
    int channels[DR_BLOCKS_MAX];
    bool down_attention[DR_BLOCKS_MAX]; /* CrossAttnDownBlock2D; else DownBlock2D */
    bool up_attention[DR_BLOCKS_MAX];   /* in the order of up_block_types: deepest first */
    bool mid_block;                     /* UNetMidBlock2DCrossAttn; false: mid_block_type null */
    int heads[DR_BLOCKS_MAX];           /* "attention_head_dim" is the number of heads */
    int layers_per_block[DR_BLOCKS_MAX];
    int transformer_layers[DR_BLOCKS_MAX];
    bool only_cross_attention[DR_BLOCKS_MAX];
    bool mid_only_cross_attention;
    int cross_attention_dim;
    int norm_groups;
    float norm_eps;
    bool linear_projection;
    bool flip_sin_to_cos;
    float freq_shift;
    int class_embeddings;     /* num_class_embeds; 0: none */
    dr_activation activation; /* silu */
} dr_unet_config;

/* diffusers' AutoencoderKL */
typedef struct dr_vae_config {
    int in_channels, out_channels, latent_channels;
    int sample_size[2]; /* height, width */
    int blocks;
    int channels[DR_BLOCKS_MAX];
    int layers_per_block;
    int norm_groups;
    float scaling_factor;
    bool quant_conv, post_quant_conv; /* use_quant_conv, use_post_quant_conv: default true */
    bool mid_attention;               /* mid_block_add_attention: default true */
} dr_vae_config;

typedef struct dr_model_config {
    char class_name[64]; /* of model_index.json: StableDiffusionPipeline, ... */
    dr_text_encoder_config text_encoder;
    dr_unet_config unet;
    dr_vae_config vae;
    dr_sampler_config sampler;
    bool has_low_res_sampler; /* the upscaler's low_res_scheduler */
    dr_sampler_config low_res_sampler;
} dr_model_config;

/* Read model_index.json and the config of every part below `folder`, and check that the parts fit
 * together.  Fails with DR_ENOTFOUND for a missing file, DR_EFORMAT for a file or value that is wrong,
 * DR_EUNSUPPORTED for a value that Darkroom does not support; the text names file, key and value. */
dr_status dr_model_config_read(dr_model_config *out, const char *folder, dr_error *err);

/* Read one part's file, config.json or scheduler_config.json; they fail like dr_model_config_read(). */
dr_status dr_text_encoder_config_read(dr_text_encoder_config *out, const char *path, dr_error *err);
dr_status dr_unet_config_read(dr_unet_config *out, const char *path, dr_error *err);
dr_status dr_vae_config_read(dr_vae_config *out, const char *path, dr_error *err);

#endif

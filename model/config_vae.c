/* config_vae.c - diffusers 0.42's AutoencoderKL (models/autoencoders/autoencoder_kl.py). */
#include "model/config_keys.h"
#include "model/config_parts.h"

static const char *const DOWN_BLOCKS[] = { "DownEncoderBlock2D" };
static const char *const UP_BLOCKS[] = { "UpDecoderBlock2D" };

static const dr_config_only ONLY[] = {
    { "_class_name", "\"AutoencoderKL\"" },
    { "act_fn", "\"silu\", \"swish\"" },
    { "in_channels", "3" }, /* pictures are RGB */
    { "latents_mean", "null" },
    { "latents_std", "null" },
    { "out_channels", "3" },
    { "shift_factor", "null" },
    { NULL, NULL },
};

static void read_blocks(dr_json *j, dr_vae_config *c)
{
    int ignored[DR_BLOCKS_MAX];

    c->blocks = dr_json_list(j, "block_out_channels", 1, DR_BLOCKS_MAX);
    c->channels[0] = 64;
    if (dr_json_has(j, "block_out_channels"))
        dr_json_ints(j, "block_out_channels", 0, 1, DR_CHANNELS_MAX, c->channels, c->blocks);
    /* The defaults are for one block.  With another number of blocks the lists must be there. */
    if (c->blocks != 1 || dr_json_has(j, "down_block_types"))
        dr_json_choices(j, "down_block_types", DOWN_BLOCKS, 1, ignored, c->blocks);
    if (c->blocks != 1 || dr_json_has(j, "up_block_types"))
        dr_json_choices(j, "up_block_types", UP_BLOCKS, 1, ignored, c->blocks);
}

dr_status dr_vae_config_parse(dr_vae_config *out, const char *path, json_t *root, dr_error *err)
{
    dr_json j = dr_json_at(path, root, err);
    dr_vae_config c = { .in_channels = 3, .out_channels = 3 };

    dr_config_only_these(&j, ONLY);
    read_blocks(&j, &c);
    c.latent_channels = dr_json_int(&j, "latent_channels", 4, 1, DR_LATENT_CHANNELS_MAX);
    dr_config_sample_size(&j, 32, c.sample_size);
    c.layers_per_block = dr_json_int(&j, "layers_per_block", 1, 1, DR_LAYERS_MAX);
    c.norm_groups = dr_json_int(&j, "norm_num_groups", 32, 1, DR_CHANNELS_MAX);
    c.scaling_factor = (float)dr_json_number(&j, "scaling_factor", 0.18215, 1e-6, 1e6);
    c.quant_conv = dr_json_bool(&j, "use_quant_conv", true);
    c.post_quant_conv = dr_json_bool(&j, "use_post_quant_conv", true);
    c.mid_attention = dr_json_bool(&j, "mid_block_add_attention", true);
    for (int i = 0; i < c.blocks && !j.status; i++)
        if (c.channels[i] % c.norm_groups)
            dr_json_fail(&j, DR_EFORMAT, "block_out_channels",
                         "%d channels are not a multiple of norm_num_groups = %d", c.channels[i],
                         c.norm_groups);
    *out = c;
    return j.status;
}

/* config_unet.c - diffusers 0.42's UNet2DConditionModel (models/unets/unet_2d_condition.py). */
#include "model/config_keys.h"
#include "model/config_parts.h"

enum { ATTENTION, PLAIN }; /* where these stand in the lists below */

static const char *const DOWN_BLOCKS[] = { "CrossAttnDownBlock2D", "DownBlock2D" };
static const char *const UP_BLOCKS[] = { "CrossAttnUpBlock2D", "UpBlock2D" };

/* Keys that change the result, with the values that mean what Darkroom does. */
static const dr_config_only ONLY[] = {
    { "_class_name", "\"UNet2DConditionModel\"" },
    { "act_fn", "\"silu\", \"swish\"" },
    { "addition_embed_type", "null" },
    { "attention_type", "\"default\", null" },
    { "center_input_sample", "false, null" },
    { "class_embed_type", "null" },
    { "class_embeddings_concat", "false, null" },
    { "conv_in_kernel", "3" },
    { "conv_out_kernel", "3" },
    { "cross_attention_norm", "null" },
    { "downsample_padding", "1" },
    { "dual_cross_attention", "false, null" },
    { "encoder_hid_dim", "null" },
    { "encoder_hid_dim_type", "null" },
    { "mid_block_scale_factor", "1" },
    { "mid_block_type", "\"UNetMidBlock2DCrossAttn\", null" },
    { "num_attention_heads", "null" },
    { "resnet_out_scale_factor", "1" },
    { "resnet_skip_time_act", "false, null" },
    { "resnet_time_scale_shift", "\"default\"" },
    { "reverse_transformer_layers_per_block", "null" },
    { "time_cond_proj_dim", "null" },
    { "time_embedding_act_fn", "null" },
    { "time_embedding_dim", "null" },
    { "time_embedding_type", "\"positional\"" },
    { "timestep_post_act", "null" },
    { NULL, NULL },
};

static void read_block_types(dr_json *j, dr_unet_config *c)
{
    int down[DR_BLOCKS_MAX] = { ATTENTION, ATTENTION, ATTENTION, PLAIN };
    int up[DR_BLOCKS_MAX] = { PLAIN, ATTENTION, ATTENTION, ATTENTION };

    /* The defaults are for four blocks.  With another number of blocks the lists must be there. */
    if (c->blocks != 4 || dr_json_has(j, "down_block_types"))
        dr_json_choices(j, "down_block_types", DOWN_BLOCKS, 2, down, c->blocks);
    if (c->blocks != 4 || dr_json_has(j, "up_block_types"))
        dr_json_choices(j, "up_block_types", UP_BLOCKS, 2, up, c->blocks);
    for (int i = 0; i < c->blocks; i++) {
        c->down_attention[i] = down[i] == ATTENTION;
        c->up_attention[i] = up[i] == ATTENTION;
    }
    c->mid_block = !dr_json_has(j, "mid_block_type") || !dr_json_is_null(j, "mid_block_type");
}

static void read_blocks(dr_json *j, dr_unet_config *c)
{
    static const int DEFAULT_CHANNELS[] = { 320, 640, 1280, 1280 };

    c->blocks = dr_json_list(j, "block_out_channels", 4, DR_BLOCKS_MAX);
    for (int i = 0; i < 4; i++)
        c->channels[i] = DEFAULT_CHANNELS[i];
    if (dr_json_has(j, "block_out_channels"))
        dr_json_ints(j, "block_out_channels", 0, 1, DR_CHANNELS_MAX, c->channels, c->blocks);
    read_block_types(j, c);
    dr_json_ints(j, "attention_head_dim", 8, 1, DR_CHANNELS_MAX, c->heads, c->blocks);
    dr_json_ints(j, "layers_per_block", 2, 1, DR_LAYERS_MAX, c->layers_per_block, c->blocks);
    dr_json_ints(j, "transformer_layers_per_block", 1, 1, DR_LAYERS_MAX, c->transformer_layers, c->blocks);
    dr_json_bools(j, "only_cross_attention", false, c->only_cross_attention, c->blocks);
}

/* One value for all blocks is also the middle block's; a list does not include it.  The middle block's own
 * key counts most. */
static void read_mid_only_cross_attention(dr_json *j, dr_unet_config *c)
{
    const bool is_list = json_is_array(json_object_get(j->object, "only_cross_attention"));

    c->mid_only_cross_attention = !is_list && c->only_cross_attention[0];
    if (!dr_json_is_null(j, "mid_block_only_cross_attention"))
        c->mid_only_cross_attention = dr_json_bool(j, "mid_block_only_cross_attention", false);
}

/* One number, or a list with the same number for every block. */
static void read_cross_attention_dim(dr_json *j, dr_unet_config *c)
{
    int dims[DR_BLOCKS_MAX];

    dr_json_ints(j, "cross_attention_dim", 1280, 1, DR_CHANNELS_MAX, dims, c->blocks);
    c->cross_attention_dim = dims[0];
    for (int i = 1; i < c->blocks; i++)
        if (dims[i] != dims[0])
            dr_json_fail(j, DR_EUNSUPPORTED, "cross_attention_dim", "supported: the same for every block");
}

/* The key may be null: then jobs should say their size, and the default is that of SD 1.x. */
static void read_sample_size(dr_json *j, dr_unet_config *c)
{
    c->sample_size[0] = c->sample_size[1] = 64;
    if (!dr_json_is_null(j, "sample_size"))
        dr_config_sample_size(j, 64, c->sample_size);
}

static void check_divisions(dr_json *j, const dr_unet_config *c)
{
    for (int i = 0; i < c->blocks; i++) {
        const bool attention = c->down_attention[i] || c->up_attention[c->blocks - 1 - i] ||
                               (c->mid_block && i == c->blocks - 1);
        if (c->channels[i] % c->norm_groups)
            dr_json_fail(j, DR_EFORMAT, "block_out_channels",
                         "%d channels are not a multiple of norm_num_groups = %d", c->channels[i],
                         c->norm_groups);
        if (attention && c->channels[i] % c->heads[i])
            dr_json_fail(j, DR_EFORMAT, "block_out_channels",
                         "%d channels are not a multiple of %d heads (attention_head_dim)", c->channels[i],
                         c->heads[i]);
    }
}

/* Each output on the way down is a skip, and so is that of conv_in. */
static void check_skips(dr_json *j, const dr_unet_config *c)
{
    int count = 1;

    for (int level = 0; level < c->blocks; level++)
        count += c->layers_per_block[level] + (level < c->blocks - 1);
    if (count > DR_SKIPS_MAX)
        dr_json_fail(j, DR_EUNSUPPORTED, "layers_per_block",
                     "this makes %d skip connections; at most %d are supported", count, DR_SKIPS_MAX);
}

dr_status dr_unet_config_parse(dr_unet_config *out, const char *path, json_t *root, dr_error *err)
{
    dr_json j = dr_json_at(path, root, err);
    dr_unet_config c = { .activation = DR_ACT_SILU };

    dr_config_only_these(&j, ONLY);
    c.in_channels = dr_json_int(&j, "in_channels", 4, 1, DR_CHANNELS_MAX);
    c.out_channels = dr_json_int(&j, "out_channels", 4, 1, DR_LATENT_CHANNELS_MAX);
    read_sample_size(&j, &c);
    read_blocks(&j, &c);
    read_mid_only_cross_attention(&j, &c);
    read_cross_attention_dim(&j, &c);
    c.norm_groups = dr_json_int(&j, "norm_num_groups", 32, 1, DR_CHANNELS_MAX);
    c.norm_eps = (float)dr_json_number(&j, "norm_eps", 1e-5, 1e-12, 1);
    c.linear_projection = dr_json_bool(&j, "use_linear_projection", false);
    c.flip_sin_to_cos = dr_json_bool(&j, "flip_sin_to_cos", true);
    c.freq_shift = (float)dr_json_number(&j, "freq_shift", 0, 0, 1);
    if (!dr_json_is_null(&j, "num_class_embeds"))
        c.class_embeddings = dr_json_int(&j, "num_class_embeds", 0, 1, DR_TRAIN_TIMESTEPS_MAX);
    dr_json_bool(&j, "upcast_attention", false); /* to float32, which attention uses anyway */
    if (!j.status)
        check_divisions(&j, &c);
    if (!j.status)
        check_skips(&j, &c);
    *out = c;
    return j.status;
}

/* Configs whose values Darkroom can't honour: each is refused with a line that names file, key and value. */
#include "tests/model/config_cases.h"

#define UNSUPPORTED(key, value)                                                      \
    {                                                                                \
        "{\"" key "\":" value "}", DR_EUNSUPPORTED, key " is " value "; supported: " \
    }
#define MALFORMED(key, value)                                        \
    {                                                                \
        "{\"" key "\":" value "}", DR_EFORMAT, key " is " value "; " \
    }

static void unet_values_that_change_the_result_are_refused(void **state)
{
    static const bad_config cases[] = {
        UNSUPPORTED("_class_name", "\"UNet2DModel\""),
        UNSUPPORTED("act_fn", "\"mish\""),
        UNSUPPORTED("act_fn", "null"),
        UNSUPPORTED("addition_embed_type", "\"text_time\""),
        UNSUPPORTED("attention_type", "\"gated\""),
        UNSUPPORTED("center_input_sample", "true"),
        UNSUPPORTED("class_embed_type", "\"timestep\""),
        UNSUPPORTED("class_embeddings_concat", "true"),
        UNSUPPORTED("conv_in_kernel", "1"),
        UNSUPPORTED("conv_out_kernel", "5"),
        UNSUPPORTED("cross_attention_norm", "\"layer_norm\""),
        UNSUPPORTED("downsample_padding", "0"),
        UNSUPPORTED("dual_cross_attention", "true"),
        UNSUPPORTED("encoder_hid_dim", "4096"),
        UNSUPPORTED("encoder_hid_dim_type", "\"text_proj\""),
        UNSUPPORTED("mid_block_scale_factor", "0.5"),
        UNSUPPORTED("mid_block_type", "\"UNetMidBlock2DSimpleCrossAttn\""),
        UNSUPPORTED("num_attention_heads", "8"),
        UNSUPPORTED("resnet_out_scale_factor", "1.5"),
        UNSUPPORTED("resnet_skip_time_act", "true"),
        UNSUPPORTED("resnet_time_scale_shift", "\"scale_shift\""),
        UNSUPPORTED("reverse_transformer_layers_per_block", "[[1]]"),
        UNSUPPORTED("time_cond_proj_dim", "256"),
        UNSUPPORTED("time_embedding_act_fn", "\"silu\""),
        UNSUPPORTED("time_embedding_dim", "512"),
        UNSUPPORTED("time_embedding_type", "\"fourier\""),
        UNSUPPORTED("timestep_post_act", "\"silu\""),
        UNSUPPORTED(
            "down_block_types",
            "[\"CrossAttnDownBlock2D\",\"AttnDownBlock2D\",\"CrossAttnDownBlock2D\",\"DownBlock2D\"]"),
        UNSUPPORTED("up_block_types", "[\"CrossAttnUpBlock2D\",\"UpBlock2D\",\"UpBlock2D\",7]"),
        UNSUPPORTED("cross_attention_dim", "[768,768,768,1024]"),
        MALFORMED("in_channels", "0"),
        MALFORMED("in_channels", "-4"),
        MALFORMED("in_channels", "4.0"),
        MALFORMED("in_channels", "\"4\""),
        MALFORMED("in_channels", "null"),
        MALFORMED("in_channels", "1000000"),
        MALFORMED("out_channels", "17"),
        MALFORMED("sample_size", "0"),
        MALFORMED("sample_size", "true"),
        MALFORMED("sample_size", "[64]"),
        MALFORMED("block_out_channels", "[]"),
        MALFORMED("block_out_channels", "320"),
        MALFORMED("block_out_channels", "[32,32,32,32,32,32,32,32,32]"),
        MALFORMED("block_out_channels", "[320,640,1280,null]"),
        MALFORMED("block_out_channels", "[320,640,1280,1281]"),
        MALFORMED("down_block_types", "[\"DownBlock2D\"]"),
        MALFORMED("down_block_types", "null"),
        MALFORMED("up_block_types", "\"UpBlock2D\""),
        MALFORMED("attention_head_dim", "[8,8,8]"),
        MALFORMED("attention_head_dim", "0"),
        MALFORMED("layers_per_block", "[2,2,2,2,2]"),
        MALFORMED("layers_per_block", "100"),
        MALFORMED("transformer_layers_per_block", "[[1],[1],[1],[1]]"),
        MALFORMED("only_cross_attention", "1"),
        MALFORMED("only_cross_attention", "[true]"),
        MALFORMED("mid_block_only_cross_attention", "[true]"),
        MALFORMED("cross_attention_dim", "{}"),
        MALFORMED("norm_num_groups", "null"),
        MALFORMED("norm_num_groups", "0"),
        MALFORMED("norm_eps", "0"),
        MALFORMED("norm_eps", "-1"),
        MALFORMED("norm_eps", "\"nan\""),
        MALFORMED("freq_shift", "2"),
        MALFORMED("num_class_embeds", "0"),
        MALFORMED("use_linear_projection", "1"),
        MALFORMED("flip_sin_to_cos", "1"),
        MALFORMED("upcast_attention", "\"yes\""),
        { "{\"block_out_channels\":[32,64]}", DR_EFORMAT, "down_block_types is missing; a list of 2 values" },
        { "{\"norm_num_groups\":33}", DR_EFORMAT, "320 channels are not a multiple of norm_num_groups = 33" },
        { "{\"attention_head_dim\":[7,8,8,8]}", DR_EFORMAT, "320 channels are not a multiple of 7 heads" },
        { "{\"attention_head_dim\":[8,8,8,9]}", DR_EFORMAT, "1280 channels are not a multiple of 9 heads" },
    };
    (void)state;

    refuse_all(read_unet, cases, sizeof(cases) / sizeof(cases[0]));
}

static void vae_values_that_change_the_result_are_refused(void **state)
{
    static const bad_config cases[] = {
        UNSUPPORTED("_class_name", "\"AutoencoderTiny\""),
        UNSUPPORTED("act_fn", "\"relu\""),
        UNSUPPORTED("in_channels", "4"),
        UNSUPPORTED("out_channels", "1"),
        UNSUPPORTED("latents_mean", "[0,0,0,0]"),
        UNSUPPORTED("latents_std", "[1,1,1,1]"),
        UNSUPPORTED("shift_factor", "0.1"),
        UNSUPPORTED("down_block_types", "[\"AttnDownEncoderBlock2D\"]"),
        UNSUPPORTED("up_block_types", "[\"AttnUpDecoderBlock2D\"]"),
        MALFORMED("sample_size", "null"),
        MALFORMED("latent_channels", "17"),
        MALFORMED("scaling_factor", "0"),
        MALFORMED("scaling_factor", "null"),
        MALFORMED("layers_per_block", "[1]"),
        MALFORMED("norm_num_groups", "-32"),
        MALFORMED("use_quant_conv", "0"),
        { "{\"norm_num_groups\":3}", DR_EFORMAT, "64 channels are not a multiple of norm_num_groups = 3" },
        { "{\"block_out_channels\":[64,64]}", DR_EFORMAT, "down_block_types is missing; a list of 2 values" },
    };
    (void)state;

    refuse_all(read_vae, cases, sizeof(cases) / sizeof(cases[0]));
}

static void text_encoder_values_that_change_the_result_are_refused(void **state)
{
    static const bad_config cases[] = {
        UNSUPPORTED("model_type", "\"t5\""),
        UNSUPPORTED("hidden_act", "\"relu\""),
        MALFORMED("text_config", "[]"),
        MALFORMED("vocab_size", "0"),
        MALFORMED("hidden_size", "1000.0"),
        MALFORMED("num_hidden_layers", "65"),
        MALFORMED("max_position_embeddings", "76"),
        MALFORMED("layer_norm_eps", "null"),
        { "{\"num_attention_heads\":7,\"hidden_size\":512}", DR_EFORMAT,
          "hidden_size is 512; it must be a multiple" },
        { "{\"text_config\":{\"vocab_size\":-1}}", DR_EFORMAT, "text_config.vocab_size is -1; " },
        { "{\"text_config\":{\"model_type\":\"bert\"}}", DR_EUNSUPPORTED,
          "text_config.model_type is \"bert\"; " },
    };
    (void)state;

    refuse_all(read_text_encoder, cases, sizeof(cases) / sizeof(cases[0]));
}

#define DDIM "{\"_class_name\":\"DDIMScheduler\","
#define SAMPLER_UNSUPPORTED(key, value)                                                  \
    {                                                                                    \
        DDIM "\"" key "\":" value "}", DR_EUNSUPPORTED, key " is " value "; supported: " \
    }
#define SAMPLER_MALFORMED(key, value)                                    \
    {                                                                    \
        DDIM "\"" key "\":" value "}", DR_EFORMAT, key " is " value "; " \
    }

static void sampler_values_that_no_sampler_can_take_are_refused(void **state)
{
    static const bad_config cases[] = {
        { "{\"_class_name\":\"FlowMatchEulerDiscreteScheduler\"}", DR_EUNSUPPORTED,
          "'FlowMatchEulerDiscreteScheduler' is not supported" },
        SAMPLER_UNSUPPORTED("trained_betas", "[0.1]"),
        SAMPLER_UNSUPPORTED("prediction_type", "\"flow_prediction\""),
        SAMPLER_UNSUPPORTED("prediction_type", "null"),
        SAMPLER_UNSUPPORTED("beta_schedule", "\"sigmoid\""),
        SAMPLER_MALFORMED("num_train_timesteps", "0"),
        SAMPLER_MALFORMED("num_train_timesteps", "1000000"),
        SAMPLER_MALFORMED("beta_start", "0"),
        SAMPLER_MALFORMED("beta_start", "-0.1"),
        SAMPLER_MALFORMED("beta_end", "1"),
        SAMPLER_MALFORMED("beta_end", "null"),
        SAMPLER_MALFORMED("beta_start", "0.5"),
        SAMPLER_MALFORMED("steps_offset", "-1"),
        SAMPLER_MALFORMED("steps_offset", "0.5"),
    };
    (void)state;

    refuse_all(read_sampler, cases, sizeof(cases) / sizeof(cases[0]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unet_values_that_change_the_result_are_refused),
        cmocka_unit_test(vae_values_that_change_the_result_are_refused),
        cmocka_unit_test(text_encoder_values_that_change_the_result_are_refused),
        cmocka_unit_test(sampler_values_that_no_sampler_can_take_are_refused),
    };
    return cmocka_run_group_tests_name("config_refusals", tests, open_temp, close_temp);
}

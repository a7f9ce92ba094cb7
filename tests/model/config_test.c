/* Configs of whole models: those of tests/goldens are read as diffusers reads them, a key that is missing
 * has diffusers' default, and parts that do not fit together are refused.  config_files_test.c and
 * config_refusals_test.c have the rest. */
#include "tests/model/config_cases.h"

#define MODELS "tests/goldens/models/"

static void read_model(dr_model_config *c, const char *path)
{
    dr_error err = { 0 };

    if (dr_model_config_read(c, path, &err))
        fail_msg("%s", err.text);
}

/* --- whole models --------------------------------------------------------------------------- */

static void sd1(void **state)
{
    dr_model_config c;
    (void)state;

    read_model(&c, MODELS "sd1");
    assert_string_equal(c.class_name, "StableDiffusionPipeline");
    assert_int_equal(c.text_encoder.vocab_size, 814);
    assert_int_equal(c.text_encoder.width, 33);
    assert_int_equal(c.text_encoder.layers, 3);
    assert_int_equal(c.text_encoder.heads, 3);
    assert_int_equal(c.text_encoder.intermediate, 67);
    assert_int_equal(c.text_encoder.positions, 77);
    assert_int_equal(c.text_encoder.activation, DR_ACT_QUICK_GELU);
    assert_true(c.text_encoder.layer_norm_eps == 1e-5f);

    assert_int_equal(c.unet.blocks, 4);
    assert_int_equal(c.unet.in_channels, 4);
    assert_memory_equal(c.unet.sample_size, ((int[]){ 64, 64 }), 2 * sizeof(int));
    assert_memory_equal(c.unet.channels, ((int[]){ 9, 15, 21, 27 }), 4 * sizeof(int));
    assert_memory_equal(c.unet.heads, ((int[]){ 3, 3, 3, 3 }), 4 * sizeof(int));
    assert_memory_equal(c.unet.layers_per_block, ((int[]){ 2, 2, 2, 2 }), 4 * sizeof(int));
    assert_memory_equal(c.unet.transformer_layers, ((int[]){ 1, 1, 1, 1 }), 4 * sizeof(int));
    assert_memory_equal(c.unet.down_attention, ((bool[]){ true, true, true, false }), 4 * sizeof(bool));
    assert_memory_equal(c.unet.up_attention, ((bool[]){ false, true, true, true }), 4 * sizeof(bool));
    assert_true(c.unet.mid_block);
    assert_false(c.unet.linear_projection);
    assert_false(c.unet.mid_only_cross_attention);
    assert_int_equal(c.unet.norm_groups, 3);
    assert_int_equal(c.unet.class_embeddings, 0);
    assert_true(c.unet.flip_sin_to_cos);

    assert_int_equal(c.vae.blocks, 4);
    assert_int_equal(c.vae.layers_per_block, 2);
    assert_true(c.vae.scaling_factor == 0.18215f);
    assert_true(c.vae.quant_conv && c.vae.post_quant_conv && c.vae.mid_attention);

    assert_int_equal(c.sampler.own, DR_SAMPLER_PNDM);
    assert_int_equal(c.sampler.train_timesteps, 1000);
    assert_true(c.sampler.has_betas);
    assert_int_equal(c.sampler.beta_schedule, DR_BETA_SCALED_LINEAR);
    assert_true(c.sampler.beta_start == 0.00085 && c.sampler.beta_end == 0.012);
    assert_int_equal(c.sampler.prediction, DR_PREDICT_EPSILON);
    assert_false(c.sampler.has_spacing);
    assert_true(c.sampler.has_steps_offset && c.sampler.steps_offset == 1);
    assert_true(c.sampler.has_skip_prk_steps && c.sampler.skip_prk_steps);
    assert_true(c.sampler.has_set_alpha_to_one && !c.sampler.set_alpha_to_one);
    assert_true(c.sampler.has_clip_sample && !c.sampler.clip_sample);
    assert_false(c.sampler.has_solver_order);
    assert_false(c.sampler.has_use_karras_sigmas);
    assert_false(c.has_low_res_sampler);
}

static void sd2(void **state)
{
    dr_model_config c;
    (void)state;

    read_model(&c, MODELS "sd2");
    assert_memory_equal(c.unet.heads, ((int[]){ 1, 3, 3, 9 }), 4 * sizeof(int));
    assert_true(c.unet.linear_projection);
    assert_int_equal(c.text_encoder.activation, DR_ACT_GELU);
    assert_int_equal(c.sampler.own, DR_SAMPLER_DDIM);
    assert_int_equal(c.sampler.prediction, DR_PREDICT_V);
}

static void inpainting(void **state)
{
    dr_model_config c;
    (void)state;

    read_model(&c, MODELS "inpaint");
    assert_string_equal(c.class_name, "StableDiffusionInpaintPipeline");
    assert_int_equal(c.unet.in_channels, 9);
}

static void upscaling(void **state)
{
    dr_model_config c;
    (void)state;

    read_model(&c, MODELS "upscale");
    assert_string_equal(c.class_name, "StableDiffusionUpscalePipeline");
    assert_int_equal(c.unet.in_channels, 7);
    assert_int_equal(c.unet.class_embeddings, 1000);
    assert_memory_equal(c.unet.only_cross_attention, ((bool[]){ true, true, true, false }), 4 * sizeof(bool));
    assert_false(c.unet.mid_only_cross_attention); /* a list does not include the middle */
    assert_memory_equal(c.unet.down_attention, ((bool[]){ false, true, true, true }), 4 * sizeof(bool));
    assert_int_equal(c.vae.blocks, 3);
    assert_true(c.vae.scaling_factor == 0.08333f);
    assert_true(c.has_low_res_sampler);
    assert_int_equal(c.low_res_sampler.own, DR_SAMPLER_DDPM);
    assert_true(c.low_res_sampler.clip_sample);
}

/* --- defaults ------------------------------------------------------------------------------- */

static void empty_configs_are_diffusers_defaults(void **state)
{
    dr_text_encoder_config t;
    dr_sampler_config s;
    dr_unet_config u;
    dr_vae_config v;
    dr_error err;
    (void)state;

    assert_int_equal(dr_unet_config_read(&u, write_text("config.json", "{}"), &err), DR_OK);
    assert_int_equal(u.blocks, 4);
    assert_memory_equal(u.channels, ((int[]){ 320, 640, 1280, 1280 }), 4 * sizeof(int));
    assert_memory_equal(u.heads, ((int[]){ 8, 8, 8, 8 }), 4 * sizeof(int));
    assert_memory_equal(u.down_attention, ((bool[]){ true, true, true, false }), 4 * sizeof(bool));
    assert_memory_equal(u.up_attention, ((bool[]){ false, true, true, true }), 4 * sizeof(bool));
    assert_int_equal(u.cross_attention_dim, 1280);
    assert_int_equal(u.norm_groups, 32);
    assert_true(u.norm_eps == 1e-5f && u.freq_shift == 0);
    assert_int_equal(u.activation, DR_ACT_SILU);

    assert_int_equal(dr_vae_config_read(&v, folder.file, &err), DR_OK);
    assert_int_equal(v.blocks, 1);
    assert_int_equal(v.channels[0], 64);
    assert_int_equal(v.layers_per_block, 1);

    assert_int_equal(dr_text_encoder_config_read(&t, folder.file, &err), DR_OK);
    assert_int_equal(t.vocab_size, 49408);
    assert_int_equal(t.width, 512);
    assert_int_equal(t.intermediate, 2048);

    assert_int_equal(sampler_file_read(&s, write_text("s.json", "{\"_class_name\":\"DDIMScheduler\"}"), &err),
                     DR_OK);
    assert_int_equal(s.train_timesteps, 1000);
    assert_false(s.has_betas || s.has_spacing || s.has_steps_offset || s.has_clip_sample);
    assert_false(s.has_set_alpha_to_one || s.has_skip_prk_steps || s.has_solver_order);
    assert_true(s.beta_start == 0.0001 && s.beta_end == 0.02 && s.beta_schedule == DR_BETA_LINEAR);
    assert_true(s.clip_sample_range == 1);
}

static void scalars_serve_every_block(void **state)
{
    dr_unet_config u;
    dr_error err;
    (void)state;

    assert_int_equal(
        dr_unet_config_read(
            &u,
            write_text(
                "config.json",
                "{\"only_cross_attention\":true,\"mid_block_type\":null,\"layers_per_block\":[1,2,3,4],"
                "\"transformer_layers_per_block\":3,\"cross_attention_dim\":[5,5,5,5],"
                "\"sample_size\":[32,48],\"num_class_embeds\":7,\"upcast_attention\":true,"
                "\"mid_block_scale_factor\":1.0,\"act_fn\":\"swish\",\"_unknown\":1,\"unknown\":{}}"),
            &err),
        DR_OK);
    assert_memory_equal(u.only_cross_attention, ((bool[]){ true, true, true, true }), 4 * sizeof(bool));
    assert_true(u.mid_only_cross_attention);
    assert_false(u.mid_block);
    assert_memory_equal(u.layers_per_block, ((int[]){ 1, 2, 3, 4 }), 4 * sizeof(int));
    assert_memory_equal(u.transformer_layers, ((int[]){ 3, 3, 3, 3 }), 4 * sizeof(int));
    assert_int_equal(u.cross_attention_dim, 5);
    assert_memory_equal(u.sample_size, ((int[]){ 32, 48 }), 2 * sizeof(int)); /* height, width */
    assert_int_equal(u.class_embeddings, 7);

    assert_int_equal(dr_unet_config_read(&u,
                                         write_text("config.json",
                                                    "{\"only_cross_attention\":true,"
                                                    "\"mid_block_only_cross_attention\":false}"),
                                         &err),
                     DR_OK);
    assert_false(u.mid_only_cross_attention);
}

static void a_clip_config_holds_the_text_config(void **state)
{
    dr_text_encoder_config t;
    dr_error err;
    (void)state;

    assert_int_equal(
        dr_text_encoder_config_read(&t,
                                    write_text("config.json",
                                               "{\"model_type\":\"clip\",\"hidden_size\":1,\"text_config\":"
                                               "{\"model_type\":\"clip_text_model\",\"hidden_size\":768,"
                                               "\"num_attention_heads\":12,\"hidden_act\":\"gelu\"}}"),
                                    &err),
        DR_OK);
    assert_int_equal(t.width, 768);
    assert_int_equal(t.heads, 12);
    assert_int_equal(t.activation, DR_ACT_GELU);
}

static void every_scheduler_class_is_a_sampler(void **state)
{
    static const struct {
        const char *text;
        dr_sampler own;
    } cases[] = {
        { "{\"_class_name\":\"DDPMScheduler\"}", DR_SAMPLER_DDPM },
        { "{\"_class_name\":\"DDIMScheduler\"}", DR_SAMPLER_DDIM },
        { "{\"_class_name\":\"PNDMScheduler\"}", DR_SAMPLER_PNDM },
        { "{\"_class_name\":\"EulerDiscreteScheduler\"}", DR_SAMPLER_EULER },
        { "{\"_class_name\":\"EulerAncestralDiscreteScheduler\"}", DR_SAMPLER_EULER_A },
        { "{\"_class_name\":\"HeunDiscreteScheduler\"}", DR_SAMPLER_HEUN },
        { "{\"_class_name\":\"DPMSolverMultistepScheduler\"}", DR_SAMPLER_DPMPP_2M },
        { "{\"_class_name\":\"DPMSolverMultistepScheduler\",\"use_karras_sigmas\":true}",
          DR_SAMPLER_DPMPP_2M_KARRAS },
        { "{\"_class_name\":\"DPMSolverMultistepScheduler\",\"algorithm_type\":\"sde-dpmsolver++\"}",
          DR_SAMPLER_DPMPP_SDE },
        { "{\"_class_name\":\"UniPCMultistepScheduler\"}", DR_SAMPLER_UNIPC },
        { "{\"_class_name\":\"LMSDiscreteScheduler\"}", DR_SAMPLER_LMS },
        { "{\"_class_name\":\"LCMScheduler\"}", DR_SAMPLER_LCM },
    };
    dr_sampler_config s;
    dr_error err;
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(sampler_file_read(&s, write_text("scheduler_config.json", cases[i].text), &err),
                         DR_OK);
        assert_int_equal(s.own, cases[i].own);
    }
    assert_true(s.beta_start == 0.00085 && s.beta_schedule == DR_BETA_SCALED_LINEAR); /* LCM's own */
}

/* As diffusers saves a DPMSolverMultistepScheduler, -Infinity and all. */
static void a_saved_dpm_solver_is_read(void **state)
{
    dr_sampler_config s;
    dr_error err;
    (void)state;

    if (sampler_file_read(
            &s,
            write_text(
                "scheduler_config.json",
                "{\"_class_name\":\"DPMSolverMultistepScheduler\",\"_diffusers_version\":\"0.42.1 "
                "-Infinity\","
                "\"algorithm_type\":\"dpmsolver++\",\"beta_end\":0.012,\"beta_schedule\":\"scaled_linear\","
                "\"beta_start\":0.00085,\"dynamic_thresholding_ratio\":0.995,\"euler_at_final\":false,"
                "\"final_sigmas_type\":\"zero\",\"flow_shift\":1.0,\"lambda_min_clipped\":-Infinity,"
                "\"lower_order_final\":true,\"num_train_timesteps\":1000,\"prediction_type\":\"v_"
                "prediction\","
                "\"rescale_betas_zero_snr\":true,\"sample_max_value\":1.0,\"solver_order\":2,"
                "\"solver_type\":\"midpoint\",\"steps_offset\":1,\"thresholding\":false,"
                "\"time_shift_type\":\"exponential\",\"timestep_spacing\":\"trailing\",\"trained_betas\":"
                "null,"
                "\"use_beta_sigmas\":false,\"use_karras_sigmas\":false,\"variance_type\":null}"),
            &err))
        fail_msg("%s", err.text);
    assert_int_equal(s.own, DR_SAMPLER_DPMPP_2M);
    assert_int_equal(s.prediction, DR_PREDICT_V);
    assert_true(s.has_spacing && s.spacing == DR_SPACING_TRAILING);
    assert_true(s.has_solver_order && s.solver_order == 2);
    assert_true(s.rescale_betas_zero_snr);
}

/* With every key at its default, nothing is refused. */
static void configs_saved_by_the_reference_are_read(void **state)
{
    static const struct {
        const char *name;
        dr_sampler own;
    } schedulers[] = {
        { "DDPMScheduler", DR_SAMPLER_DDPM },
        { "DDIMScheduler", DR_SAMPLER_DDIM },
        { "PNDMScheduler", DR_SAMPLER_PNDM },
        { "EulerDiscreteScheduler", DR_SAMPLER_EULER },
        { "EulerAncestralDiscreteScheduler", DR_SAMPLER_EULER_A },
        { "HeunDiscreteScheduler", DR_SAMPLER_HEUN },
        { "DPMSolverMultistepScheduler", DR_SAMPLER_DPMPP_2M },
        { "UniPCMultistepScheduler", DR_SAMPLER_UNIPC },
        { "LMSDiscreteScheduler", DR_SAMPLER_LMS },
        { "LCMScheduler", DR_SAMPLER_LCM },
    };
    dr_text_encoder_config t;
    dr_unet_config u;
    dr_vae_config v;
    dr_error err;
    (void)state;

    for (size_t i = 0; i < sizeof(schedulers) / sizeof(schedulers[0]); i++) {
        char path[120];
        dr_sampler_config s;
        snprintf(path, sizeof(path), "tests/goldens/configs/%s.json", schedulers[i].name);
        if (sampler_file_read(&s, path, &err))
            fail_msg("%s", err.text);
        assert_int_equal(s.own, schedulers[i].own);
    }
    if (dr_unet_config_read(&u, "tests/goldens/configs/unet.json", &err) ||
        dr_vae_config_read(&v, "tests/goldens/configs/vae.json", &err) ||
        dr_text_encoder_config_read(&t, "tests/goldens/configs/text_encoder.json", &err))
        fail_msg("%s", err.text);
    assert_int_equal(u.blocks, 2);
    assert_int_equal(u.sample_size[0], 64); /* null in the file */
    assert_int_equal(u.sample_size[1], 64);
    assert_int_equal(v.blocks, 2);
    assert_int_equal(t.width, 512);
}

/* Python's None is not the class' default. */
static void a_flag_that_is_null_is_false(void **state)
{
    dr_sampler_config s;
    dr_unet_config u;
    dr_vae_config v;
    dr_error err;
    (void)state;

    if (dr_unet_config_read(&u,
                            write_text("config.json",
                                       "{\"upcast_attention\":null,\"flip_sin_to_cos\":null,"
                                       "\"use_linear_projection\":null,\"center_input_sample\":null,"
                                       "\"dual_cross_attention\":null,\"attention_type\":null,"
                                       "\"resnet_skip_time_act\":null,"
                                       "\"class_embeddings_concat\":null}"),
                            &err) ||
        dr_vae_config_read(&v,
                           write_text("config.json",
                                      "{\"use_quant_conv\":null,\"use_post_quant_conv\":null,"
                                      "\"mid_block_add_attention\":null}"),
                           &err) ||
        sampler_file_read(&s,
                          write_text("config.json",
                                     "{\"_class_name\":\"DDIMScheduler\",\"set_alpha_to_one\":null,"
                                     "\"clip_sample\":null,\"skip_prk_steps\":null,"
                                     "\"rescale_betas_zero_snr\":null,\"steps_offset\":null}"),
                          &err))
        fail_msg("%s", err.text);
    assert_false(u.flip_sin_to_cos || u.linear_projection);
    assert_false(v.quant_conv || v.post_quant_conv || v.mid_attention);
    assert_true(s.has_set_alpha_to_one && s.has_clip_sample && s.has_skip_prk_steps);
    assert_false(s.set_alpha_to_one || s.clip_sample || s.skip_prk_steps || s.rescale_betas_zero_snr);
    assert_false(s.has_steps_offset);
}

/* --- parts that do not fit together --------------------------------------------------------- */

/* The smallest model, as texts.  Each case replaces one of its files. */
static const struct {
    const char *name, *text;
} MODEL[] = {
    { "model_index.json",
      "{\"_class_name\":\"StableDiffusionPipeline\",\"scheduler\":[\"diffusers\",\"PNDMScheduler\"],"
      "\"text_encoder\":[\"transformers\",\"CLIPTextModel\"],\"unet\":[\"diffusers\","
      "\"UNet2DConditionModel\"],\"vae\":[\"diffusers\",\"AutoencoderKL\"]}" },
    { "text_encoder/config.json", "{\"hidden_size\":512}" },
    { "unet/config.json", "{\"cross_attention_dim\":512}" },
    { "vae/config.json", "{}" },
    { "scheduler/scheduler_config.json", "{\"_class_name\":\"DDIMScheduler\"}" },
};
enum { MODEL_FILES = sizeof(MODEL) / sizeof(MODEL[0]) };

static dr_status read_changed_model(const char *name, const char *text, dr_model_config *c, dr_error *err)
{
    char path[80], root[80];

    for (int i = 0; i < MODEL_FILES; i++) {
        snprintf(path, sizeof(path), "model/%s", MODEL[i].name);
        write_text(path, !strcmp(MODEL[i].name, name) ? text : MODEL[i].text);
    }
    snprintf(root, sizeof(root), "%s/model", folder.path);
    return dr_model_config_read(c, root, err);
}

#define INDEX(pipeline, scheduler, unet)                                          \
    "{\"_class_name\":\"" pipeline "\",\"scheduler\":[\"diffusers\",\"" scheduler \
    "\"],"                                                                        \
    "\"low_res_scheduler\":[\"diffusers\",\"DDPMScheduler\"],"                    \
    "\"text_encoder\":[\"transformers\",\"CLIPTextModel\"],\"unet\":" unet        \
    ",\"vae\":[\"diffusers\",\"AutoencoderKL\"]}"
#define UNET "[\"diffusers\",\"UNet2DConditionModel\"]"

static void parts_that_do_not_fit_are_refused(void **state)
{
    static const struct {
        const char *name, *text;
        dr_status status;
        const char *mentions, *mentions_too;
    } cases[] = {
        { "model_index.json", "{}", DR_EFORMAT, "model_index.json", "_class_name is missing" },
        { "model_index.json", INDEX("StableDiffusionXLPipeline", "DDIMScheduler", UNET), DR_EUNSUPPORTED,
          "model_index.json", "_class_name is \"StableDiffusionXLPipeline\"" },
        { "model_index.json",
          INDEX("StableDiffusionPipeline", "DDIMScheduler", "[\"diffusers\",\"UNetMotionModel\"]"),
          DR_EUNSUPPORTED, "model_index.json", "supported: UNet2DConditionModel" },
        { "model_index.json", INDEX("StableDiffusionPipeline", "DDIMScheduler", "[null,null]"), DR_EFORMAT,
          "model_index.json", "unet is [null,null]" },
        { "model_index.json", INDEX("StableDiffusionPipeline", "DDIMScheduler", "7"), DR_EFORMAT,
          "model_index.json", "unet is 7" },
        { "model_index.json", INDEX("StableDiffusionPipeline", "EDMEulerScheduler", UNET), DR_EUNSUPPORTED,
          "scheduler_config.json", "'EDMEulerScheduler'" },
        { "model_index.json", INDEX("StableDiffusionUpscalePipeline", "DDIMScheduler", UNET), DR_ENOTFOUND,
          "low_res_scheduler/scheduler_config.json", "No such file" },
        { "text_encoder/config.json", "{\"hidden_size\":768}", DR_EFORMAT, "cross_attention_dim is 512",
          "hidden_size is 768" },
        { "vae/config.json", "{\"latent_channels\":16}", DR_EFORMAT, "out_channels is 4",
          "latent_channels is 16" },
        { "unet/config.json", "{\"cross_attention_dim\":512,\"in_channels\":9}", DR_EUNSUPPORTED,
          "unet/config.json", "in_channels is 9; StableDiffusionPipeline with 4 latent channels needs 4" },
        { "unet/config.json", "{\"cross_attention_dim\":512,\"num_class_embeds\":10}", DR_EUNSUPPORTED,
          "unet/config.json", "num_class_embeds is 10" },
        { "unet/config.json", "{\"cross_attention_dim\":512,\"act_fn\":\"gelu\"}", DR_EUNSUPPORTED,
          "unet/config.json", "act_fn is \"gelu\"" },
    };
    dr_model_config c;
    dr_error err = { 0 };
    (void)state;

    assert_int_equal(read_changed_model("", "", &c, &err), DR_OK);
    assert_int_equal(c.sampler.own, DR_SAMPLER_PNDM); /* the class in model_index.json, not in the file */
    assert_int_equal(read_changed_model("model_index.json",
                                        INDEX("StableDiffusionInpaintPipeline", "DDIMScheduler", UNET), &c,
                                        &err),
                     DR_OK); /* inpainting with a plain UNet */
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (read_changed_model(cases[i].name, cases[i].text, &c, &err) != cases[i].status)
            fail_msg("case %zu: \"%s\" instead of %s", i, err.text, dr_status_name(cases[i].status));
        assert_mentions(&err, "/model/");
        assert_mentions(&err, cases[i].mentions);
        assert_mentions(&err, cases[i].mentions_too);
    }
}

static void every_missing_file_is_named(void **state)
{
    char path[128];
    dr_model_config c;
    dr_error err;
    (void)state;

    for (int i = 0; i < MODEL_FILES; i++) {
        assert_int_equal(read_changed_model("", "", &c, &err), DR_OK);
        snprintf(path, sizeof(path), "%s/model/%s", folder.path, MODEL[i].name);
        assert_int_equal(unlink(path), 0);
        snprintf(path, sizeof(path), "%s/model", folder.path);
        assert_int_equal(dr_model_config_read(&c, path, &err), DR_ENOTFOUND);
        assert_mentions(&err, MODEL[i].name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sd1),
        cmocka_unit_test(sd2),
        cmocka_unit_test(inpainting),
        cmocka_unit_test(upscaling),
        cmocka_unit_test(empty_configs_are_diffusers_defaults),
        cmocka_unit_test(scalars_serve_every_block),
        cmocka_unit_test(a_clip_config_holds_the_text_config),
        cmocka_unit_test(every_scheduler_class_is_a_sampler),
        cmocka_unit_test(a_saved_dpm_solver_is_read),
        cmocka_unit_test(configs_saved_by_the_reference_are_read),
        cmocka_unit_test(a_flag_that_is_null_is_false),
        cmocka_unit_test(parts_that_do_not_fit_are_refused),
        cmocka_unit_test(every_missing_file_is_named),
    };
    return cmocka_run_group_tests_name("config", tests, open_temp, close_temp);
}

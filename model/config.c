#include "model/config.h"

#include "model/config_parts.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

/* --- one part's file ------------------------------------------------------------------------ */

dr_status dr_text_encoder_config_read(dr_text_encoder_config *out, const char *path, dr_error *err)
{
    json_t *root;
    dr_status rc = dr_json_read(&root, path, err);

    if (!rc)
        rc = dr_text_encoder_config_parse(out, path, root, err);
    json_decref(root);
    return rc;
}

dr_status dr_unet_config_read(dr_unet_config *out, const char *path, dr_error *err)
{
    json_t *root;
    dr_status rc = dr_json_read(&root, path, err);

    if (!rc)
        rc = dr_unet_config_parse(out, path, root, err);
    json_decref(root);
    return rc;
}

dr_status dr_vae_config_read(dr_vae_config *out, const char *path, dr_error *err)
{
    json_t *root;
    dr_status rc = dr_json_read(&root, path, err);

    if (!rc)
        rc = dr_vae_config_parse(out, path, root, err);
    json_decref(root);
    return rc;
}

static dr_status read_sampler(dr_sampler_config *out, const char *path, const char *class_name, dr_error *err)
{
    json_t *root;
    dr_status rc = dr_json_read(&root, path, err);

    if (!rc)
        rc = dr_sampler_config_parse(out, path, root, class_name, err);
    json_decref(root);
    return rc;
}

/* --- the whole folder ----------------------------------------------------------------------- */

/* The pipelines that Darkroom can be, in the order of PIPELINES. */
enum { TEXT_TO_IMAGE, IMAGE_TO_IMAGE, INPAINT, UPSCALE };
static const char *const PIPELINES[] = {
    "StableDiffusionPipeline",
    "StableDiffusionImg2ImgPipeline",
    "StableDiffusionInpaintPipeline",
    "StableDiffusionUpscalePipeline",
};

typedef struct part_path {
    char text[PATH_MAX];
} part_path;

static dr_status join(part_path *out, const char *folder, const char *name, dr_error *err)
{
    if (snprintf(out->text, sizeof(out->text), "%s/%s", folder, name) >= (int)sizeof(out->text))
        return dr_fail(err, DR_EINVAL, "%.200s...: the path is too long", folder);
    return DR_OK;
}

/* The class in "part": ["library", "class"], or NULL after a failure. */
static const char *class_of(dr_json *j, const char *part)
{
    const json_t *entry = json_object_get(j->object, part);
    const char *name = json_string_value(json_array_get(entry, 1));

    if (!name || json_array_size(entry) != 2)
        dr_json_fail(j, DR_EFORMAT, part, "it must be [library, class]");
    return name;
}

static void check_class(dr_json *j, const char *part, const char *supported)
{
    const char *name = class_of(j, part);

    if (name && strcmp(name, supported))
        dr_json_fail(j, DR_EUNSUPPORTED, part, "supported: %s", supported);
}

static dr_status read_parts(dr_model_config *c, const char *folder, dr_error *err)
{
    part_path path;
    dr_status rc;

    rc = join(&path, folder, "text_encoder/config.json", err);
    if (!rc)
        rc = dr_text_encoder_config_read(&c->text_encoder, path.text, err);
    if (!rc)
        rc = join(&path, folder, "unet/config.json", err);
    if (!rc)
        rc = dr_unet_config_read(&c->unet, path.text, err);
    if (!rc)
        rc = join(&path, folder, "vae/config.json", err);
    if (!rc)
        rc = dr_vae_config_read(&c->vae, path.text, err);
    return rc;
}

static dr_status read_samplers(dr_model_config *c, dr_json *j, const char *folder)
{
    const char *class_name = class_of(j, "scheduler");
    part_path path;
    dr_status rc = j->status;

    if (!rc)
        rc = join(&path, folder, "scheduler/scheduler_config.json", j->err);
    if (!rc)
        rc = read_sampler(&c->sampler, path.text, class_name, j->err);
    if (rc || !c->has_low_res_sampler)
        return rc;
    class_name = class_of(j, "low_res_scheduler");
    rc = j->status;
    if (!rc)
        rc = join(&path, folder, "low_res_scheduler/scheduler_config.json", j->err);
    if (!rc)
        rc = read_sampler(&c->low_res_sampler, path.text, class_name, j->err);
    return rc;
}

/* Is this the number of channels that the pipeline's UNet reads?  An inpainting UNet also reads a mask and
 * the masked image's latent, an upscaler also the image.  Inpainting works with a plain UNet, too. */
static bool is_unet_input(int pipeline, int channels, int latent)
{
    if (pipeline == INPAINT)
        return channels == latent || channels == latent + 1 + latent;
    return channels == (pipeline == UPSCALE ? latent + 3 : latent);
}

/* Check that the parts fit together. */
static dr_status check_parts(const dr_model_config *c, int pipeline, const char *folder, dr_error *err)
{
    const int latent = c->vae.latent_channels;

    if (c->unet.cross_attention_dim != c->text_encoder.width)
        return dr_fail(err, DR_EFORMAT,
                       "%s/unet/config.json: cross_attention_dim is %d, but text_encoder/config.json: "
                       "hidden_size is %d",
                       folder, c->unet.cross_attention_dim, c->text_encoder.width);
    if (c->unet.out_channels != latent)
        return dr_fail(err, DR_EFORMAT,
                       "%s/unet/config.json: out_channels is %d, but vae/config.json: latent_channels is %d",
                       folder, c->unet.out_channels, latent);
    if (!is_unet_input(pipeline, c->unet.in_channels, latent))
        return dr_fail(err, DR_EUNSUPPORTED,
                       "%s/unet/config.json: in_channels is %d; %s with %d latent channels needs %d%s",
                       folder, c->unet.in_channels, c->class_name, latent,
                       pipeline == UPSCALE   ? latent + 3
                       : pipeline == INPAINT ? 2 * latent + 1
                                             : latent,
                       pipeline == INPAINT ? ", or as many as the latent" : "");
    if ((pipeline == UPSCALE) != (c->unet.class_embeddings > 0))
        return dr_fail(err, DR_EUNSUPPORTED, "%s/unet/config.json: num_class_embeds is %d; %s", folder,
                       c->unet.class_embeddings,
                       pipeline == UPSCALE ? "an upscaler has one per noise level"
                                           : "only upscalers have classes");
    return DR_OK;
}

dr_status dr_model_config_read(dr_model_config *out, const char *folder, dr_error *err)
{
    dr_model_config c = { 0 };
    part_path path;
    json_t *root = NULL;
    dr_status rc;
    dr_json j;
    int pipeline;

    rc = join(&path, folder, "model_index.json", err);
    if (!rc)
        rc = dr_json_read(&root, path.text, err);
    if (rc)
        goto out;
    j = dr_json_at(path.text, root, err);
    if (!dr_json_has(&j, "_class_name"))
        dr_json_fail(&j, DR_EFORMAT, "_class_name", "a pipeline's name is needed");
    pipeline = dr_json_choice(&j, "_class_name", PIPELINES, 4, TEXT_TO_IMAGE);
    snprintf(c.class_name, sizeof(c.class_name), "%s", PIPELINES[pipeline]);
    check_class(&j, "text_encoder", "CLIPTextModel");
    check_class(&j, "unet", "UNet2DConditionModel");
    check_class(&j, "vae", "AutoencoderKL");
    c.has_low_res_sampler = pipeline == UPSCALE;
    rc = j.status;
    if (!rc)
        rc = read_parts(&c, folder, err);
    if (!rc)
        rc = read_samplers(&c, &j, folder);
    if (!rc)
        rc = check_parts(&c, pipeline, folder, err);
out:
    json_decref(root);
    *out = c;
    return rc;
}

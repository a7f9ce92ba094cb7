/* model.c - opening a diffusers folder: configs, tokenizer, then each network in turn. */
#include "model/model.h"

#include "model/fingerprint.h"
#include "model/loader.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The weight files of the three networks.  They are open while the networks are loaded. */
typedef struct parts {
    const char *folder;
    dr_weights *text_encoder, *unet, *vae;
} parts;

static dr_status open_part(dr_weights **out, const char *folder, const char *part, const uint64_t *seed,
                           dr_error *err)
{
    char path[PATH_MAX];

    if (seed)
        return dr_weights_open_random(out, *seed, err);
    snprintf(path, sizeof(path), "%s/%s", folder, part);
    return dr_weights_open(out, path, err);
}

/* seed NULL: read the folder's files. */
static dr_status open_parts(parts *p, const uint64_t *seed, dr_error *err)
{
    dr_status rc;

    rc = open_part(&p->text_encoder, p->folder, "text_encoder", seed, err);
    if (!rc)
        rc = open_part(&p->unet, p->folder, "unet", seed, err);
    if (!rc)
        rc = open_part(&p->vae, p->folder, "vae", seed, err);
    return rc;
}

static void close_parts(parts *p)
{
    dr_weights_close(p->text_encoder);
    dr_weights_close(p->unet);
    dr_weights_close(p->vae);
}

/* If a file was written while it was read, the weights are a mix of two models: refuse them. */
static dr_status check_unchanged(const parts *p, dr_error *err)
{
    dr_status rc = dr_weights_check_unchanged(p->text_encoder, err);

    if (!rc)
        rc = dr_weights_check_unchanged(p->unet, err);
    return rc ? rc : dr_weights_check_unchanged(p->vae, err);
}

typedef void build_fn(dr_model *m, const dr_loader *root);

static dr_status load_part(dr_model *m, const char *part, const dr_weights *weights, build_fn *build,
                           dr_error *err)
{
    dr_loader_state state = { .device = m->device, .weights = weights };
    const dr_loader root = dr_loader_root(&state);
    dr_status rc;

    build(m, &root);
    m->info.weight_bytes += state.packed_bytes;
    rc = state.error.status;
    if (rc && err) {
        *err = state.error;
        dr_fail_within(err, "%s", part); /* the text names the file already */
    }
    dr_loader_finish(&state);
    return rc;
}

static void build_text_encoder(dr_model *m, const dr_loader *root)
{
    m->text_encoder = dr_text_encoder_load(root, &m->config.text_encoder);
}

static void build_unet(dr_model *m, const dr_loader *root)
{
    m->unet = dr_unet_load(root, &m->config.unet);
}

static void build_vae(dr_model *m, const dr_loader *root)
{
    m->vae = dr_vae_load(root, &m->config.vae);
}

/* What a model is made for follows from its UNet's input channels: latents alone; latents, a mask and a
 * masked image's latents; or latents and a low-resolution image. */
static dr_task task_of(const dr_model_config *config)
{
    const int extra = config->unet.in_channels - config->vae.latent_channels;

    if (extra == 0)
        return DR_TASK_TEXT_TO_IMAGE;
    return extra == config->vae.latent_channels + 1 ? DR_TASK_INPAINT : DR_TASK_UPSCALE;
}

static void fill_info(dr_model *m)
{
    dr_model_info *info = &m->info;

    info->task = task_of(&m->config);
    info->side_multiple = dr_vae_factor(m->vae);
    info->default_height = m->config.unet.sample_size[0] * info->side_multiple;
    info->default_width = m->config.unet.sample_size[1] * info->side_multiple;
    info->sampler = m->config.sampler.own;
}

/* The embedding must have a row for each id, or it would be read past its end. */
static dr_status check_vocabulary(const dr_model *m, const char *folder, dr_error *err)
{
    const int ids = dr_tokenizer_vocab_size(m->tokenizer);

    if (ids <= m->config.text_encoder.vocab_size)
        return DR_OK;
    return dr_fail(err, DR_EFORMAT,
                   "%s: the tokenizer has token ids up to %d, but the text encoder's vocab_size is %d",
                   folder, ids - 1, m->config.text_encoder.vocab_size);
}

/* About how many bytes the weights will take, stored like activations.  0: they are drawn from a seed, so
 * it is not known. */
static size_t weight_bytes(const dr_weights *w, dr_dtype storage)
{
    size_t bytes = 0;

    for (size_t i = 0; i < dr_weights_count(w); i++) {
        dr_weight_info info;
        if (dr_weights_find(w, dr_weights_name(w, i), &info))
            bytes += info.bytes / dr_dtype_bytes(info.dtype) * dr_dtype_bytes(storage);
    }
    return bytes;
}

/* The memory of a device can be planned with, so the error says how much the model needs. */
static void add_needed_memory(const dr_model *m, const parts *p, size_t left, dr_error *err)
{
    const dr_dtype storage = dr_device_activation_dtype(m->device);
    const size_t needed = weight_bytes(p->text_encoder, storage) + weight_bytes(p->unet, storage) +
                          weight_bytes(p->vae, storage);

    if (needed > 0 && left < SIZE_MAX)
        dr_fail_within(err, "%s: its weights take about %zu MiB, and %zu MiB were left", p->folder,
                       (needed >> 20) + 1, left >> 20);
}

static dr_status load_networks(dr_model *m, const parts *p, dr_error *err)
{
    const size_t left = dr_device_memory_left(m->device);
    dr_status rc;

    rc = load_part(m, "text_encoder", p->text_encoder, build_text_encoder, err);
    if (!rc)
        rc = load_part(m, "unet", p->unet, build_unet, err);
    if (!rc)
        rc = load_part(m, "vae", p->vae, build_vae, err);
    if (rc == DR_ENOMEM && err)
        add_needed_memory(m, p, left, err);
    return rc;
}

/* Read and check everything but the weights' values, before memory is taken for these. */
static dr_status open_files(dr_model *m, parts *p, const uint64_t *seed, dr_error *err)
{
    char path[PATH_MAX];
    dr_status rc = dr_model_config_read(&m->config, p->folder, err);

    if (rc)
        return rc;
    snprintf(path, sizeof(path), "%s/tokenizer", p->folder);
    rc = dr_tokenizer_open(&m->tokenizer, path, err);
    if (!rc)
        rc = check_vocabulary(m, p->folder, err);
    return rc ? rc : open_parts(p, seed, err);
}

static dr_status open_model(dr_model **out, dr_device *device, const char *folder, const uint64_t *seed,
                            dr_error *err)
{
    parts p = { .folder = folder };
    dr_model *m;
    dr_status rc;

    *out = NULL;
    m = calloc(1, sizeof(*m));
    if (!m)
        return dr_fail(err, DR_ENOMEM, "%s: no memory for the handle", folder);
    m->device = device;
    rc = open_files(m, &p, seed, err);
    if (rc)
        goto out;
    rc = load_networks(m, &p, err);
    if (!rc)
        rc = dr_lanes_meet(device, err); /* all lanes begin after the weights are there */
    if (rc)
        goto out;
    rc = dr_fingerprint(m->info.fingerprint, folder, p.text_encoder, p.unet, p.vae, err);
    if (!rc)
        rc = check_unchanged(&p, err);
    if (rc)
        goto out;
    fill_info(m);
    *out = m;
    m = NULL; /* handed over */
out:
    close_parts(&p);
    dr_model_close(m);
    return rc;
}

dr_status dr_model_open(dr_model **out, dr_device *device, const char *folder, dr_error *err)
{
    return open_model(out, device, folder, NULL, err);
}

dr_status dr_model_open_random(dr_model **out, dr_device *device, const char *folder, uint64_t seed,
                               dr_error *err)
{
    return open_model(out, device, folder, &seed, err);
}

dr_status dr_model_fingerprint(char hex[DR_FINGERPRINT_SIZE], const char *folder, dr_error *err)
{
    parts p = { .folder = folder };
    dr_status rc = open_parts(&p, NULL, err);

    hex[0] = '\0';
    if (!rc)
        rc = dr_fingerprint(hex, folder, p.text_encoder, p.unet, p.vae, err);
    close_parts(&p);
    return rc;
}

dr_status dr_model_check(dr_model_config *config, const char *folder, dr_error *err)
{
    parts p = { .folder = folder };
    dr_model m = { .device = NULL };
    const dr_status rc = open_files(&m, &p, NULL, err);

    *config = m.config;
    close_parts(&p);
    dr_tokenizer_close(m.tokenizer);
    return rc;
}

void dr_model_close(dr_model *m)
{
    if (!m)
        return;
    dr_vae_free(m->vae);
    dr_unet_free(m->unet);
    dr_text_encoder_free(m->text_encoder);
    dr_tokenizer_close(m->tokenizer);
    free(m);
}

dr_status dr_model_choose_sampler(const dr_model *model, dr_sampler wanted, dr_sampler *out, dr_error *err)
{
    return dr_sampler_choose(out, &model->config.sampler, wanted, err);
}

dr_status dr_model_count_tokens(const dr_model *model, const char *text, size_t bytes, int *tokens,
                                dr_error *err)
{
    int32_t ids[DR_TOKENS];

    return dr_tokenizer_encode(model->tokenizer, text, bytes, ids, tokens, err);
}

const dr_model_info *dr_model_info_of(const dr_model *model)
{
    return &model->info;
}

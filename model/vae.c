#include "model/vae.h"

#include "model/resample.h"
#include "model/resnet.h"

#include <math.h>
#include <stdlib.h>

#define NORM_EPS 1e-6f /* of all norms in AutoencoderKL */

/* One head over all pixels of the smallest map. */
typedef struct attention {
    dr_norm group_norm;
    dr_linear *to_qkv, *to_out;
} attention;

typedef struct mid_block {
    dr_resnet resnet[2];
    attention attention; /* to_qkv NULL: none */
} mid_block;

typedef struct block {
    int resnets;
    dr_resnet *resnet;
    dr_resample resample;
} block;

/* Half a VAE.  The encoder runs block 0 to blocks - 1 and then mid; the decoder runs mid and then block
 * blocks - 1 to 0.  Block 0 has the size of the picture. */
typedef struct half {
    dr_conv *conv_in, *conv_out;
    block block[DR_BLOCKS_MAX];
    mid_block mid;
    dr_norm conv_norm_out;
} half;

struct dr_vae {
    dr_device *device;
    dr_vae_config config;
    half encoder, decoder;
    dr_linear *quant_conv, *post_quant_conv; /* 1x1; NULL: none */
};

/* --- loading --------------------------------------------------------------------- */

static int map_pixels(const dr_vae_config *c, int level)
{
    const int more = (1 << level) - 1;

    return ((c->sample_size[0] + more) >> level) * ((c->sample_size[1] + more) >> level);
}

static dr_conv *load_conv(const dr_loader *l, const char *name, const dr_vae_config *c, int level, int in,
                          int out)
{
    return dr_load_conv(l, name,
                        &(dr_conv_shape){
                            .in = in,
                            .out = out,
                            .kernel = 3,
                            .stride = 1,
                            .map_pixels = map_pixels(c, level),
                            .bias = true,
                        });
}

static dr_resnet load_resnet(const dr_loader *l, int i, const dr_vae_config *c, int level, int in)
{
    const dr_loader at = dr_loader_at(l, "resnets.%d", i);

    return dr_resnet_load(&at, &(dr_resnet_shape){
                                   .in = in,
                                   .out = c->channels[level],
                                   .groups = c->norm_groups,
                                   .eps = NORM_EPS,
                                   .map_pixels = map_pixels(c, level),
                               });
}

/* Files from before diffusers 0.15 have other names. */
static attention load_attention(const dr_loader *l, const dr_vae_config *c, int channels)
{
    static const char *const names[] = { "to_q", "to_k", "to_v" };
    static const char *const old_names[] = { "query", "key", "value" };
    const bool old = dr_loader_has(l, "query.weight", false);

    return (attention){
        .group_norm = dr_load_norm(l, "group_norm", channels, c->norm_groups, NORM_EPS),
        .to_qkv = dr_load_linear_stack(l, old ? old_names : names, 3, channels, channels, DR_BIAS),
        .to_out = dr_load_linear(l, old ? "proj_attn" : "to_out.0", channels, channels, DR_BIAS),
    };
}

static mid_block load_mid_block(const dr_loader *l, const dr_vae_config *c)
{
    const int level = c->blocks - 1, channels = c->channels[level];
    const dr_loader at = dr_loader_at(l, "mid_block.attentions.0"), mid = dr_loader_at(l, "mid_block");
    mid_block m = { 0 };

    m.resnet[0] = load_resnet(&mid, 0, c, level, channels);
    if (c->mid_attention)
        m.attention = load_attention(&at, c, channels);
    m.resnet[1] = load_resnet(&mid, 1, c, level, channels);
    return m;
}

static block load_block(const dr_loader *l, const dr_vae_config *c, int level, int resnets, int in)
{
    block b = { .resnet = calloc((size_t)resnets, sizeof(*b.resnet)) };

    if (!b.resnet) {
        dr_fail(&l->state->error, DR_ENOMEM, "%s: no memory for %d resnets", l->prefix, resnets);
        return b;
    }
    b.resnets = resnets;
    for (int i = 0; i < resnets; i++)
        b.resnet[i] = load_resnet(l, i, c, level, i == 0 ? in : c->channels[level]);
    return b;
}

static void load_encoder(half *h, const dr_loader *root, const dr_vae_config *c)
{
    const dr_loader l = dr_loader_at(root, "encoder");
    const int deepest = c->blocks - 1;

    h->conv_in = load_conv(&l, "conv_in", c, 0, c->in_channels, c->channels[0]);
    for (int level = 0; level < c->blocks; level++) {
        const dr_loader at = dr_loader_at(&l, "down_blocks.%d", level);

        h->block[level] =
            load_block(&at, c, level, c->layers_per_block, c->channels[level > 0 ? level - 1 : 0]);
        if (level < deepest)
            h->block[level].resample = dr_downsampler_load(&at, c->channels[level], DR_PAD_RIGHT_BELOW,
                                                           map_pixels(c, level + 1), c->norm_groups);
    }
    h->mid = load_mid_block(&l, c);
    h->conv_norm_out = dr_load_norm(&l, "conv_norm_out", c->channels[deepest], c->norm_groups, NORM_EPS);
    h->conv_out = load_conv(&l, "conv_out", c, deepest, c->channels[deepest], 2 * c->latent_channels);
}

static void load_decoder(half *h, const dr_loader *root, const dr_vae_config *c)
{
    const dr_loader l = dr_loader_at(root, "decoder");
    const int deepest = c->blocks - 1;

    h->conv_in = load_conv(&l, "conv_in", c, deepest, c->latent_channels, c->channels[deepest]);
    h->mid = load_mid_block(&l, c);
    for (int level = deepest; level >= 0; level--) {
        const dr_loader at = dr_loader_at(&l, "up_blocks.%d", deepest - level);
        const int in = c->channels[level < deepest ? level + 1 : deepest];

        h->block[level] = load_block(&at, c, level, c->layers_per_block + 1, in);
        if (level > 0)
            h->block[level].resample =
                dr_upsampler_load(&at, c->channels[level], map_pixels(c, level - 1), c->norm_groups);
    }
    h->conv_norm_out = dr_load_norm(&l, "conv_norm_out", c->channels[0], c->norm_groups, NORM_EPS);
    h->conv_out = load_conv(&l, "conv_out", c, 0, c->channels[0], c->out_channels);
}

dr_vae *dr_vae_load(const dr_loader *l, const dr_vae_config *config)
{
    const int latent = config->latent_channels;
    dr_vae *vae = calloc(1, sizeof(*vae));

    if (!vae) {
        dr_fail(&l->state->error, DR_ENOMEM, "no memory for a VAE");
        return NULL;
    }
    vae->device = l->state->device;
    vae->config = *config;
    load_encoder(&vae->encoder, l, config);
    if (config->quant_conv)
        vae->quant_conv = dr_load_linear(l, "quant_conv", 2 * latent, 2 * latent, DR_BIAS);
    if (config->post_quant_conv)
        vae->post_quant_conv = dr_load_linear(l, "post_quant_conv", latent, latent, DR_BIAS);
    load_decoder(&vae->decoder, l, config);
    if (!l->state->error.status)
        return vae;
    dr_vae_free(vae);
    return NULL;
}

static void free_half(dr_device *device, half *h)
{
    for (int level = 0; level < DR_BLOCKS_MAX; level++) {
        block *b = &h->block[level];

        for (int i = 0; i < b->resnets; i++)
            dr_resnet_free(device, &b->resnet[i]);
        dr_resample_free(&b->resample);
        free(b->resnet);
    }
    dr_resnet_free(device, &h->mid.resnet[0]);
    dr_resnet_free(device, &h->mid.resnet[1]);
    dr_norm_free(device, &h->mid.attention.group_norm);
    dr_linear_free(h->mid.attention.to_qkv);
    dr_linear_free(h->mid.attention.to_out);
    dr_norm_free(device, &h->conv_norm_out);
    dr_conv_free(h->conv_in);
    dr_conv_free(h->conv_out);
}

void dr_vae_free(dr_vae *vae)
{
    if (!vae)
        return;
    free_half(vae->device, &vae->encoder);
    free_half(vae->device, &vae->decoder);
    dr_linear_free(vae->quant_conv);
    dr_linear_free(vae->post_quant_conv);
    free(vae);
}

int dr_vae_factor(const dr_vae *vae)
{
    return 1 << (vae->config.blocks - 1);
}

/* --- forward --------------------------------------------------------------------- */

/* x += to_out(attention(norm(x))) */
static void attend(dr_pass *p, const attention *a, dr_tensor x)
{
    const dr_tensor tokens = dr_tensor_tokens(x);
    dr_tensor h = dr_take_like(p, x);
    dr_tensor h_tokens = dr_tensor_tokens(h);
    dr_tensor qkv = dr_take(p, x.n, 1, tokens.w, 3 * x.c);

    dr_group_norm(p, &(dr_group_norm_args){ .x = x, .y = h, .norm = &a->group_norm });
    dr_apply_linear(p, &(dr_linear_args){ .linear = a->to_qkv, .x = h_tokens, .y = qkv });
    dr_attention(p, &(dr_attention_args){
                        .q = dr_tensor_channels(qkv, 0, x.c),
                        .k = dr_tensor_channels(qkv, x.c, x.c),
                        .v = dr_tensor_channels(qkv, 2 * x.c, x.c),
                        .y = h_tokens,
                        .heads = 1,
                        .scale = 1 / sqrtf((float)x.c),
                    });
    dr_release(p, &qkv);
    dr_apply_linear(p, &(dr_linear_args){
                           .linear = a->to_out, .x = h_tokens, .y = tokens, .residual = &tokens });
    dr_release(p, &h);
}

/* These three release x, and the caller releases their output. */

static dr_tensor run_mid_block(dr_pass *p, const mid_block *m, dr_tensor x)
{
    x = dr_resnet_forward(p, &m->resnet[0], x, false, NULL);
    if (m->attention.to_qkv)
        attend(p, &m->attention, x);
    return dr_resnet_forward(p, &m->resnet[1], x, false, NULL);
}

static dr_tensor run_resnets(dr_pass *p, const block *b, dr_tensor x)
{
    for (int i = 0; i < b->resnets; i++)
        x = dr_resnet_forward(p, &b->resnet[i], x, false, NULL);
    return x;
}

static dr_tensor downsample(dr_pass *p, const dr_resample *r, dr_tensor x)
{
    const dr_tensor y = dr_downsample_forward(p, r, x);

    dr_release(p, &x);
    return y;
}

/* y = conv_out(silu(norm(x))); x is released. */
static void run_out(dr_pass *p, const half *h, dr_tensor x, dr_tensor y)
{
    dr_group_norm(p, &(dr_group_norm_args){ .x = x, .y = x, .norm = &h->conv_norm_out, .silu = true });
    dr_conv2d(p, &(dr_conv2d_args){ .conv = h->conv_out, .x = x, .y = y });
    dr_release(p, &x);
}

/* post_quant_conv(latents / scaling_factor) */
static dr_tensor unscale(dr_pass *p, const dr_vae *vae, dr_tensor latents)
{
    dr_tensor z = dr_take_like(p, latents);
    dr_tensor y;

    dr_scale(p, &(dr_scale_args){ .x = latents, .y = z, .factor = 1 / vae->config.scaling_factor });
    if (!vae->post_quant_conv)
        return z;
    y = dr_take_like(p, z);
    dr_apply_linear(p, &(dr_linear_args){ .linear = vae->post_quant_conv, .x = z, .y = y });
    dr_release(p, &z);
    return y;
}

void dr_vae_decode(dr_pass *p, const dr_vae *vae, dr_tensor latents, dr_tensor rgb)
{
    const half *d = &vae->decoder;
    const int deepest = vae->config.blocks - 1;
    dr_tensor z = unscale(p, vae, latents);
    dr_tensor x = dr_take(p, z.n, z.h, z.w, vae->config.channels[deepest]);

    x = dr_conv2d(p, &(dr_conv2d_args){
                         .conv = d->conv_in, .x = z, .y = x, .norm_groups = vae->config.norm_groups });
    dr_release(p, &z);
    x = run_mid_block(p, &d->mid, x);
    for (int level = deepest; level >= 0; level--) {
        x = run_resnets(p, &d->block[level], x);
        if (level > 0)
            x = dr_upsample_forward(p, &d->block[level].resample, x, 2 * x.h, 2 * x.w);
    }
    run_out(p, d, x, rgb);
}

void dr_vae_encode_moments(dr_pass *p, const dr_vae *vae, dr_tensor image, dr_tensor moments)
{
    const half *e = &vae->encoder;
    const int deepest = vae->config.blocks - 1;
    dr_tensor x = dr_take(p, image.n, image.h, image.w, vae->config.channels[0]);
    dr_tensor h;

    x = dr_conv2d(p, &(dr_conv2d_args){
                         .conv = e->conv_in, .x = image, .y = x, .norm_groups = vae->config.norm_groups });
    for (int level = 0; level <= deepest; level++) {
        x = run_resnets(p, &e->block[level], x);
        if (level < deepest)
            x = downsample(p, &e->block[level].resample, x);
    }
    x = run_mid_block(p, &e->mid, x);
    if (!vae->quant_conv) {
        run_out(p, e, x, moments);
        return;
    }
    h = dr_take_like(p, moments);
    run_out(p, e, x, h);
    dr_apply_linear(p, &(dr_linear_args){ .linear = vae->quant_conv, .x = h, .y = moments });
    dr_release(p, &h);
}

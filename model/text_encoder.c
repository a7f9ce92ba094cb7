#include "model/text_encoder.h"

#include <math.h>
#include <stdlib.h>

typedef struct layer {
    dr_norm layer_norm1, layer_norm2;
    dr_linear *qkv; /* q_proj, k_proj and v_proj side by side */
    dr_linear *out_proj;
    dr_linear *fc1, *fc2;
} layer;

struct dr_text_encoder {
    dr_device *device;
    dr_text_encoder_config config;
    float *token_embedding;    /* device, [vocab_size, width] */
    float *position_embedding; /* device, [positions, width] */
    layer *layers;             /* [config.layers] */
    dr_norm final_layer_norm;
};

/* --- loading --------------------------------------------------------------------- */

static layer load_layer(const dr_loader *l, const dr_text_encoder_config *c)
{
    static const char *const qkv[] = { "q_proj", "k_proj", "v_proj" };
    const dr_loader attention = dr_loader_at(l, "self_attn");
    const dr_loader mlp = dr_loader_at(l, "mlp");

    return (layer){
        .layer_norm1 = dr_load_norm(l, "layer_norm1", c->width, 0, c->layer_norm_eps),
        .qkv = dr_load_linear_stack(&attention, qkv, 3, c->width, c->width, DR_BIAS),
        .out_proj = dr_load_linear(&attention, "out_proj", c->width, c->width, DR_BIAS),
        .layer_norm2 = dr_load_norm(l, "layer_norm2", c->width, 0, c->layer_norm_eps),
        .fc1 = dr_load_linear(&mlp, "fc1", c->width, c->intermediate, DR_BIAS),
        .fc2 = dr_load_linear(&mlp, "fc2", c->intermediate, c->width, DR_BIAS),
    };
}

/* In published files all names begin with `text_model`; transformers 5 leaves that out. */
static dr_loader body_of(const dr_loader *root)
{
    return dr_loader_has(root, "final_layer_norm.weight", false) ? *root : dr_loader_at(root, "text_model");
}

dr_text_encoder *dr_text_encoder_load(const dr_loader *root, const dr_text_encoder_config *config)
{
    const dr_text_encoder_config *c = config;
    const dr_loader l = body_of(root);
    const dr_loader embeddings = dr_loader_at(&l, "embeddings");
    dr_text_encoder *t = calloc(1, sizeof(*t));

    if (t)
        t->layers = calloc((size_t)c->layers, sizeof(*t->layers));
    if (!t || !t->layers) {
        dr_fail(&l.state->error, DR_ENOMEM, "no memory for a text encoder of %d layers", c->layers);
        goto out;
    }
    t->device = l.state->device;
    t->config = *c;
    t->token_embedding = dr_load_vector(&embeddings, "token_embedding.weight", c->vocab_size, c->width);
    t->position_embedding = dr_load_vector(&embeddings, "position_embedding.weight", c->positions, c->width);
    for (int i = 0; i < c->layers; i++) {
        const dr_loader at = dr_loader_at(&l, "encoder.layers.%d", i);

        t->layers[i] = load_layer(&at, c);
    }
    t->final_layer_norm = dr_load_norm(&l, "final_layer_norm", c->width, 0, c->layer_norm_eps);
    if (!l.state->error.status)
        return t;
out:
    dr_text_encoder_free(t);
    return NULL;
}

static void free_layer(dr_device *device, layer *l)
{
    dr_norm_free(device, &l->layer_norm1);
    dr_norm_free(device, &l->layer_norm2);
    dr_linear_free(l->qkv);
    dr_linear_free(l->out_proj);
    dr_linear_free(l->fc1);
    dr_linear_free(l->fc2);
}

void dr_text_encoder_free(dr_text_encoder *t)
{
    if (!t)
        return;
    for (int i = 0; t->layers && i < t->config.layers; i++)
        free_layer(t->device, &t->layers[i]);
    dr_norm_free(t->device, &t->final_layer_norm);
    dr_device_free(t->device, t->token_embedding);
    dr_device_free(t->device, t->position_embedding);
    free(t->layers);
    free(t);
}

/* --- forward --------------------------------------------------------------------- */

/* x += out_proj(attention(norm(x))) */
static void attend(dr_pass *p, const layer *l, int heads, dr_tensor x)
{
    const int width = x.c;
    dr_tensor h = dr_take_like(p, x);
    dr_tensor qkv = dr_take(p, x.n, 1, x.w, 3 * width);

    dr_layer_norm(p, &(dr_layer_norm_args){ .x = x, .y = h, .norm = &l->layer_norm1 });
    dr_apply_linear(p, &(dr_linear_args){ .linear = l->qkv, .x = h, .y = qkv });
    dr_attention(p, &(dr_attention_args){
                        .q = dr_tensor_channels(qkv, 0, width),
                        .k = dr_tensor_channels(qkv, width, width),
                        .v = dr_tensor_channels(qkv, 2 * width, width),
                        .y = h,
                        .heads = heads,
                        .scale = 1 / sqrtf((float)(width / heads)),
                        .causal = true,
                    });
    dr_release(p, &qkv);
    dr_apply_linear(p, &(dr_linear_args){ .linear = l->out_proj, .x = h, .y = x, .residual = &x });
    dr_release(p, &h);
}

/* x += fc2(activation(fc1(norm(x)))) */
static void feed_forward(dr_pass *p, const layer *l, const dr_text_encoder_config *c, dr_tensor x)
{
    dr_tensor h = dr_take_like(p, x);
    dr_tensor wide = dr_take(p, x.n, 1, x.w, c->intermediate);

    dr_layer_norm(p, &(dr_layer_norm_args){ .x = x, .y = h, .norm = &l->layer_norm2 });
    dr_apply_linear(p, &(dr_linear_args){ .linear = l->fc1, .x = h, .y = wide, .activation = c->activation });
    dr_release(p, &h);
    dr_apply_linear(p, &(dr_linear_args){ .linear = l->fc2, .x = wide, .y = x, .residual = &x });
    dr_release(p, &wide);
}

dr_tensor dr_text_encoder_forward(dr_pass *p, const dr_text_encoder *t, const int32_t *ids, int n)
{
    const dr_text_encoder_config *c = &t->config;
    dr_tensor x = dr_take(p, n, 1, DR_TOKENS, c->width);

    dr_lookup(p, &(dr_lookup_args){
                     .table = t->token_embedding,
                     .index = ids,
                     .positions = t->position_embedding,
                     .y = x,
                 });
    for (int i = 0; i < c->layers; i++) {
        attend(p, &t->layers[i], c->heads, x);
        feed_forward(p, &t->layers[i], c, x);
    }
    dr_layer_norm(p, &(dr_layer_norm_args){ .x = x, .y = x, .norm = &t->final_layer_norm });
    return x;
}

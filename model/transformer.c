#include "model/transformer.h"

#include "base/limits.h"

#include <math.h>
#include <stdlib.h>

#define NORM_EPS 1e-6f       /* of the group norm in Transformer2DModel, whatever norm_eps says */
#define LAYER_NORM_EPS 1e-5f /* PyTorch's default, which BasicTransformerBlock keeps */

enum {
    FF_MULTIPLE = 4,
    CONTEXT_ALIGN = 32, /* columns: a layer's keys begin on a cache line in 16-bit types as well */
};

/* Attention of x to itself (to_qkv), or to the prompt (to_q, and to_kv once for each prompt). */
typedef struct attention {
    int heads;
    dr_linear *to_qkv;
    dr_linear *to_q, *to_kv;
    int context_offset; /* first column of its keys and values */
    dr_linear *to_out;
} attention;

struct dr_transformer_block {
    dr_norm norm1, norm2, norm3;
    attention attn1, attn2;
    dr_linear *ff_in;  /* ff.net.0.proj: value | gate */
    dr_linear *ff_out; /* ff.net.2 */
};

/* --- loading --------------------------------------------------------------------- */

static attention load_self_attention(const dr_loader *l, const dr_transformer_shape *s)
{
    static const char *const qkv[] = { "to_q", "to_k", "to_v" };

    return (attention){
        .heads = s->heads,
        .to_qkv = dr_load_linear_stack(l, qkv, 3, s->channels, s->channels, DR_EIGHT_BITS),
        .to_out = dr_load_linear(l, "to_out.0", s->channels, s->channels, DR_BIAS),
    };
}

static attention load_cross_attention(const dr_loader *l, const dr_transformer_shape *s,
                                      int *context_channels)
{
    static const char *const kv[] = { "to_k", "to_v" };
    const attention a = {
        .heads = s->heads,
        .to_q = dr_load_linear(l, "to_q", s->channels, s->channels, DR_EIGHT_BITS),
        .to_kv = dr_load_linear_stack(l, kv, 2, s->cross_attention_dim, s->channels, 0),
        .context_offset = *context_channels,
        .to_out = dr_load_linear(l, "to_out.0", s->channels, s->channels, DR_BIAS),
    };

    *context_channels += (2 * s->channels + CONTEXT_ALIGN - 1) / CONTEXT_ALIGN * CONTEXT_ALIGN;
    return a;
}

static dr_transformer_block load_block(const dr_loader *l, const dr_transformer_shape *s,
                                       int *context_channels)
{
    const int c = s->channels, wide = FF_MULTIPLE * c;
    const dr_loader attn1 = dr_loader_at(l, "attn1"), attn2 = dr_loader_at(l, "attn2");
    dr_transformer_block b = { 0 };

    b.norm1 = dr_load_norm(l, "norm1", c, 0, LAYER_NORM_EPS);
    b.attn1 = s->only_cross_attention ? load_cross_attention(&attn1, s, context_channels)
                                      : load_self_attention(&attn1, s);
    b.norm2 = dr_load_norm(l, "norm2", c, 0, LAYER_NORM_EPS);
    b.attn2 = load_cross_attention(&attn2, s, context_channels);
    b.norm3 = dr_load_norm(l, "norm3", c, 0, LAYER_NORM_EPS);
    b.ff_in = dr_load_linear(l, "ff.net.0.proj", c, 2 * wide, DR_BIAS | DR_EIGHT_BITS);
    b.ff_out = dr_load_linear(l, "ff.net.2", wide, c, DR_BIAS | DR_EIGHT_BITS);
    return b;
}

dr_transformer dr_transformer_load(const dr_loader *l, const dr_transformer_shape *s, int *context_channels)
{
    dr_transformer t = { .block = calloc((size_t)s->blocks, sizeof(*t.block)) };

    if (!t.block) {
        dr_fail(&l->state->error, DR_ENOMEM, "%s: no memory for %d blocks", l->prefix, s->blocks);
        return t;
    }
    t.blocks = s->blocks;
    t.norm = dr_load_norm(l, "norm", s->channels, s->groups, NORM_EPS);
    /* Not in 8 bits: this layer would cost the most quality for the time it saves (bench/SPEED.md). */
    t.proj_in = dr_load_linear(l, "proj_in", s->channels, s->channels, DR_BIAS);
    for (int i = 0; i < s->blocks; i++) {
        const dr_loader at = dr_loader_at(l, "transformer_blocks.%d", i);

        t.block[i] = load_block(&at, s, context_channels);
    }
    t.proj_out = dr_load_linear(l, "proj_out", s->channels, s->channels, DR_BIAS);
    return t;
}

static void free_attention(attention *a)
{
    dr_linear_free(a->to_qkv);
    dr_linear_free(a->to_q);
    dr_linear_free(a->to_kv);
    dr_linear_free(a->to_out);
}

void dr_transformer_free(dr_device *device, dr_transformer *t)
{
    for (int i = 0; i < t->blocks; i++) {
        dr_transformer_block *b = &t->block[i];

        dr_norm_free(device, &b->norm1);
        dr_norm_free(device, &b->norm2);
        dr_norm_free(device, &b->norm3);
        free_attention(&b->attn1);
        free_attention(&b->attn2);
        dr_linear_free(b->ff_in);
        dr_linear_free(b->ff_out);
    }
    dr_norm_free(device, &t->norm);
    dr_linear_free(t->proj_in);
    dr_linear_free(t->proj_out);
    free(t->block);
}

/* --- prompts --------------------------------------------------------------------- */

/* One layer's keys and values for all prompts: [rows, 1, 77, k | v]. */
static dr_tensor keys_and_values(const dr_pass *p, const attention *a, int channels,
                                 const dr_context_rows *context)
{
    const dr_dtype dtype = dr_device_activation_dtype(p->device);
    const size_t tokens = (size_t)context->rows * DR_TOKENS;

    return (dr_tensor){
        .data = (char *)context->data + tokens * (size_t)a->context_offset * dr_dtype_bytes(dtype),
        .dtype = dtype,
        .n = context->rows,
        .h = 1,
        .w = DR_TOKENS,
        .c = 2 * channels,
        .ld = 2 * channels,
    };
}

static void context_forward(dr_pass *p, const attention *a, int channels, dr_tensor prompt_embeds,
                            const dr_context_rows *context, int first_row)
{
    const dr_tensor kv = keys_and_values(p, a, channels, context);

    dr_apply_linear(p, &(dr_linear_args){
                           .linear = a->to_kv,
                           .x = prompt_embeds,
                           .y = dr_tensor_rows(kv, first_row, prompt_embeds.n),
                       });
}

void dr_transformer_context_forward(dr_pass *p, const dr_transformer *t, dr_tensor prompt_embeds,
                                    const dr_context_rows *context, int first_row)
{
    for (int i = 0; i < t->blocks; i++) {
        const dr_transformer_block *b = &t->block[i];

        if (b->attn1.to_kv)
            context_forward(p, &b->attn1, t->norm.c, prompt_embeds, context, first_row);
        context_forward(p, &b->attn2, t->norm.c, prompt_embeds, context, first_row);
    }
}

/* --- forward --------------------------------------------------------------------- */

static dr_attention_args attention_args(const attention *a, int channels)
{
    return (dr_attention_args){ .heads = a->heads, .scale = 1 / sqrtf((float)(channels / a->heads)) };
}

/* Attention of x to itself.  x is released before the output is taken, which may get its memory. */
static dr_tensor attend_to_self(dr_pass *p, const attention *a, dr_tensor x)
{
    dr_attention_args args = attention_args(a, x.c);
    dr_tensor qkv = dr_take(p, x.n, x.h, x.w, 3 * x.c);

    dr_apply_linear(p, &(dr_linear_args){ .linear = a->to_qkv, .x = x, .y = qkv });
    dr_release(p, &x);
    args.q = dr_tensor_channels(qkv, 0, x.c);
    args.k = dr_tensor_channels(qkv, x.c, x.c);
    args.v = dr_tensor_channels(qkv, 2 * x.c, x.c);
    args.y = dr_take_like(p, x);
    dr_attention(p, &args);
    dr_release(p, &qkv);
    return args.y;
}

/* Attention of x to the prompt.  x is released before the output is taken, which may get its memory. */
static dr_tensor attend_to_prompt(dr_pass *p, const attention *a, dr_tensor x, const dr_context_rows *context)
{
    const dr_tensor kv = keys_and_values(p, a, x.c, context);
    dr_attention_args args = attention_args(a, x.c);

    args.q = dr_take_like(p, x);
    dr_apply_linear(p, &(dr_linear_args){ .linear = a->to_q, .x = x, .y = args.q });
    dr_release(p, &x);
    args.k = dr_tensor_channels(kv, 0, x.c);
    args.v = dr_tensor_channels(kv, x.c, x.c);
    args.kv_row = context->row;
    args.y = dr_take_like(p, x);
    dr_attention(p, &args);
    dr_release(p, &args.q);
    return args.y;
}

/* norm(x), in the type that the layer reads. */
static dr_tensor normed(dr_pass *p, const dr_norm *norm, dr_tensor x, const dr_linear *linear)
{
    dr_tensor y = dr_take_as(p, dr_linear_x_dtype(linear), x.n, x.h, x.w, x.c);

    dr_layer_norm(p, &(dr_layer_norm_args){ .x = x, .y = y, .norm = norm });
    return y;
}

/* x + to_out(attention(norm(x))).  It is written over x, unless this attention is the first to the prompt:
 * there each sample's row becomes one row for each of its prompts. */
static dr_tensor attend(dr_pass *p, const attention *a, const dr_norm *norm, dr_tensor x, const dr_rows *rows,
                        const dr_context_rows *context)
{
    dr_tensor h;

    if (a->to_kv)
        x = dr_rows_expand(p, rows, x);
    if (a->to_qkv)
        h = attend_to_self(p, a, normed(p, norm, x, a->to_qkv));
    else
        h = attend_to_prompt(p, a, normed(p, norm, x, a->to_q), context);
    dr_apply_linear(p, &(dr_linear_args){ .linear = a->to_out, .x = h, .y = x, .residual = &x });
    dr_release(p, &h);
    return x;
}

/* x += ff_out(geglu(ff_in(norm3(x)))) */
static void feed_forward(dr_pass *p, const dr_transformer_block *b, dr_tensor x)
{
    dr_tensor wide = dr_take(p, x.n, x.h, x.w, 2 * FF_MULTIPLE * x.c);
    dr_tensor h = normed(p, &b->norm3, x, b->ff_in);

    dr_apply_linear(p, &(dr_linear_args){ .linear = b->ff_in, .x = h, .y = wide });
    dr_release(p, &h);
    h = dr_take_as(p, dr_linear_x_dtype(b->ff_out), x.n, x.h, x.w, FF_MULTIPLE * x.c);
    dr_geglu(p, &(dr_geglu_args){ .x = wide, .y = h });
    dr_release(p, &wide);
    dr_apply_linear(p, &(dr_linear_args){ .linear = b->ff_out, .x = h, .y = x, .residual = &x });
    dr_release(p, &h);
}

dr_tensor dr_transformer_forward(dr_pass *p, const dr_transformer *t, dr_tensor x, const dr_rows *rows,
                                 const dr_context_rows *context)
{
    dr_tensor tokens, h = dr_take_like(p, dr_tensor_tokens(x));
    dr_tensor norm =
        dr_take_like(p, x); /* taken last, so that the blocks get its memory once it is released */

    dr_group_norm(p, &(dr_group_norm_args){ .x = x, .y = norm, .norm = &t->norm });
    dr_apply_linear(p, &(dr_linear_args){ .linear = t->proj_in, .x = dr_tensor_tokens(norm), .y = h });
    dr_release(p, &norm);
    for (int i = 0; i < t->blocks; i++) {
        h = attend(p, &t->block[i].attn1, &t->block[i].norm1, h, rows, context);
        h = attend(p, &t->block[i].attn2, &t->block[i].norm2, h, rows, context);
        feed_forward(p, &t->block[i], h);
    }
    x = dr_rows_expand(p, rows, x);
    tokens = dr_tensor_tokens(x);
    dr_apply_linear(p, &(dr_linear_args){ .linear = t->proj_out, .x = h, .y = tokens, .residual = &tokens });
    dr_release(p, &h);
    return x;
}

/* ops.c - the checks that every backend can rely on, then the call. */
#include "ops/ops.h"

#include "ops/backend.h"

#include <string.h>

/* --- passes ---------------------------------------------------------------------- */

static bool failed(const dr_pass *p)
{
    return p->error.status != DR_OK;
}

/* Where the arena is before an operator; a pass over layers alone may have none. */
static dr_arena_mark mark_of(const dr_pass *p)
{
    return p->arena ? dr_arena_mark_of(p->arena) : (dr_arena_mark){ 0 };
}

/* An operator has released all scratch that it took, unless it failed on the way. */
static void check_mark(const dr_pass *p, dr_arena_mark mark)
{
    dr_assert(failed(p) || !p->arena || dr_arena_is_at(p->arena, mark));
}

/* Has the backend do it. */
#define RUN(p, operator, args)                       \
    do {                                             \
        const dr_arena_mark mark = mark_of(p);       \
                                                     \
        (p)->device->backend->operator((p), (args)); \
        check_mark(p, mark);                         \
    } while (0)

/* --- statistics ------------------------------------------------------------------- */

static const char *end_of(const dr_tensor *t)
{
    return (const char *)t->data + dr_tensor_pixels(t) * (size_t)t->ld * dr_dtype_bytes(t->dtype);
}

static void forget_stats(dr_pass *p)
{
    if (p->stats.left.data)
        dr_arena_release(p->arena, p->stats.left.data);
    p->stats.left = (dr_norm_stats){ .data = NULL };
}

/* t is about to be written or released: what is known of it, or of a part of it, no longer holds. */
static void changes(dr_pass *p, const dr_tensor *t)
{
    const dr_tensor *of = &p->stats.of;

    if (p->stats.left.data && (const char *)t->data < end_of(of) && (const char *)of->data < end_of(t))
        forget_stats(p);
}

/* Room for the statistics that the operator that writes y will leave: y gets their name. */
static dr_norm_stats expect_stats(dr_pass *p, dr_tensor *y, int groups, size_t bytes)
{
    dr_kept_stats *s = &p->stats;

    if (bytes == 0)
        return (dr_norm_stats){ .data = NULL };
    forget_stats(p);
    s->left = (dr_norm_stats){ .data = dr_arena_take(p->arena, bytes), .bytes = bytes, .groups = groups };
    if (!s->left.data) {
        dr_fail(&p->error, DR_ENOMEM, "no %zu bytes left for a group norm's statistics", bytes);
        return s->left;
    }
    y->stats = ++s->name;
    s->of = *y;
    return s->left;
}

/* Those that x has for a norm of that many groups. */
static dr_norm_stats stats_of(const dr_pass *p, const dr_tensor *x, int groups)
{
    const dr_kept_stats *s = &p->stats;

    if (!s->left.data || x->stats != s->name || groups != s->left.groups)
        return (dr_norm_stats){ .data = NULL };
    /* Whoever has the name has the tensor, perhaps folded into one line. */
    dr_assert(x->data == s->of.data && x->n == s->of.n && x->c == s->of.c);
    dr_assert(dr_tensor_pixels(x) == dr_tensor_pixels(&s->of));
    return s->left;
}

/* --- memory ------------------------------------------------------------------------ */

dr_tensor dr_take_as(dr_pass *p, dr_dtype dtype, int n, int h, int w, int c)
{
    dr_tensor t = { .dtype = dtype, .n = n, .h = h, .w = w, .c = c, .ld = c };
    const size_t bytes = dr_tensor_pixels(&t) * (size_t)c * dr_dtype_bytes(t.dtype);

    dr_assert(n > 0 && h > 0 && w > 0 && c > 0);
    if (failed(p))
        return t;
    t.data = dr_arena_take(p->arena, bytes);
    if (!t.data)
        dr_fail(&p->error, DR_ENOMEM, "no %zu bytes of %zu left for activations of [%d, %d, %d, %d]", bytes,
                p->arena->capacity, n, h, w, c);
    return t;
}

dr_tensor dr_take(dr_pass *p, int n, int h, int w, int c)
{
    return dr_take_as(p, p->device->activation_dtype, n, h, w, c);
}

dr_tensor dr_take_like(dr_pass *p, dr_tensor t)
{
    return dr_take(p, t.n, t.h, t.w, t.c);
}

void dr_release(dr_pass *p, dr_tensor *t)
{
    if (t->data) {
        changes(p, t);
        dr_arena_release(p->arena, t->data);
    }
    t->data = NULL;
}

/* --- weights ---------------------------------------------------------------------- */

dr_status dr_linear_create(dr_linear **out, dr_device *device, const dr_linear_desc *desc, dr_error *err)
{
    dr_assert(desc->in > 0 && desc->out > 0 && desc->weight);
    *out = NULL;
    return device->backend->linear_create(out, device, desc, err);
}

void dr_linear_free(dr_linear *linear)
{
    if (linear)
        linear->device->backend->linear_free(linear);
}

size_t dr_linear_bytes(const dr_linear *linear)
{
    return linear->bytes;
}

dr_status dr_conv_create(dr_conv **out, dr_device *device, const dr_conv_desc *desc, dr_error *err)
{
    dr_assert(desc->in > 0 && desc->out > 0 && desc->weight);
    dr_assert(desc->kernel == 1 || desc->kernel == 3);
    dr_assert(desc->stride == 1 || desc->stride == 2);
    dr_assert(!desc->upsample || (desc->kernel == 3 && desc->stride == 1 && desc->padding == DR_PAD_AROUND));
    *out = NULL;
    return device->backend->conv_create(out, device, desc, err);
}

void dr_conv_free(dr_conv *conv)
{
    if (conv)
        conv->device->backend->conv_free(conv);
}

size_t dr_conv_bytes(const dr_conv *conv)
{
    return conv->bytes;
}

dr_dtype dr_linear_x_dtype(const dr_linear *linear)
{
    return linear->eight_bits ? DR_E4M3 : linear->device->activation_dtype;
}

dr_dtype dr_conv_x_dtype(const dr_conv *conv)
{
    return conv->eight_bits ? DR_E4M3 : conv->device->activation_dtype;
}

/* --- shapes ----------------------------------------------------------------------- */

static bool same_map(const dr_tensor *a, const dr_tensor *b)
{
    return a->n == b->n && a->h == b->h && a->w == b->w;
}

static bool same_shape(const dr_tensor *a, const dr_tensor *b)
{
    return same_map(a, b) && a->c == b->c;
}

static bool dense(const dr_tensor *t)
{
    return t->ld == t->c;
}

static void check_residual(const dr_tensor *residual, const dr_tensor *y)
{
    dr_assert(!residual || same_shape(residual, y));
}

/* Whether a side of a convolution's output goes with that of its input. */
static bool conv_sides_fit(const dr_conv *conv, int x, int y)
{
    const int padded = conv->padding == DR_PAD_AROUND ? x + 2 * (conv->kernel / 2) : x + 1;

    if (conv->upsample)
        return y == 2 * x || y == 2 * x - 1;
    return y == (padded - conv->kernel) / conv->stride + 1;
}

/* --- operators --------------------------------------------------------------------- */

void dr_apply_linear(dr_pass *p, const dr_linear_args *a)
{
    if (failed(p))
        return;
    dr_assert(a->x.c == a->linear->in && a->y.c == a->linear->out && same_map(&a->x, &a->y));
    dr_assert(a->x.data != a->y.data);
    dr_assert(a->x.dtype == dr_linear_x_dtype(a->linear) && (a->x.dtype != DR_E4M3 || a->y.dtype != DR_F32));
    check_residual(a->residual, &a->y);
    changes(p, &a->y);
    RUN(p, linear, a);
}

dr_tensor dr_conv2d(dr_pass *p, const dr_conv2d_args *a)
{
    dr_conv2d_args with = *a;

    with.y.stats = 0;
    if (failed(p))
        return with.y;
    dr_assert(a->x.c == a->conv->in && a->y.c == a->conv->out && a->x.n == a->y.n);
    dr_assert(conv_sides_fit(a->conv, a->x.h, a->y.h) && conv_sides_fit(a->conv, a->x.w, a->y.w));
    dr_assert(dense(&a->x) && dense(&a->y) && a->x.data != a->y.data);
    dr_assert(a->x.dtype == dr_conv_x_dtype(a->conv));
    check_residual(a->residual, &a->y);
    dr_assert(!a->residual || dense(a->residual));
    dr_assert(a->norm_groups == 0 || a->y.c % a->norm_groups == 0);
    changes(p, &a->y);
    if (a->norm_groups && p->device->backend->conv2d_stats)
        with.stats = expect_stats(p, &with.y, a->norm_groups, p->device->backend->conv2d_stats(a));
    if (!failed(p))
        RUN(p, conv2d, &with);
    return with.y;
}

void dr_group_norm(dr_pass *p, const dr_group_norm_args *a)
{
    dr_group_norm_args with = *a;

    if (failed(p))
        return;
    dr_assert(same_shape(&a->x, &a->y) && dense(&a->x) && dense(&a->y));
    dr_assert(a->norm->c == a->x.c && a->norm->groups > 0 && a->x.c % a->norm->groups == 0);
    dr_assert(a->x.data != a->y.data || a->x.dtype == a->y.dtype);
    with.stats = stats_of(p, &a->x, a->norm->groups);
    RUN(p, group_norm, &with);
    if (with.stats.data)
        forget_stats(p); /* they have served */
    changes(p, &a->y);
}

void dr_layer_norm(dr_pass *p, const dr_layer_norm_args *a)
{
    if (failed(p))
        return;
    dr_assert(same_shape(&a->x, &a->y) && dense(&a->x) && dense(&a->y) && a->norm->c == a->x.c);
    dr_assert(a->x.data != a->y.data || a->x.dtype == a->y.dtype);
    changes(p, &a->y);
    RUN(p, layer_norm, a);
}

void dr_attention(dr_pass *p, const dr_attention_args *a)
{
    if (failed(p))
        return;
    dr_assert(same_shape(&a->q, &a->y) && same_shape(&a->k, &a->v) && a->q.c == a->k.c);
    dr_assert(a->q.h == 1 && a->k.h == 1 && dense(&a->y));
    dr_assert(a->heads > 0 && a->q.c % a->heads == 0);
    dr_assert(a->kv_row || a->q.n == a->k.n);
    dr_assert(!a->causal || a->q.w == a->k.w);
    changes(p, &a->y);
    RUN(p, attention, a);
}

void dr_geglu(dr_pass *p, const dr_geglu_args *a)
{
    if (failed(p))
        return;
    dr_assert(same_map(&a->x, &a->y) && a->x.c == 2 * a->y.c && dense(&a->x) && dense(&a->y));
    changes(p, &a->y);
    RUN(p, geglu, a);
}

void dr_activate(dr_pass *p, const dr_activate_args *a)
{
    if (failed(p))
        return;
    dr_assert(same_shape(&a->x, &a->y) && dense(&a->x) && dense(&a->y));
    changes(p, &a->y);
    RUN(p, activate, a);
}

void dr_scale(dr_pass *p, const dr_scale_args *a)
{
    if (failed(p))
        return;
    dr_assert(same_shape(&a->x, &a->y) && dense(&a->x) && dense(&a->y));
    changes(p, &a->y);
    RUN(p, scale, a);
}

dr_tensor dr_concat(dr_pass *p, const dr_concat_args *a)
{
    dr_concat_args with = *a;

    with.y.stats = 0;
    if (failed(p))
        return with.y;
    dr_assert(same_map(&a->a, &a->y) && same_map(&a->b, &a->y) && a->a.c + a->b.c == a->y.c);
    dr_assert(dense(&a->a) && dense(&a->b) && dense(&a->y));
    dr_assert(a->norm_groups == 0 || a->y.c % a->norm_groups == 0);
    changes(p, &a->y);
    if (a->norm_groups && p->device->backend->concat_stats)
        with.stats = expect_stats(p, &with.y, a->norm_groups, p->device->backend->concat_stats(a));
    if (!failed(p))
        RUN(p, concat, &with);
    return with.y;
}

void dr_gather(dr_pass *p, const dr_gather_args *a)
{
    if (failed(p))
        return;
    dr_assert(a->x.h == a->y.h && a->x.w == a->y.w && a->x.c == a->y.c);
    dr_assert(dense(&a->x) && dense(&a->y) && a->x.data != a->y.data);
    changes(p, &a->y);
    RUN(p, gather, a);
}

void dr_lookup(dr_pass *p, const dr_lookup_args *a)
{
    if (failed(p))
        return;
    dr_assert(a->y.h == 1 && dense(&a->y));
    changes(p, &a->y);
    RUN(p, lookup, a);
}

void dr_timestep_embedding(dr_pass *p, const dr_timestep_embedding_args *a)
{
    if (failed(p))
        return;
    dr_assert(a->y.h == 1 && a->y.w == 1 && dense(&a->y));
    changes(p, &a->y);
    RUN(p, timestep_embedding, a);
}

void dr_unet_input(dr_pass *p, const dr_unet_input_args *a)
{
    if (failed(p))
        return;
    dr_assert(a->latent.h == a->y.h && a->latent.w == a->y.w && a->latent.c + a->extra.c == a->y.c);
    dr_assert(a->latent.dtype == DR_F32 && (a->extra.c == 0 || a->extra.dtype == DR_F32));
    changes(p, &a->y);
    RUN(p, unet_input, a);
}

void dr_noise(dr_pass *p, const dr_noise_args *a)
{
    if (failed(p))
        return;
    dr_assert(a->y.dtype == DR_F32 && dense(&a->y) && a->active <= a->y.n);
    changes(p, &a->y);
    RUN(p, noise, a);
}

void dr_sampler_step(dr_pass *p, const dr_sampler_step_args *a)
{
    if (failed(p))
        return;
    dr_assert(a->output.h == a->latent.h && a->output.w == a->latent.w && a->output.c == a->latent.c);
    dr_assert(a->history.n == a->latent.n * DR_HISTORY_MAX && a->history.c == a->latent.c);
    dr_assert(a->latent.dtype == DR_F32 && a->history.dtype == DR_F32 && a->noise.dtype == DR_F32);
    changes(p, &a->latent);
    changes(p, &a->history);
    RUN(p, sampler_step, a);
}

void dr_to_rgb8(dr_pass *p, const dr_to_rgb8_args *a)
{
    if (failed(p))
        return;
    dr_assert(same_shape(&a->x, &a->y) && a->y.dtype == DR_U8 && dense(&a->x) && dense(&a->y));
    changes(p, &a->y);
    RUN(p, to_rgb8, a);
}

#include "model/resnet.h"

dr_resnet dr_resnet_load(const dr_loader *l, const dr_resnet_shape *s)
{
    const dr_conv_shape conv1 = {
        .in = s->in,
        .out = s->out,
        .kernel = 3,
        .stride = 1,
        .eight_bits = s->eight_bits,
        .map_pixels = s->map_pixels,
        .bias = true,
    };
    dr_conv_shape conv2 = conv1;
    dr_resnet r = { .in = s->in, .out = s->out };

    conv2.in = s->out;
    r.norm1 = dr_load_norm(l, "norm1", s->in, s->groups, s->eps);
    r.conv1 = dr_load_conv(l, "conv1", &conv1);
    if (s->time > 0)
        r.time_emb_proj = dr_load_linear(l, "time_emb_proj", s->time, s->out, DR_BIAS);
    r.norm2 = dr_load_norm(l, "norm2", s->out, s->groups, s->eps);
    r.conv2 = dr_load_conv(l, "conv2", &conv2);
    if (s->in != s->out)
        r.conv_shortcut = dr_load_linear(l, "conv_shortcut", s->in, s->out, DR_BIAS);
    return r;
}

void dr_resnet_free(dr_device *device, dr_resnet *r)
{
    dr_norm_free(device, &r->norm1);
    dr_norm_free(device, &r->norm2);
    dr_conv_free(r->conv1);
    dr_conv_free(r->conv2);
    dr_linear_free(r->conv_shortcut);
    dr_linear_free(r->time_emb_proj);
}

/* silu(norm(x)) in the type that conv reads.  Without keep, it is written over x if the types are the
 * same; else x is released. */
static dr_tensor normed(dr_pass *p, const dr_norm *norm, dr_tensor x, bool keep, const dr_conv *conv)
{
    const dr_dtype dtype = dr_conv_x_dtype(conv);
    const bool in_place = !keep && dtype == x.dtype;
    dr_tensor y = in_place ? x : dr_take_as(p, dtype, x.n, x.h, x.w, x.c);

    dr_group_norm(p, &(dr_group_norm_args){ .x = x, .y = y, .norm = norm, .silu = true });
    if (!keep && !in_place)
        dr_release(p, &x);
    return y;
}

/* silu(norm2(conv1(silu(norm1(x))) + time)) */
static dr_tensor first_half(dr_pass *p, const dr_resnet *r, dr_tensor x, bool keep, const dr_time_rows *time)
{
    dr_tensor h = normed(p, &r->norm1, x, keep, r->conv1);
    dr_tensor y = dr_take(p, h.n, h.h, h.w, r->out);
    dr_row_bias bias = { 0 };

    if (time)
        bias = (dr_row_bias){ time->table + r->time_offset, time->row, time->stride };
    y = dr_conv2d(p,
                  &(dr_conv2d_args){
                      .conv = r->conv1, .x = h, .y = y, .row_bias = bias, .norm_groups = r->norm2.groups });
    dr_release(p, &h);
    return normed(p, &r->norm2, y, false, r->conv2);
}

/* Returns y = conv2(h) + residual; h is released.  If a norm reads y, it has as many groups as norm2. */
static dr_tensor second_half(dr_pass *p, const dr_resnet *r, dr_tensor h, dr_tensor residual, dr_tensor y)
{
    y = dr_conv2d(
        p, &(dr_conv2d_args){
               .conv = r->conv2, .x = h, .y = y, .residual = &residual, .norm_groups = r->norm2.groups });
    dr_release(p, &h);
    return y;
}

/* The shortcut is computed first, and conv2 adds to it.  So x can be released before conv1 runs: after a
 * concatenation x is the widest tensor of all. */
static dr_tensor forward_shortcut(dr_pass *p, const dr_resnet *r, dr_tensor x, bool keep,
                                  const dr_time_rows *time)
{
    dr_tensor y = dr_take(p, x.n, x.h, x.w, r->out);
    dr_tensor h;

    dr_apply_linear(p, &(dr_linear_args){ .linear = r->conv_shortcut, .x = x, .y = y });
    h = first_half(p, r, x, keep, time);
    return second_half(p, r, h, y, y);
}

dr_tensor dr_resnet_forward(dr_pass *p, const dr_resnet *r, dr_tensor x, bool keep, const dr_time_rows *time)
{
    dr_tensor h, y;

    if (r->conv_shortcut)
        return forward_shortcut(p, r, x, keep, time);
    h = first_half(p, r, x, true, time);
    y = keep ? dr_take_like(p, x) : x;
    return second_half(p, r, h, x, y);
}

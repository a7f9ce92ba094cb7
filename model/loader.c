#include "model/loader.h"

#include "base/limits.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- names ----------------------------------------------------------------------------------- */

dr_loader dr_loader_root(dr_loader_state *state)
{
    return (dr_loader){ .state = state };
}

dr_loader dr_loader_at(const dr_loader *l, const char *format, ...)
{
    dr_loader at = *l;
    const size_t used = strlen(at.prefix), room = sizeof(at.prefix) - used;
    va_list ap;
    int length;

    va_start(ap, format);
    length = vsnprintf(at.prefix + used, room, format, ap);
    va_end(ap);
    dr_assert(length >= 0 && (size_t)length + 2 <= room); /* the names are Darkroom's own, so they fit */
    strcat(at.prefix, ".");
    return at;
}

typedef struct tensor_name {
    char text[DR_TENSOR_NAME_MAX];
} tensor_name;

static tensor_name name_of(const dr_loader *l, const char *name, const char *end)
{
    tensor_name n;
    const int length = snprintf(n.text, sizeof(n.text), "%s%s%s", l->prefix, name, end);

    dr_assert(length >= 0 && (size_t)length < sizeof(n.text));
    return n;
}

bool dr_loader_has(const dr_loader *l, const char *name, bool otherwise)
{
    dr_weight_info info;

    if (dr_weights_are_random(l->state->weights))
        return otherwise;
    return dr_weights_find(l->state->weights, name_of(l, name, "").text, &info);
}

/* --- staging --------------------------------------------------------------------------------- */

/* The staging buffer with room for so many floats; what it held is lost.  NULL after any failure. */
static float *staging_buffer(dr_loader_state *s, const char *layer, size_t floats)
{
    if (s->error.status)
        return NULL;
    if (floats > s->staging_floats) {
        free(s->staging);
        s->staging_floats = 0;
        s->staging = floats <= SIZE_MAX / sizeof(float) ? malloc(floats * sizeof(float)) : NULL;
        if (!s->staging) {
            dr_fail(&s->error, DR_ENOMEM, "'%s': no memory for %zu floats", layer, floats);
            return NULL;
        }
        s->staging_floats = floats;
    }
    return s->staging;
}

void dr_loader_finish(dr_loader_state *state)
{
    free(state->staging);
    state->staging = NULL;
    state->staging_floats = 0;
}

/* Check that the tensor exists and has this shape, before memory is taken for it: a wrong config must be
 * told as such, and not as a lack of memory. */
static void check_tensor(const dr_loader *l, const char *name, const char *end, const int64_t *shape,
                         int dims)
{
    if (!l->state->error.status)
        dr_weights_check(l->state->weights, name_of(l, name, end).text, shape, dims, &l->state->error);
}

static void read_tensor(const dr_loader *l, const char *name, const char *end, const int64_t *shape, int dims,
                        float *to)
{
    dr_loader_state *s = l->state;

    if (!s->error.status)
        dr_weights_read(s->weights, name_of(l, name, end).text, shape, dims, to, &s->error);
}

/* --- layers ---------------------------------------------------------------------------------- */

dr_linear *dr_load_linear(const dr_loader *l, const char *name, int in, int out, unsigned flags)
{
    return dr_load_linear_stack(l, &name, 1, in, out, flags);
}

dr_linear *dr_load_linear_stack(const dr_loader *l, const char *const *names, int count, int in, int out_each,
                                unsigned flags)
{
    dr_loader_state *s = l->state;
    const size_t each = (size_t)out_each * (size_t)in;
    const int64_t weight_shape[] = { out_each, in }, bias_shape[] = { out_each };
    const tensor_name first = name_of(l, names[0], "");
    dr_linear_desc desc = {
        .name = first.text, .in = in, .out = count * out_each, .eight_bits = flags & DR_EIGHT_BITS
    };
    float *weight, *biases;
    dr_linear *linear = NULL;

    for (int i = 0; i < count; i++)
        check_tensor(l, names[i], ".weight", weight_shape, 2);
    weight = staging_buffer(s, first.text, (size_t)count * (each + (size_t)out_each));
    if (!weight)
        return NULL;
    biases = weight + (size_t)count * each;
    for (int i = 0; i < count; i++) {
        read_tensor(l, names[i], ".weight", weight_shape, 2, weight + (size_t)i * each);
        if (flags & DR_BIAS)
            read_tensor(l, names[i], ".bias", bias_shape, 1, biases + (size_t)i * (size_t)out_each);
    }
    desc.weight = weight;
    desc.bias = flags & DR_BIAS ? biases : NULL;
    if (s->error.status || dr_linear_create(&linear, s->device, &desc, &s->error))
        return NULL;
    s->packed_bytes += dr_linear_bytes(linear);
    return linear;
}

dr_conv *dr_load_conv(const dr_loader *l, const char *name, const dr_conv_shape *shape)
{
    dr_loader_state *s = l->state;
    const size_t floats = (size_t)shape->out * (size_t)shape->in * (size_t)(shape->kernel * shape->kernel);
    const int64_t weight_shape[] = { shape->out, shape->in, shape->kernel, shape->kernel };
    const tensor_name full = name_of(l, name, "");
    dr_conv_desc desc = {
        .name = full.text,
        .in = shape->in,
        .out = shape->out,
        .kernel = shape->kernel,
        .stride = shape->stride,
        .padding = shape->padding,
        .upsample = shape->upsample,
        .eight_bits = shape->eight_bits,
        .map_pixels = shape->map_pixels,
    };
    dr_conv *conv = NULL;
    float *weight;

    check_tensor(l, name, ".weight", weight_shape, 4);
    weight = staging_buffer(s, full.text, floats + (size_t)shape->out);
    if (!weight)
        return NULL;
    read_tensor(l, name, ".weight", weight_shape, 4, weight);
    if (shape->bias)
        read_tensor(l, name, ".bias", (int64_t[]){ shape->out }, 1, weight + floats);
    desc.weight = weight;
    desc.bias = shape->bias ? weight + floats : NULL;
    if (s->error.status || dr_conv_create(&conv, s->device, &desc, &s->error))
        return NULL;
    s->packed_bytes += dr_conv_bytes(conv);
    return conv;
}

/* --- vectors --------------------------------------------------------------------------------- */

static float *load_vector(const dr_loader *l, const char *name, const char *end, const int64_t *shape,
                          int dims)
{
    dr_loader_state *s = l->state;
    const size_t floats = (size_t)shape[0] * (dims == 2 ? (size_t)shape[1] : 1);
    float *host;
    void *vector;

    check_tensor(l, name, end, shape, dims);
    host = staging_buffer(s, name_of(l, name, end).text, floats);
    if (!host)
        return NULL;
    read_tensor(l, name, end, shape, dims, host);
    if (s->error.status || dr_device_alloc(&vector, s->device, floats * sizeof(float), &s->error))
        return NULL;
    if (dr_device_upload(s->device, vector, host, floats * sizeof(float), &s->error)) {
        dr_device_free(s->device, vector);
        return NULL;
    }
    s->packed_bytes += floats * sizeof(float);
    return vector;
}

float *dr_load_vector(const dr_loader *l, const char *name, int64_t rows, int64_t columns)
{
    return load_vector(l, name, "", (int64_t[]){ rows, columns }, columns ? 2 : 1);
}

dr_norm dr_load_norm(const dr_loader *l, const char *name, int channels, int groups, float eps)
{
    const int64_t shape[] = { channels };

    return (dr_norm){
        .gamma = load_vector(l, name, ".weight", shape, 1),
        .beta = load_vector(l, name, ".bias", shape, 1),
        .c = channels,
        .groups = groups,
        .eps = eps,
    };
}

void dr_norm_free(dr_device *device, dr_norm *norm)
{
    dr_device_free(device, (float *)norm->gamma);
    dr_device_free(device, (float *)norm->beta);
    norm->gamma = norm->beta = NULL;
}

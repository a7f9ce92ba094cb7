/* loader.h - from named tensors to packed layers.
 *
 * Model code reads like the checkpoint's tree:
 *
 *     dr_loader in = dr_loader_at(l, "down_blocks.%d.resnets.%d", i, j);
 *     r->norm1 = dr_load_norm(&in, "norm1", channels, groups, eps);
 *     r->conv1 = dr_load_conv(&in, "conv1", &(dr_conv_shape){ ... });
 *
 * Errors stick, as in a pass: after the first failure every load returns NULL (or a zeroed norm) and does
 * nothing.  The caller looks at loader->state->error once, at the end; its text names the file and the
 * tensor.  The caller owns every layer that was loaded, also after a failure.
 *
 * Host memory: one staging buffer for the largest layer.  Threads: the device's own. */
#ifndef DR_MODEL_LOADER_H
#define DR_MODEL_LOADER_H

#include "model/weights.h"
#include "ops/ops.h"

enum { DR_TENSOR_NAME_MAX = 256 };

/* What all loaders of one part share.  The caller sets the first two and zeroes the rest. */
typedef struct dr_loader_state {
    dr_device *device;         /* borrowed */
    const dr_weights *weights; /* borrowed */
    float *staging;            /* [staging_floats] */
    size_t staging_floats;
    size_t packed_bytes; /* bytes of device memory that all layers loaded so far take */
    dr_error error;      /* the first failure */
} dr_loader_state;

typedef struct dr_loader {
    dr_loader_state *state;
    char prefix[DR_TENSOR_NAME_MAX]; /* "" or "down_blocks.0." */
} dr_loader;

/* A loader without a prefix.  It borrows the state. */
dr_loader dr_loader_root(dr_loader_state *state);

/* A loader one level deeper: its prefix is that of l, the formatted text and ".". */
dr_loader dr_loader_at(const dr_loader *l, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Free the staging buffer.  Layers that were loaded stay. */
void dr_loader_finish(dr_loader_state *state);

/* Is there a tensor of this name below the prefix?  Random weights have any tensor: then `otherwise` is
 * returned. */
bool dr_loader_has(const dr_loader *l, const char *name, bool otherwise);

/* See dr_conv_desc for the fields. */
typedef struct dr_conv_shape {
    int in, out, kernel, stride; /* weight: [out, in, kernel, kernel] */
    dr_padding padding;
    bool upsample;
    bool eight_bits;
    int map_pixels;
    bool bias;
} dr_conv_shape;

/* Flags of a linear layer: it has a bias; it may multiply in 8 bits (dr_linear_desc). */
enum { DR_BIAS = 1, DR_EIGHT_BITS = 2 };

/* Load the tensors name + ".weight" ([out, in] or the convolution's shape) and, where the layer has a
 * bias, name + ".bias" ([out]), and pack them for the device. */
dr_linear *dr_load_linear(const dr_loader *l, const char *name, int in, int out, unsigned flags);
dr_conv *dr_load_conv(const dr_loader *l, const char *name, const dr_conv_shape *shape);

/* Load several linear layers over the same input as one layer of count * out_each outputs, in the order of
 * names ("to_q", "to_k", "to_v"). */
dr_linear *dr_load_linear_stack(const dr_loader *l, const char *const *names, int count, int in, int out_each,
                                unsigned flags);

/* Load a tensor of [rows, columns], or of [rows] where columns is 0, as float32 on the device.  The caller
 * frees it with dr_device_free(). */
float *dr_load_vector(const dr_loader *l, const char *name, int64_t rows, int64_t columns);

/* Load the vectors name + ".weight" and name + ".bias", both [channels].  groups 0: a layer norm.
 * dr_norm_free() frees them. */
dr_norm dr_load_norm(const dr_loader *l, const char *name, int channels, int groups, float eps);
void dr_norm_free(dr_device *device, dr_norm *norm); /* a zeroed or half-loaded one is allowed */

#endif

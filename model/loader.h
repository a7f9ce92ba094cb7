/* loader.h - from named tensors to packed layers.
 *
 * Model code reads like the checkpoint's tree:
 *
 *     dr_loader in = dr_loader_at(l, "down_blocks.%d.resnets.%d", i, j);
 *     r->norm1 = dr_load_norm(&in, "norm1", channels, groups, eps);
 *     r->conv1 = dr_load_conv(&in, "conv1", &(dr_conv_shape){ ... });
 *
 * Errors stick, as in a pass: after the first failure every load gives NULL and does nothing; look at
 * loader->state->error once, at the end.  What was loaded is owned by whoever asked for it.
 * One staging buffer of the largest layer is all the host memory it uses: the peak is the packed weights and that. */
#ifndef DR_MODEL_LOADER_H
#define DR_MODEL_LOADER_H

#include "model/weights.h"
#include "ops/ops.h"

enum { DR_TENSOR_NAME_MAX = 256 };

typedef struct
    dr_loader_state { /* shared by all loaders of one part; begins with these two, the rest zeroed */
    dr_device *device;
    const dr_weights *weights;
    float *staging;
    size_t staging_floats;
    size_t packed_bytes; /* that everything loaded so far takes on the device */
    dr_error error;      /* sticky */
} dr_loader_state;

typedef struct dr_loader {
    dr_loader_state *state;
    char prefix[DR_TENSOR_NAME_MAX]; /* "" or "down_blocks.0." */
} dr_loader;

dr_loader dr_loader_root(dr_loader_state *state);
dr_loader dr_loader_at(const dr_loader *l, const char *format, ...) __attribute__((format(printf, 2, 3)));
void dr_loader_finish(dr_loader_state *state); /* frees the staging buffer */

/* Is there a tensor of this name below the prefix?  With random weights: `otherwise`. */
bool dr_loader_has(const dr_loader *l, const char *name, bool otherwise);

typedef struct dr_conv_shape {
    int in, out, kernel, stride;
    dr_padding padding;
    bool upsample;
    bool eight_bits;
    int map_pixels;
    bool bias;
} dr_conv_shape;

enum { DR_BIAS = 1, DR_EIGHT_BITS = 2 }; /* of linear layers: there is one; see dr_linear_desc */

/* name + ".weight" and, with DR_BIAS, name + ".bias". */
dr_linear *dr_load_linear(const dr_loader *l, const char *name, int in, int out, unsigned flags);
dr_conv *dr_load_conv(const dr_loader *l, const char *name, const dr_conv_shape *shape);

/* Several linear layers over the same input as one: outputs stand beside each other in the order of
 * names ("to_q", "to_k", "to_v"). */
dr_linear *dr_load_linear_stack(const dr_loader *l, const char *const *names, int count, int in, int out_each,
                                unsigned flags);

/* Device vectors in float32: to be freed with dr_device_free(). */
float *dr_load_vector(const dr_loader *l, const char *name, int64_t rows,
                      int64_t columns); /* columns 0: one dimension */
dr_norm dr_load_norm(const dr_loader *l, const char *name, int channels, int groups, float eps);
void dr_norm_free(dr_device *device, dr_norm *norm);

#endif

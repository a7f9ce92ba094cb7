/* weights.h - the tensors of one model part, from safetensors files.
 *
 *     [u64 header length][JSON header][tensor bytes ...]
 *
 * A part is one file (`diffusion_pytorch_model.safetensors`, `model.safetensors`) or shards named by
 * an index (`*.safetensors.index.json`).  Everything that the format's README demands is checked before the first
 * read: the files are not trusted, nor to stay as they are while they are open.
 *
 * A handle does not change once open, so any number of threads may read from it. */
#ifndef DR_MODEL_WEIGHTS_H
#define DR_MODEL_WEIGHTS_H

#include "base/error.h"
#include "ops/tensor.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DR_WEIGHT_DIMS_MAX = 4 };

typedef struct dr_weights dr_weights;

/* Find the part's file or shards in a folder: the plain names first, then the .fp16 variants.  On success
 * *out is the caller's, to be ended with dr_weights_close(); on failure *out is NULL and err says why. */
dr_status dr_weights_open(dr_weights **out, const char *folder, dr_error *err);
dr_status dr_weights_open_file(dr_weights **out, const char *path, dr_error *err);

/* Not from files: every tensor that is asked for exists, with values drawn from (seed, name),
 * scaled by its fan-in so that activations keep their size.  For tests and benchmarks. */
dr_status dr_weights_open_random(dr_weights **out, uint64_t seed, dr_error *err);

bool dr_weights_are_random(const dr_weights *w);

void dr_weights_close(dr_weights *w); /* NULL and half-open handles are allowed */

typedef struct dr_weight_info {
    dr_dtype dtype;         /* U8, plain bytes, where Darkroom has no type for it (BOOL, F64, ...) */
    const char *dtype_name; /* as the file spells it: "BF16" */
    int dims;
    int64_t shape[DR_WEIGHT_DIMS_MAX];
    size_t offset, bytes; /* in its file */
} dr_weight_info;

/* False: no such tensor. (Random weights: always false, see dr_weights_read.) */
bool dr_weights_find(const dr_weights *w, const char *name, dr_weight_info *out);

/* Copy a tensor, converted to float32, to `to`, which has room for the product of shape.  The file's
 * dtype is F32, F16 or BF16; others are refused.
 * The shape must match exactly, but trailing 1s may be missing or extra (a 1x1 convolution read as
 * a linear layer).  Errors name the tensor, what the file has and what the config asks for. */
dr_status dr_weights_read(const dr_weights *w, const char *name, const int64_t *shape, int dims, float *to,
                          dr_error *err);

/* Only the checks of dr_weights_read(), but for the dtype: before memory is taken for what a config claims. */
dr_status dr_weights_check(const dr_weights *w, const char *name, const int64_t *shape, int dims,
                           dr_error *err);

/* Bytes of a tensor that is there, as the file has them: `bytes` of them from byte `from` on, all within the tensor.  DR_EIO
 * where the file has become shorter. */
dr_status dr_weights_read_bytes(const dr_weights *w, const char *name, size_t from, void *to, size_t bytes,
                                dr_error *err);

/* DR_EIO (retriable) where one of the files was written since it was opened. */
dr_status dr_weights_check_unchanged(const dr_weights *w, dr_error *err);

/* Walk over all names in alphabetical order, for listings and fingerprints: i in [0, count). */
size_t dr_weights_count(const dr_weights *w);
const char *dr_weights_name(const dr_weights *w, size_t i);

#endif

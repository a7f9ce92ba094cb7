/* weights.h - the tensors of one model part, from safetensors files.
 *
 *     [u64 header length][JSON header][tensor bytes ...]
 *
 * A part has one file (`diffusion_pytorch_model.safetensors`, `model.safetensors`), or shards that an
 * index names (`*.safetensors.index.json`).  The files are not trusted: the rules of the format are
 * checked before the first read (safetensors.h), and a file that changes while it is open is an error of
 * the read.
 *
 * Threads: a handle does not change once it is open, so any number of threads may read from it. */
#ifndef DR_MODEL_WEIGHTS_H
#define DR_MODEL_WEIGHTS_H

#include "base/error.h"
#include "ops/tensor.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DR_WEIGHT_DIMS_MAX = 4 };

typedef struct dr_weights dr_weights;

/* Open the part's file or shards in a folder: the plain names are tried first, then the .fp16 variants.
 * On success the caller owns *out.  On failure *out is NULL: DR_ENOTFOUND where the folder has no such
 * file, DR_EFORMAT, DR_EIO; the text names the file, and the tensor where it is about one. */
dr_status dr_weights_open(dr_weights **out, const char *folder, dr_error *err);

/* The same with one file. */
dr_status dr_weights_open_file(dr_weights **out, const char *path, dr_error *err);

/* Weights without files, for tests and benchmarks.  Every tensor exists that is asked for.  Its values are
 * drawn from the seed and its name, and scaled by its fan-in, so that activations keep their size. */
dr_status dr_weights_open_random(dr_weights **out, uint64_t seed, dr_error *err);
bool dr_weights_are_random(const dr_weights *w);

/* Close the handle and its files.  NULL and half-open handles are allowed. */
void dr_weights_close(dr_weights *w);

typedef struct dr_weight_info {
    dr_dtype dtype;         /* DR_U8 (plain bytes) for a type that Darkroom lacks, such as BOOL or F64 */
    const char *dtype_name; /* as the file spells it: "BF16" */
    int dims;
    int64_t shape[DR_WEIGHT_DIMS_MAX];
    size_t offset, bytes; /* in its file */
} dr_weight_info;

/* Find a tensor.  False: there is no such tensor; with random weights always. */
bool dr_weights_find(const dr_weights *w, const char *name, dr_weight_info *out);

/* Read a tensor of this shape into `to` as float32.  The file's dtype must be F32, F16 or BF16.  The shape
 * must match, but trailing 1s may be missing or extra: a 1x1 convolution can be read as a linear layer.
 * Fails with DR_ENOTFOUND, DR_EFORMAT, DR_EUNSUPPORTED (the dtype) or DR_EIO; the text names the tensor,
 * what the file has, and what the config asks for. */
dr_status dr_weights_read(const dr_weights *w, const char *name, const int64_t *shape, int dims, float *to,
                          dr_error *err);

/* The checks of dr_weights_read() without that of the dtype, and without reading: to be made before memory
 * is taken for what a config claims. */
dr_status dr_weights_check(const dr_weights *w, const char *name, const int64_t *shape, int dims,
                           dr_error *err);

/* Copy bytes of a tensor as the file has them: `bytes` bytes from byte `from` on.  The tensor must exist,
 * and have all of them.  Fails with DR_EIO, also where the file has become shorter. */
dr_status dr_weights_read_bytes(const dr_weights *w, const char *name, size_t from, void *to, size_t bytes,
                                dr_error *err);

/* Fails with DR_EIO (retriable) where one of the files was written since it was opened. */
dr_status dr_weights_check_unchanged(const dr_weights *w, dr_error *err);

/* All names in alphabetical order, for listings and fingerprints: i in [0, count).  A name lives as long
 * as w. */
size_t dr_weights_count(const dr_weights *w);
const char *dr_weights_name(const dr_weights *w, size_t i);

#endif

/* weights_index.h - `*.safetensors.index.json`: which shard holds which tensor.
 *
 *     { "metadata": {...}, "weight_map": { "conv_in.weight": "x-00001-of-00002.safetensors", ... } }
 *
 * Only model/weights.c uses this. */
#ifndef DR_MODEL_WEIGHTS_INDEX_H
#define DR_MODEL_WEIGHTS_INDEX_H

#include "base/error.h"
#include "base/limits.h"

#include <jansson.h>

typedef struct dr_weights_index {
    json_t *root;
    json_t *weight_map;                /* tensor to shard; all values are strings; borrowed from root */
    const char *shards[DR_SHARDS_MAX]; /* [count], each shard once; plain file names, borrowed from root */
    size_t count;
} dr_weights_index;

/* Read an index.  A shard must be a plain file name: an index can't lead out of its folder.  On failure
 * *out is zeroed: DR_ENOTFOUND, DR_EFORMAT, or DR_EUNSUPPORTED for more than DR_SHARDS_MAX shards; the
 * text names the file. */
dr_status dr_weights_index_read(dr_weights_index *out, const char *path, dr_error *err);
void dr_weights_index_free(dr_weights_index *index); /* a zeroed one is allowed */

#endif

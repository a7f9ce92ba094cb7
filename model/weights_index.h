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
    json_t *weight_map;                /* tensor to shard; all values are strings */
    const char *shards[DR_SHARDS_MAX]; /* each once; plain file names, in the index' folder */
    size_t count;
} dr_weights_index;

/* On failure *out is zeroed. */
dr_status dr_weights_index_read(dr_weights_index *out, const char *path, dr_error *err);
void dr_weights_index_free(dr_weights_index *index); /* a zeroed one is allowed */

#endif

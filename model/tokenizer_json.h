/* tokenizer_json.h - tokenizer.json, which holds a whole tokenizer.  transformers 5 saves only this file.
 *
 *     { "added_tokens": [...], "normalizer": {...}, "pre_tokenizer": {...},
 *       "model": { "type": "BPE", "vocab": { token: id }, "merges": [["a", "b"], "a b", ...] } }
 *
 * Like transformers, Darkroom reads the vocabulary, merges and added tokens from the file, and knows by
 * itself how CLIP normalizes and splits a text.  A file that asks for another normalizer, pre-tokenizer or
 * model is refused, and the error names what it asks for. */
#ifndef DR_MODEL_TOKENIZER_JSON_H
#define DR_MODEL_TOKENIZER_JSON_H

#include "base/error.h"

#include <jansson.h>

typedef struct dr_tokenizer_json {
    json_t *root;
    const json_t *vocab;  /* an object: tokens to ids */
    const json_t *merges; /* a list of "a b" or ["a", "b"] */
    const json_t *added;  /* a list, or NULL where the key is missing */
} dr_tokenizer_json;

/* Read a file.  vocab, merges and added are borrowed from root.  On failure *out is zeroed: DR_ENOTFOUND,
 * DR_EFORMAT or DR_EUNSUPPORTED, and the text names the file and the key. */
dr_status dr_tokenizer_json_read(dr_tokenizer_json *out, const char *path, dr_error *err);
void dr_tokenizer_json_free(dr_tokenizer_json *t); /* a zeroed one is allowed */

#endif

/* tokenizer_json.h - tokenizer.json, which holds a whole tokenizer; transformers 5 saves nothing else.
 *
 *     { "added_tokens": [...], "normalizer": {...}, "pre_tokenizer": {...},
 *       "model": { "type": "BPE", "vocab": { token: id }, "merges": [["a", "b"], "a b", ...] } }
 *
 * transformers takes vocabulary, merges and added tokens from it, and what CLIP does with a text from its own code.  A
 * file that asks for something else is refused by the name of that. */
#ifndef DR_MODEL_TOKENIZER_JSON_H
#define DR_MODEL_TOKENIZER_JSON_H

#include "base/error.h"

#include <jansson.h>

typedef struct dr_tokenizer_json {
    json_t *root;
    const json_t *vocab;  /* an object */
    const json_t *merges; /* a list; "a b" is as well as ["a", "b"] */
    const json_t *added;  /* a list, or NULL */
} dr_tokenizer_json;

/* path is that of the file.  On failure *out is zeroed. */
dr_status dr_tokenizer_json_read(dr_tokenizer_json *out, const char *path, dr_error *err);
void dr_tokenizer_json_free(dr_tokenizer_json *t); /* a zeroed one is allowed */

#endif

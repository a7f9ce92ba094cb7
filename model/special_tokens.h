/* special_tokens.h - what a tokenizer folder says about tokens that are not text.
 *
 * transformers takes them from tokenizer_config.json; special_tokens_map.json, which older folders have,
 * overrules it; what neither names is CLIP's default.  A token in them is cut out of a prompt wherever
 * it stands, in one of two ways:
 *
 *     raw          letter by letter, before anything else: tokens given as plain strings
 *     normalized   after the text was normalized, so in any case of letters: tokens given as objects
 *                  with "normalized" true
 *
 * One token given twice, as end and as padding, is what was said last. */
#ifndef DR_MODEL_SPECIAL_TOKENS_H
#define DR_MODEL_SPECIAL_TOKENS_H

#include "base/error.h"
#include "base/limits.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct dr_special_token {
    char text[DR_TOKEN_BYTES_MAX]; /* as it is looked for: normalized, where it is */
    size_t bytes;
    bool normalized;
    int32_t id;
} dr_special_token;

typedef struct dr_special_tokens {
    dr_special_token token[DR_SPECIAL_TOKENS_MAX];
    int count;
    int32_t begin, end, pad;
} dr_special_tokens;

/* vocab and vocab_path are those of the folder. */
dr_status dr_special_tokens_read(dr_special_tokens *out, const char *folder, const json_t *vocab,
                                 const char *vocab_path, dr_error *err);

/* The longest special token of that kind that text begins with; NULL: none. */
const dr_special_token *dr_special_token_at(const dr_special_tokens *s, bool normalized, const char *text,
                                            size_t bytes);

#endif

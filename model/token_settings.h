/* token_settings.h - what a tokenizer folder says about its special tokens.
 *
 * As transformers 5 takes them.  Tokens are added in this order, and one given twice is as it was given last:
 *
 *     listed    "added_tokens_decoder" of tokenizer_config.json, and then nothing below that is a file; else those of
 *               added_tokens.json and of tokenizer.json, by their numbers, which count for nothing else
 *     roles     bos, eos, unk, sep, pad, cls, mask of tokenizer_config.json, which special_tokens_map.json
 *               overrules; what neither names is CLIP's own.  Then every other "..._token" that is a string
 *     extra     "extra_special_tokens", which was "additional_special_tokens"
 *
 * A role or extra token that is listed is as it was listed.  "lstrip" and "rstrip" mean nothing here: white space
 * beside a token is dropped anyway. */
#ifndef DR_MODEL_TOKEN_SETTINGS_H
#define DR_MODEL_TOKEN_SETTINGS_H

#include "model/special_tokens.h"

typedef struct dr_token_sources {
    const char *folder;
    const json_t *vocab;    /* tokens to ids */
    const json_t *added;    /* "added_tokens" of tokenizer.json, a list; NULL: no such file */
    const char *vocab_path; /* where both are from; for messages */
} dr_token_sources;

dr_status dr_token_settings_read(dr_special_tokens *out, const dr_token_sources *from, dr_error *err);

#endif

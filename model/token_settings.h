/* token_settings.h - what a tokenizer folder says about its special tokens.
 *
 * The rules are those of transformers 5.  Tokens are added in this order, and of a token that is given
 * twice the last one counts:
 *
 *     listed    "added_tokens_decoder" of tokenizer_config.json.  Where that key is missing: the tokens of
 *               added_tokens.json and tokenizer.json, ordered by numbers that have no other use
 *     roles     bos, eos, unk, sep, pad, cls and mask of tokenizer_config.json.  special_tokens_map.json
 *               overrules it, except where "added_tokens_decoder" is there.  A role that neither file names
 *               has CLIP's own token.  Then every other "..._token" that is a string
 *     extra     "extra_special_tokens", which older files call "additional_special_tokens"
 *
 * A role or extra token that is listed has the flags of the list.  "lstrip" and "rstrip" change nothing
 * here, because white space beside a token is dropped anyway. */
#ifndef DR_MODEL_TOKEN_SETTINGS_H
#define DR_MODEL_TOKEN_SETTINGS_H

#include "model/special_tokens.h"

typedef struct dr_token_sources {
    const char *folder;     /* the tokenizer's */
    const json_t *vocab;    /* maps tokens to ids */
    const json_t *added;    /* "added_tokens" of tokenizer.json, a list; NULL: the folder has no such file */
    const char *vocab_path; /* the file of both; for messages */
} dr_token_sources;

/* Read the special tokens of a folder.  Everything in *from is borrowed for the call.  DR_EFORMAT or
 * DR_EUNSUPPORTED: the text names the file and the token or key.  A file that is missing is no failure. */
dr_status dr_token_settings_read(dr_special_tokens *out, const dr_token_sources *from, dr_error *err);

#endif

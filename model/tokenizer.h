/* tokenizer.h - CLIP's byte-pair tokenizer, exactly as transformers' CLIPTokenizer.
 *
 * It is read from a model's tokenizer folder: from tokenizer.json, or, where that is missing, from
 * vocab.json and merges.txt.  tokenizer_config.json, special_tokens_map.json and added_tokens.json say
 * which tokens are special.
 *
 * Threads: a tokenizer does not change once it is open, so any thread may encode with it. */
#ifndef DR_MODEL_TOKENIZER_H
#define DR_MODEL_TOKENIZER_H

#include "base/error.h"
#include "base/limits.h"

#include <stddef.h>
#include <stdint.h>

typedef struct dr_tokenizer dr_tokenizer;

/* Read a tokenizer folder.  On success the caller owns *out.  On failure *out is NULL: DR_ENOTFOUND,
 * DR_EFORMAT or DR_EUNSUPPORTED, and the text names the file. */
dr_status dr_tokenizer_open(dr_tokenizer **out, const char *folder, dr_error *err);
void dr_tokenizer_close(dr_tokenizer *tokenizer); /* NULL is allowed */

/* Encode a text: ids[] becomes the begin token, at most 75 tokens of the text, the end token, and
 * padding.  *used (NULL is allowed) is how many tokens the text has, which may be more than 75: a caller
 * can warn.  Fails with DR_EINVAL where the text is not UTF-8 or is longer than DR_PROMPT_BYTES_MAX. */
dr_status dr_tokenizer_encode(const dr_tokenizer *tokenizer, const char *text, size_t bytes,
                              int32_t ids[DR_TOKENS], int *used, dr_error *err);

/* The largest id that dr_tokenizer_encode() may give, plus 1. */
int dr_tokenizer_vocab_size(const dr_tokenizer *tokenizer);

#endif

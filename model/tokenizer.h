/* tokenizer.h - CLIP's byte-pair tokenizer, exactly as transformers' CLIPTokenizer.
 *
 * Reads a model's tokenizer folder: tokenizer.json, or where it lacks that vocab.json and merges.txt; and what
 * tokenizer_config.json, special_tokens_map.json and added_tokens.json say about special tokens.  Does not change once open: any thread may encode. */
#ifndef DR_MODEL_TOKENIZER_H
#define DR_MODEL_TOKENIZER_H

#include "base/error.h"
#include "base/limits.h"

#include <stddef.h>
#include <stdint.h>

typedef struct dr_tokenizer dr_tokenizer;

/* On success *out is the caller's; on failure NULL, and err names the file. */
dr_status dr_tokenizer_open(dr_tokenizer **out, const char *folder, dr_error *err);
void dr_tokenizer_close(dr_tokenizer *tokenizer); /* NULL is allowed */

/* Start, at most 75 tokens of the text, end, then padding.  *used, if given, is how many tokens
 * the text has before it is cut, so that a caller can warn.  Fails with DR_EINVAL
 * where text is not UTF-8 or longer than DR_PROMPT_BYTES_MAX. */
dr_status dr_tokenizer_encode(const dr_tokenizer *tokenizer, const char *text, size_t bytes,
                              int32_t ids[DR_TOKENS], int *used, dr_error *err);

int dr_tokenizer_vocab_size(const dr_tokenizer *tokenizer); /* largest id + 1 */

#endif

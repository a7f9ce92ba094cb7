/* special_tokens.h - tokens that are cut out of a prompt wherever they stand.
 *
 * Where a token is looked for is its own affair:
 *
 *     raw          letter by letter, before anything else
 *     normalized   after the text was normalized, so in any case of letters
 *
 * One that the vocabulary lacks gets the next id behind it: those of a text encoder whose embedding has grown.
 * model/token_settings.c reads them from a folder. */
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
    char name[DR_TOKEN_BYTES_MAX]; /* as it was given */
    size_t bytes, name_bytes;
    bool normalized;
    int32_t id;
} dr_special_token;

typedef struct dr_special_tokens {
    dr_special_token token[DR_SPECIAL_TOKENS_MAX];
    int count;
    int32_t begin, end, pad;
} dr_special_tokens;

/* Add a token, or let one of that name be looked for in another way.  vocab maps tokens to ids; path is for messages.
 * DR_EUNSUPPORTED where it is empty, too long or one too many. */
dr_status dr_special_tokens_add(dr_special_tokens *s, const json_t *vocab, const char *name, bool normalized,
                                const char *path, dr_error *err);

/* The id of a token by its name, special or in the vocabulary; -1: there is none. */
int32_t dr_special_tokens_id(const dr_special_tokens *s, const json_t *vocab, const char *name);

/* The longest special token of that kind that text begins with; NULL: none. */
const dr_special_token *dr_special_token_at(const dr_special_tokens *s, bool normalized, const char *text,
                                            size_t bytes);

#endif

/* special_tokens.h - tokens that are cut out of a prompt wherever they stand, before it is split into
 * words.
 *
 * Each token says where it is looked for:
 *
 *     raw          in the text as it is, letter by letter
 *     normalized   in the normalized text, so upper and lower case are the same
 *
 * A token that the vocabulary lacks gets the next id after the vocabulary's last: a text encoder with such
 * tokens has an embedding with more rows.  model/token_settings.c reads special tokens from a folder. */
#ifndef DR_MODEL_SPECIAL_TOKENS_H
#define DR_MODEL_SPECIAL_TOKENS_H

#include "base/error.h"
#include "base/limits.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct dr_special_token {
    char text[DR_TOKEN_BYTES_MAX]; /* what is looked for: normalized, if the token is */
    char name[DR_TOKEN_BYTES_MAX]; /* as the file has it */
    size_t bytes, name_bytes;      /* of text and of name */
    bool normalized;
    int32_t id;
} dr_special_token;

typedef struct dr_special_tokens {
    dr_special_token token[DR_SPECIAL_TOKENS_MAX];
    int count;
    int32_t begin, end, pad; /* ids of the tokens with these roles */
} dr_special_tokens;

/* Add a token.  Where a token of this name is there already, only `normalized` is changed.  vocab maps
 * tokens to ids and is borrowed for the call; path is for messages.  DR_EUNSUPPORTED: the token is empty
 * or too long, or the tokens are too many. */
dr_status dr_special_tokens_add(dr_special_tokens *s, const json_t *vocab, const char *name, bool normalized,
                                const char *path, dr_error *err);

/* The id of a special token or a token of the vocabulary, by its name.  -1: there is no such token. */
int32_t dr_special_tokens_id(const dr_special_tokens *s, const json_t *vocab, const char *name);

/* The longest special token, raw or normalized as asked, with which the text begins.  Borrowed from s.
 * NULL: none. */
const dr_special_token *dr_special_token_at(const dr_special_tokens *s, bool normalized, const char *text,
                                            size_t bytes);

#endif

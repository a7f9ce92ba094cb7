/* given_tokens.h - special tokens as the files of a tokenizer folder give them, in the order in which they
 * are added.
 *
 *     listed tokens, by their numbers | tokens with a role | extra tokens
 *
 * Only model/token_settings.c uses this.  Texts and paths are borrowed from the files, which must stay
 * open as long. */
#ifndef DR_MODEL_GIVEN_TOKENS_H
#define DR_MODEL_GIVEN_TOKENS_H

#include "base/error.h"
#include "base/limits.h"

#include <jansson.h>
#include <stdbool.h>

/* A token as a file gives it. */
typedef struct dr_given_token {
    const char *text, *path;
    bool normalized;         /* looked for after the text was normalized; else before */
    bool says_if_normalized; /* the file says so; else `normalized` follows from where the token stands */
    bool is_object;          /* a string and an object are never the same token */
    unsigned flags;   /* lstrip and so on: two objects are the same token only if these are equal, too */
    long long number; /* of a listed token */
} dr_given_token;

typedef struct dr_given_tokens {
    dr_given_token token[2 * DR_SPECIAL_TOKENS_MAX];
    int listed; /* the first `listed` tokens are the listed ones */
    int count;
    /* Every token that was listed, also one that lost its number to a later token. */
    dr_given_token known[2 * DR_SPECIAL_TOKENS_MAX];
    int known_count;
} dr_given_tokens; /* zeroed: no tokens */

/* Read a token from a string, or from an object with "content".  special: the token stands where special
 * tokens stand, so that it is not normalized unless it says so.  Fails with DR_EFORMAT; then *out may be
 * half filled. */
dr_status dr_given_token_read(dr_given_token *out, const json_t *token, bool special, const char *path,
                              dr_error *err);

/* Add a listed token, in the order of the numbers.  It replaces a token of the same number.  Only before
 * the first dr_given_tokens_add().  Fails with DR_EUNSUPPORTED where the tokens are too many. */
dr_status dr_given_tokens_list(dr_given_tokens *s, const dr_given_token *token, dr_error *err);

/* Add a token with a role, or an extra token.  Does nothing where a token of this text is listed, whatever
 * its flags, or where the same token was added before.  Fails with DR_EUNSUPPORTED where the tokens are
 * too many. */
dr_status dr_given_tokens_add(dr_given_tokens *s, const dr_given_token *token, dr_error *err);

/* The token of this text that was listed last, borrowed from s.  NULL: no such token was listed. */
const dr_given_token *dr_given_tokens_known(const dr_given_tokens *s, const char *text);

#endif

/* said_tokens.h - special tokens as the files of a folder give them, in the order in which they are to be added.
 *
 *     listed, by their numbers | roles | extra
 *
 * Only model/token_settings.c uses this.  Texts and paths are borrowed from the files. */
#ifndef DR_MODEL_SAID_TOKENS_H
#define DR_MODEL_SAID_TOKENS_H

#include "base/error.h"
#include "base/limits.h"

#include <jansson.h>
#include <stdbool.h>

/* A token as a file gives it. */
typedef struct dr_said_token {
    const char *text, *path;
    bool normalized;
    bool says_normalized; /* else it depends on what else the token is */
    bool is_object;       /* a string and an object are never the same token */
    unsigned flags;       /* lstrip and so on: two objects are the same where these are, too */
    long long number;
} dr_said_token;

typedef struct dr_said_tokens {
    dr_said_token token[2 * DR_SPECIAL_TOKENS_MAX];
    int listed, count; /* listed are the first of them */
    dr_said_token
        known[2 * DR_SPECIAL_TOKENS_MAX]; /* every one that was listed, also where another took its number */
    int known_count;
} dr_said_tokens; /* zeroed: none */

/* From a string, or an object with "content"; special: by where it stands.  On failure *out may be half filled. */
dr_status dr_said_token_read(dr_said_token *out, const json_t *token, bool special, const char *path,
                             dr_error *err);

/* In the order of their numbers; one of the same number replaces the other.  Before anything else is added. */
dr_status dr_said_tokens_list(dr_said_tokens *s, const dr_said_token *token, dr_error *err);

/* Not where it is listed, whatever its flags, nor where the very same was said. */
dr_status dr_said_tokens_add(dr_said_tokens *s, const dr_said_token *token, dr_error *err);

/* The token of this text that was listed last; NULL: none was. */
const dr_said_token *dr_said_tokens_known(const dr_said_tokens *s, const char *text);

#endif

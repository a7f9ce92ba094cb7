#include "model/special_tokens.h"

#include "model/unicode_text.h"

#include <stdlib.h>
#include <string.h>

/* --- adding them ---------------------------------------------------------------------- */

static dr_special_token *find_token(const dr_special_tokens *s, const char *name, size_t bytes)
{
    for (int i = 0; i < s->count; i++)
        if (s->token[i].name_bytes == bytes && !memcmp(s->token[i].name, name, bytes))
            return (dr_special_token *)&s->token[i];
    return NULL;
}

int32_t dr_special_tokens_id(const dr_special_tokens *s, const json_t *vocab, const char *name)
{
    const dr_special_token *token = find_token(s, name, strlen(name));
    const json_t *id = json_object_get(vocab, name);

    if (token)
        return token->id;
    return id ? (int32_t)json_integer_value(id) : -1;
}

/* A new id, as transformers gives it, whatever id a file has: the number of tokens in the vocabulary, or
 * one more than the last new id. */
static int32_t next_id(const dr_special_tokens *s, const json_t *vocab)
{
    int32_t next = (int32_t)json_object_size(vocab);

    for (int i = 0; i < s->count; i++)
        if (s->token[i].id >= next)
            next = s->token[i].id + 1;
    return next;
}

static dr_status set_text(dr_special_token *token, const char *path, dr_error *err)
{
    const char *text = token->name;
    char *normal = NULL;

    token->bytes = token->name_bytes;
    if (token->normalized) {
        dr_status rc = dr_text_normalize(&normal, &token->bytes, text, token->name_bytes, err);

        if (rc)
            return rc;
        text = normal;
    }
    if (token->bytes == 0 || token->bytes > sizeof(token->text)) {
        free(normal);
        return dr_fail(err, DR_EUNSUPPORTED, "%s: a special token of %zu bytes: 1 to %zu are supported", path,
                       token->bytes, sizeof(token->text));
    }
    memcpy(token->text, text, token->bytes);
    free(normal);
    return DR_OK;
}

dr_status dr_special_tokens_add(dr_special_tokens *s, const json_t *vocab, const char *name, bool normalized,
                                const char *path, dr_error *err)
{
    const size_t bytes = strlen(name);
    dr_special_token *token = find_token(s, name, bytes);
    int32_t id;

    if (bytes == 0 || bytes > sizeof(token->name))
        return dr_fail(err, DR_EUNSUPPORTED, "%s: a special token of %zu bytes: 1 to %zu are supported", path,
                       bytes, sizeof(token->name));
    if (!token) {
        if (s->count == DR_SPECIAL_TOKENS_MAX)
            return dr_fail(err, DR_EUNSUPPORTED, "%s: more than %d special tokens", path,
                           DR_SPECIAL_TOKENS_MAX);
        id = dr_special_tokens_id(s, vocab, name);
        if (id < 0)
            id = next_id(s, vocab);
        token = &s->token[s->count++];
        token->id = id;
        token->name_bytes = bytes;
        memcpy(token->name, name, bytes);
    }
    token->normalized = normalized;
    return set_text(token, path, err);
}

/* --- looking for them ----------------------------------------------------------------- */

const dr_special_token *dr_special_token_at(const dr_special_tokens *s, bool normalized, const char *text,
                                            size_t bytes)
{
    const dr_special_token *longest = NULL;

    for (int i = 0; i < s->count; i++) {
        const dr_special_token *t = &s->token[i];

        if (t->normalized == normalized && t->bytes <= bytes && !memcmp(t->text, text, t->bytes) &&
            (!longest || t->bytes > longest->bytes))
            longest = t;
    }
    return longest;
}

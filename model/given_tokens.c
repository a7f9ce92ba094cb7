#include "model/given_tokens.h"

#include <stdint.h>
#include <string.h>

/* --- one token ------------------------------------------------------------------------ */

dr_status dr_given_token_read(dr_given_token *out, const json_t *token, bool special, const char *path,
                              dr_error *err)
{
    static const char *const flags[] = { "lstrip", "rstrip", "single_word" };
    const json_t *normalized = json_object_get(token, "normalized");

    *out = (dr_given_token){ .path = path, .is_object = json_is_object(token) };
    out->text =
        out->is_object ? json_string_value(json_object_get(token, "content")) : json_string_value(token);
    if (!out->text)
        return dr_fail(err, DR_EFORMAT, "%s: a token is neither a string nor an object with \"content\"",
                       path);
    if (json_is_true(json_object_get(token, "single_word")))
        return dr_fail(err, DR_EUNSUPPORTED, "%s: token \"%s\": single_word true is not supported", path,
                       out->text);
    for (unsigned i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
        out->flags |= (unsigned)json_is_true(json_object_get(token, flags[i])) << i;
    special = special || json_is_true(json_object_get(token, "special"));
    out->flags |= (unsigned)(out->is_object && special) << 3;
    out->says_if_normalized = normalized || !out->is_object;
    out->normalized = normalized ? json_is_true(normalized) : out->is_object && !special;
    return DR_OK;
}

static dr_status append(dr_given_tokens *s, const dr_given_token *token, dr_error *err)
{
    if (s->count == (int)(sizeof(s->token) / sizeof(s->token[0])))
        return dr_fail(err, DR_EUNSUPPORTED, "%s: more than %d special tokens", token->path,
                       DR_SPECIAL_TOKENS_MAX);
    s->token[s->count++] = *token;
    return DR_OK;
}

static bool is_same(const dr_given_token *a, const dr_given_token *b)
{
    return a->is_object == b->is_object && a->flags == b->flags && a->normalized == b->normalized &&
           !strcmp(a->text, b->text);
}

dr_status dr_given_tokens_add(dr_given_tokens *s, const dr_given_token *token, dr_error *err)
{
    for (int i = 0; i < s->count; i++)
        if (i < s->listed ? !strcmp(s->token[i].text, token->text) : is_same(&s->token[i], token))
            return DR_OK;
    return append(s, token, err);
}

/* --- listed tokens -------------------------------------------------------------------- */

const dr_given_token *dr_given_tokens_known(const dr_given_tokens *s, const char *text)
{
    for (int i = 0; i < s->known_count; i++)
        if (!strcmp(s->known[i].text, text))
            return &s->known[i];
    return NULL;
}

static dr_status note_known(dr_given_tokens *s, const dr_given_token *token, dr_error *err)
{
    dr_given_token *known = (dr_given_token *)(uintptr_t)dr_given_tokens_known(s, token->text); /* ours */

    if (!known && s->known_count == (int)(sizeof(s->known) / sizeof(s->known[0])))
        return dr_fail(err, DR_EUNSUPPORTED, "%s: more than %d special tokens", token->path,
                       DR_SPECIAL_TOKENS_MAX);
    *(known ? known : &s->known[s->known_count++]) = *token;
    return DR_OK;
}

dr_status dr_given_tokens_list(dr_given_tokens *s, const dr_given_token *token, dr_error *err)
{
    int at = 0;
    dr_status rc = note_known(s, token, err);

    if (rc)
        return rc;
    while (at < s->listed && s->token[at].number < token->number)
        at++;
    if (at < s->listed && s->token[at].number == token->number) {
        s->token[at] = *token;
        return DR_OK;
    }
    rc = append(s, token, err);
    if (rc)
        return rc;
    memmove(&s->token[at + 1], &s->token[at], (size_t)(s->listed - at) * sizeof(s->token[0]));
    s->token[at] = *token;
    s->listed++;
    return DR_OK;
}

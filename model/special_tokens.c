#include "model/special_tokens.h"

#include "model/json.h"
#include "model/unicode_text.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NAMED = 4 };

/* Tokens that have a role, in transformers' order; and CLIP's own. */
static const char *const roles[NAMED] = { "bos_token", "eos_token", "unk_token", "pad_token" };
static const char *const defaults[NAMED] = { "<|startoftext|>", "<|endoftext|>", "<|endoftext|>",
                                             "<|endoftext|>" };

/* The files of one folder, and what is asked of them. */
typedef struct reader {
    dr_special_tokens *out;
    const json_t *vocab;
    const char *vocab_path;
    json_t *config, *map; /* NULL: no such file */
    char config_path[PATH_MAX], map_path[PATH_MAX];
} reader;

/* --- tokens --------------------------------------------------------------------------- */

/* The token's text in a string or an object; NULL: it is neither. */
static const char *text_of(const json_t *token)
{
    return json_is_object(token) ? json_string_value(json_object_get(token, "content"))
                                 : json_string_value(token);
}

static dr_status find_id(const reader *r, const json_t *token, const char *path, int32_t *id, dr_error *err)
{
    const char *text = text_of(token);
    const json_t *found;

    if (!text)
        return dr_fail(err, DR_EFORMAT, "%s: a token is neither a string nor an object with \"content\"",
                       path);
    found = json_object_get(r->vocab, text);
    if (!found)
        return dr_fail(err, DR_EFORMAT, "%s: no special token \"%s\"", r->vocab_path, text);
    *id = (int32_t)json_integer_value(found);
    return DR_OK;
}

static dr_special_token *find_token(dr_special_tokens *s, int32_t id)
{
    for (int i = 0; i < s->count; i++)
        if (s->token[i].id == id)
            return &s->token[i];
    return NULL;
}

static dr_status set_text(dr_special_token *token, const char *text, const char *path, dr_error *err)
{
    const size_t given = strlen(text);
    char *normal = NULL;
    size_t bytes = given;

    if (token->normalized) {
        dr_status rc = dr_text_normalize(&normal, &bytes, text, given, err);

        if (rc)
            return rc;
        text = normal;
    }
    if (bytes == 0 || bytes > sizeof(token->text)) {
        free(normal);
        return dr_fail(err, DR_EUNSUPPORTED, "%s: a special token of %zu bytes: 1 to %zu are supported", path,
                       bytes, sizeof(token->text));
    }
    memcpy(token->text, text, bytes);
    token->bytes = bytes;
    free(normal);
    return DR_OK;
}

/* lstrip and the like widen what is cut out; no CLIP tokenizer has them. */
static dr_status check_flags(const json_t *token, const char *text, const char *path, dr_error *err)
{
    static const char *const flags[] = { "lstrip", "rstrip", "single_word" };

    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
        if (json_is_true(json_object_get(token, flags[i])))
            return dr_fail(err, DR_EUNSUPPORTED, "%s: token \"%s\": %s true is not supported", path, text,
                           flags[i]);
    return DR_OK;
}

static dr_status add(const reader *r, const json_t *token, bool normalized_by_default, const char *path,
                     dr_error *err)
{
    const json_t *normalized = json_object_get(token, "normalized");
    const char *text = text_of(token);
    dr_special_token *place;
    int32_t id;
    dr_status rc = find_id(r, token, path, &id, err);

    if (!rc)
        rc = check_flags(token, text, path, err);
    if (rc)
        return rc;
    place = find_token(r->out, id);
    if (!place && r->out->count < DR_SPECIAL_TOKENS_MAX)
        place = &r->out->token[r->out->count++];
    if (!place)
        return dr_fail(err, DR_EUNSUPPORTED, "%s: more than %d special tokens", path, DR_SPECIAL_TOKENS_MAX);
    place->id = id;
    place->normalized = normalized ? json_is_true(normalized) : normalized_by_default;
    return set_text(place, text, path, err);
}

/* --- files ---------------------------------------------------------------------------- */

static dr_status read_if_there(json_t **out, const char *path, dr_error *err)
{
    *out = NULL;
    return access(path, F_OK) ? DR_OK : dr_json_read(out, path, err);
}

/* The list of folders written since 2023.  Where there is one, it says all there is to say. */
static dr_status add_listed(const reader *r, const json_t *list, dr_error *err)
{
    const char *key;
    json_t *token;

    json_object_foreach((json_t *)list, key, token)
    {
        const bool special = json_is_true(json_object_get(token, "special"));
        dr_status rc = add(r, token, !special, r->config_path, err);

        if (rc)
            return rc;
        if (json_integer_value(json_object_get(r->vocab, text_of(token))) != atoll(key))
            return dr_fail(err, DR_EUNSUPPORTED,
                           "%s: added_tokens_decoder: \"%s\" is not token %s of vocab.json", r->config_path,
                           text_of(token), key);
    }
    return DR_OK;
}

/* Find the token of a role, and add it unless the list has it. */
static dr_status add_role(const reader *r, int role, bool listed, int32_t *id, dr_error *err)
{
    const json_t *from_map = listed ? NULL : json_object_get(r->map, roles[role]);
    const json_t *from_config = json_object_get(r->config, roles[role]);
    const json_t *token = from_map ? from_map : from_config;
    const char *path = from_map ? r->map_path : r->config_path;
    json_t *own = NULL;
    dr_status rc;

    if (!token || json_is_null(token))
        token = own = json_string(defaults[role]);
    if (!token)
        return dr_fail(err, DR_ENOMEM, "%s: no memory for a token", path);
    rc = find_id(r, token, path, id, err);
    if (!rc && !(listed && find_token(r->out, *id)))
        rc = add(r, token, json_is_object(token) && !from_map, path, err);
    json_decref(own);
    return rc;
}

static dr_status check_key(const json_t *file, const char *key, const char *path, dr_error *err)
{
    const json_t *value = json_object_get(file, key);

    if (!value || json_is_null(value) || (json_is_array(value) && json_array_size(value) == 0) ||
        (json_is_object(value) && json_object_size(value) == 0))
        return DR_OK;
    return dr_fail(err, DR_EUNSUPPORTED, "%s: %s is not supported", path, key);
}

static dr_status check_config(const reader *r, dr_error *err)
{
    const json_t *class = json_object_get(r->config, "tokenizer_class");
    const json_t *length = json_object_get(r->config, "model_max_length");
    dr_status rc = check_key(r->config, "additional_special_tokens", r->config_path, err);

    if (!rc)
        rc = check_key(r->config, "extra_special_tokens", r->config_path, err);
    if (!rc)
        rc = check_key(r->map, "additional_special_tokens", r->map_path, err);
    if (rc)
        return rc;
    if (json_is_string(class) &&
        strncmp(json_string_value(class), "CLIPTokenizer", strlen("CLIPTokenizer")) != 0)
        return dr_fail(err, DR_EUNSUPPORTED, "%s: tokenizer_class \"%s\": only CLIPTokenizer is supported",
                       r->config_path, json_string_value(class));
    if (json_is_number(length) && json_number_value(length) != DR_TOKENS)
        return dr_fail(err, DR_EUNSUPPORTED, "%s: model_max_length %.0f: only %d is supported",
                       r->config_path, json_number_value(length), DR_TOKENS);
    return DR_OK;
}

static dr_status read_all(reader *r, dr_error *err)
{
    int32_t ids[NAMED] = { 0 };
    dr_status rc = read_if_there(&r->config, r->config_path, err);
    const json_t *list;

    if (!rc)
        rc = read_if_there(&r->map, r->map_path, err);
    if (!rc)
        rc = check_config(r, err);
    if (rc)
        return rc;
    list = json_object_get(r->config, "added_tokens_decoder");
    if (list)
        rc = add_listed(r, list, err);
    for (int role = 0; role < NAMED && !rc; role++)
        rc = add_role(r, role, list != NULL, &ids[role], err);
    r->out->begin = ids[0];
    r->out->end = ids[1];
    r->out->pad = ids[3];
    return rc;
}

dr_status dr_special_tokens_read(dr_special_tokens *out, const char *folder, const json_t *vocab,
                                 const char *vocab_path, dr_error *err)
{
    reader r = { .out = out, .vocab = vocab, .vocab_path = vocab_path };
    dr_status rc;

    out->count = 0;
    snprintf(r.config_path, sizeof(r.config_path), "%s/tokenizer_config.json", folder);
    snprintf(r.map_path, sizeof(r.map_path), "%s/special_tokens_map.json", folder);
    rc = read_all(&r, err);
    json_decref(r.config);
    json_decref(r.map);
    return rc;
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

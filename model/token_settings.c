#include "model/token_settings.h"

#include "model/given_tokens.h"
#include "model/json.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The roles in transformers' order, and CLIP's own tokens for them. */
enum { BEGIN, END, UNKNOWN, SEPARATOR, PADDING, CLASS, MASK, ROLES };
static const char *const roles[ROLES] = { "bos_token", "eos_token", "unk_token", "sep_token",
                                          "pad_token", "cls_token", "mask_token" };
static const char *const defaults[ROLES] = {
    [BEGIN] = "<|startoftext|>",
    [END] = "<|endoftext|>",
    [UNKNOWN] = "<|endoftext|>",
    [PADDING] = "<|endoftext|>",
};

/* The files of one folder, and the tokens in the order in which they are added. */
typedef struct reader {
    const dr_token_sources *from;
    json_t *config, *map, *added; /* NULL: no such file */
    char config_path[PATH_MAX], map_path[PATH_MAX], added_path[PATH_MAX];
    dr_given_tokens given;
} reader;

/* List the tokens of "added_tokens_decoder", which maps numbers to tokens. */
static dr_status list_decoder(reader *r, const json_t *decoder, dr_error *err)
{
    const char *key;
    json_t *token;

    if (!json_is_object(decoder))
        return dr_fail(err, DR_EFORMAT, "%s: added_tokens_decoder is not an object", r->config_path);
    json_object_foreach((json_t *)decoder, key, token)
    {
        dr_given_token given;
        dr_status rc = dr_given_token_read(&given, token, false, r->config_path, err);

        given.number = atoll(key);
        if (!rc)
            rc = dr_given_tokens_list(&r->given, &given, err);
        if (rc)
            return rc;
    }
    return DR_OK;
}

static bool is_named(const reader *r, const char *text);

/* List the tokens of added_tokens.json, which maps tokens to numbers.  A token with a role is special, so
 * it is looked for in the raw text. */
static dr_status list_added(reader *r, dr_error *err)
{
    const char *text;
    json_t *number;

    json_object_foreach(r->added, text, number)
    {
        dr_given_token given = {
            .text = text, .path = r->added_path, .is_object = true, .says_if_normalized = true
        };
        dr_status rc;

        if (!json_is_integer(number))
            return dr_fail(err, DR_EFORMAT, "%s: the id of \"%s\" is not a whole number", r->added_path,
                           text);
        given.number = json_integer_value(number);
        given.normalized = !is_named(r, text);
        rc = dr_given_tokens_list(&r->given, &given, err);
        if (rc)
            return rc;
    }
    return DR_OK;
}

/* List the tokens of tokenizer.json, which has a list of tokens with their numbers. */
static dr_status list_of_json(reader *r, dr_error *err)
{
    const json_t *token;
    size_t i;

    json_array_foreach(r->from->added, i, token)
    {
        dr_given_token given;
        dr_status rc = dr_given_token_read(&given, token, false, r->from->vocab_path, err);

        given.number = json_integer_value(json_object_get(token, "id"));
        if (!rc)
            rc = dr_given_tokens_list(&r->given, &given, err);
        if (rc)
            return rc;
    }
    return DR_OK;
}

/* --- roles and extra tokens ----------------------------------------------------------- */

static bool is_truthy(const json_t *value)
{
    return json_array_size(value) > 0 || json_object_size(value) > 0;
}

/* The token with a role, from special_tokens_map.json (*of_map) or tokenizer_config.json.  gather_tokens()
 * drops the map where tokenizer_config.json lists tokens. */
static const json_t *role_of(const reader *r, const char *role, bool *of_map)
{
    const json_t *value = json_object_get(r->map, role);

    *of_map = value != NULL;
    return value ? value : json_object_get(r->config, role);
}

/* extra_special_tokens of tokenizer_config.json; NULL: none. */
static const json_t *config_extra(const reader *r)
{
    const json_t *extra = json_object_get(r->config, "extra_special_tokens");
    const json_t *additional = json_object_get(r->config, "additional_special_tokens");

    return additional && !is_truthy(extra) ? additional : extra;
}

/* Extra tokens.  Each value of an object is a token with a role of its own.  If neither file has a list of
 * extra tokens, the list "additional_special_tokens", their older name, is used: that of the map, or else
 * that of tokenizer_config.json. */
typedef struct extra_tokens {
    const json_t *object, *of_config, *of_map; /* NULL: none */
} extra_tokens;

static extra_tokens find_extra(const reader *r)
{
    const json_t *of_config = config_extra(r);
    const bool is_object = json_is_object(of_config);
    extra_tokens e = {
        .object = is_object ? of_config : NULL,
        .of_config = is_object ? NULL : of_config,
        .of_map = json_object_get(r->map, "extra_special_tokens"),
    };

    if (!e.of_config && !e.of_map)
        e.of_map = json_object_get(r->map, "additional_special_tokens");
    if (!e.of_config && !e.of_map)
        e.of_config = json_object_get(r->config, "additional_special_tokens");
    return e;
}

/* Is this token the text?  Of tokenizer_config.json only strings count, because transformers compares
 * before it makes tokens of the objects there. */
static bool is_text(const json_t *token, bool of_map, const char *text)
{
    const char *of = json_is_object(token) && of_map ? json_string_value(json_object_get(token, "content"))
                                                     : json_string_value(token);

    return of && !strcmp(of, text);
}

/* Do the files name this text as a token with a role, or as an extra token?  CLIP's own tokens do not
 * count. */
static bool is_named(const reader *r, const char *text)
{
    const json_t *lists[2] = { config_extra(r), json_object_get(r->map, "extra_special_tokens") }, *token;
    bool of_map;
    size_t i;

    for (int role = 0; role < ROLES; role++) {
        const json_t *value = role_of(r, roles[role], &of_map);

        if (is_text(value, of_map, text))
            return true;
    }
    for (int list = 0; list < 2; list++)
        json_array_foreach(lists[list], i, token)
        {
            if (is_text(token, list == 1, text))
                return true;
        }
    return false;
}

static dr_status gather_role(reader *r, int role, dr_error *err)
{
    bool of_map;
    const json_t *token = role_of(r, roles[role], &of_map);
    dr_given_token given = { .text = defaults[role], .path = r->config_path };
    dr_status rc = DR_OK;

    if (token && !json_is_null(token))
        rc = dr_given_token_read(&given, token, of_map, of_map ? r->map_path : r->config_path, err);
    if (rc || !given.text)
        return rc;
    if (token && dr_given_tokens_known(&r->given, given.text))
        given = *dr_given_tokens_known(&r->given, given.text);
    return dr_given_tokens_add(&r->given, &given, err);
}

static bool ends_in_token(const char *key)
{
    static const char end[] = "_token";
    const size_t bytes = strlen(key);

    return bytes >= strlen(end) && !strcmp(key + bytes - strlen(end), end);
}

static bool is_role(const char *key)
{
    for (int role = 0; role < ROLES; role++)
        if (!strcmp(roles[role], key))
            return true;
    return false;
}

/* A class may have roles of its own, such as "image_token".  In tokenizer_config.json an object is a token
 * only if it has "__type". */
static bool is_own_role(const char *key, const json_t *value, bool of_map)
{
    const bool is_token = json_object_get(value, "content") && (of_map || json_object_get(value, "__type"));

    return !is_role(key) && ends_in_token(key) && (json_is_string(value) || is_token);
}

static dr_status gather_own_role(reader *r, const json_t *token, const char *path, dr_error *err)
{
    dr_given_token given;
    dr_status rc =
        dr_given_token_read(&given, token, json_is_string(token) || path == r->map_path, path, err);

    return rc ? rc : dr_given_tokens_add(&r->given, &given, err);
}

/* First objects of tokenizer_config.json and all tokens of the map, then strings of
 * tokenizer_config.json.  Such a string overrules the map. */
static dr_status gather_own_roles(reader *r, dr_error *err)
{
    const char *key;
    json_t *token;
    dr_status rc = DR_OK;

    json_object_foreach(r->config, key, token)
    {
        const json_t *of_map = json_object_get(r->map, key);

        if (!rc && is_own_role(key, token, false) && !json_is_string(token))
            rc = gather_own_role(r, of_map ? of_map : token, of_map ? r->map_path : r->config_path, err);
    }
    json_object_foreach(r->map, key, token)
    {
        const json_t *of_config = json_object_get(r->config, key);

        if (!rc && is_own_role(key, token, true) && !json_is_object(of_config))
            rc = gather_own_role(r, of_config ? of_config : token, of_config ? r->config_path : r->map_path,
                                 err);
    }
    json_object_foreach(r->config, key, token)
    {
        if (!rc && is_own_role(key, token, false) && json_is_string(token) && !json_object_get(r->map, key))
            rc = gather_own_role(r, token, r->config_path, err);
    }
    return rc;
}

static dr_status gather_all(reader *r, const json_t *tokens, bool special, const char *path, dr_error *err)
{
    const json_t *token;
    const char *key;
    dr_status rc = DR_OK;
    dr_given_token given;
    size_t i;

    json_array_foreach(tokens, i, token)
    {
        rc = dr_given_token_read(&given, token, special, path, err);
        if (!rc)
            rc = dr_given_tokens_add(&r->given, &given, err);
        if (rc)
            return rc;
    }
    json_object_foreach((json_t *)tokens, key, token)
    {
        rc = dr_given_token_read(&given, token, special, path, err);
        if (!rc)
            rc = dr_given_tokens_add(&r->given, &given, err);
        if (rc)
            return rc;
    }
    return rc;
}

static dr_status gather_extra(reader *r, dr_error *err)
{
    const extra_tokens e = find_extra(r);
    dr_status rc = gather_all(r, e.object, false, r->config_path, err);

    if (!rc)
        rc = gather_all(r, e.of_config, false, r->config_path, err);
    return rc ? rc : gather_all(r, e.of_map, true, r->map_path, err);
}

/* --- the folder ----------------------------------------------------------------------- */

static dr_status read_if_there(json_t **out, const char *path, dr_error *err)
{
    *out = NULL;
    return access(path, F_OK) ? DR_OK : dr_json_read(out, path, err);
}

static dr_status check_word(const reader *r, const char *key, const char *needed, dr_error *err)
{
    const char *word = json_string_value(json_object_get(r->config, key));

    if (!word || !strncmp(word, needed, strlen(needed)))
        return DR_OK;
    return dr_fail(err, DR_EUNSUPPORTED, "%s: %s \"%s\": only %s is supported", r->config_path, key, word,
                   needed);
}

static dr_status check_config(const reader *r, dr_error *err)
{
    const json_t *length = json_object_get(r->config, "model_max_length");
    dr_status rc = check_word(r, "tokenizer_class", "CLIPTokenizer", err); /* and CLIPTokenizerFast */

    if (!rc)
        rc = check_word(r, "padding_side", "right", err);
    if (!rc)
        rc = check_word(r, "truncation_side", "right", err);
    if (!rc && json_is_number(length) && json_number_value(length) != DR_TOKENS)
        rc = dr_fail(err, DR_EUNSUPPORTED, "%s: model_max_length %.0f: only %d is supported", r->config_path,
                     json_number_value(length), DR_TOKENS);
    return rc;
}

static dr_status gather_tokens(reader *r, dr_error *err)
{
    const json_t *decoder = json_object_get(r->config, "added_tokens_decoder");
    dr_status rc;

    if (decoder) {
        json_decref(r->map); /* transformers does not read it then */
        r->map = NULL;
        rc = list_decoder(r, decoder, err);
    } else {
        rc = list_added(r, err);
        if (!rc)
            rc = list_of_json(r, err);
    }
    for (int role = 0; role < ROLES && !rc; role++)
        rc = gather_role(r, role, err);
    if (!rc)
        rc = gather_own_roles(r, err);
    if (!rc)
        rc = gather_extra(r, err);
    return rc;
}

static bool has_own_role(const json_t *file, bool of_map, const char *text)
{
    const char *key;
    json_t *token;

    json_object_foreach((json_t *)file, key, token)
    {
        if (is_own_role(key, token, of_map) && is_text(token, true, text))
            return true;
    }
    return false;
}

/* Has this text a role, by the files or as CLIP's own token? */
static bool has_role(const reader *r, const char *text)
{
    json_t *token;
    const char *key;
    bool of_map;

    for (int role = 0; role < ROLES; role++) {
        const json_t *value = role_of(r, roles[role], &of_map);
        const char *otherwise = defaults[role];

        if (value && !json_is_null(value) ? is_text(value, true, text)
                                          : otherwise && !strcmp(otherwise, text))
            return true;
    }
    json_object_foreach((json_t *)find_extra(r).object, key, token)
    {
        if (is_text(token, true, text))
            return true;
    }
    return has_own_role(r->config, false, text) || has_own_role(r->map, true, text);
}

/* A token with a role is special.  A special token is looked for in the raw text, unless the file says
 * otherwise. */
static bool is_normalized(const reader *r, const dr_given_token *given)
{
    return given->normalized && (given->says_if_normalized || !has_role(r, given->text));
}

/* All tokens are gathered: give them their ids, and the roles theirs. */
static dr_status assign_ids(const reader *r, dr_special_tokens *out, dr_error *err)
{
    int32_t ids[ROLES];

    for (int i = 0; i < r->given.count; i++) {
        const dr_given_token *given = &r->given.token[i];
        dr_status rc = dr_special_tokens_add(out, r->from->vocab, given->text, is_normalized(r, given),
                                             given->path, err);

        if (rc)
            return rc;
    }
    for (int role = 0; role < ROLES; role++) {
        dr_given_token given = { .text = defaults[role] };
        bool of_map;
        const json_t *token = role_of(r, roles[role], &of_map);

        if (token && !json_is_null(token))
            (void)dr_given_token_read(&given, token, of_map, "", NULL);
        ids[role] = given.text ? dr_special_tokens_id(out, r->from->vocab, given.text) : -1;
        dr_assert(!given.text || ids[role] >= 0); /* it was added */
    }
    out->begin = ids[BEGIN];
    out->end = ids[END];
    out->pad = ids[PADDING];
    return DR_OK;
}

static dr_status read_files(reader *r, dr_error *err)
{
    const char *folder = r->from->folder;
    dr_status rc;

    snprintf(r->config_path, sizeof(r->config_path), "%s/tokenizer_config.json", folder);
    snprintf(r->map_path, sizeof(r->map_path), "%s/special_tokens_map.json", folder);
    snprintf(r->added_path, sizeof(r->added_path), "%s/added_tokens.json", folder);
    rc = read_if_there(&r->config, r->config_path, err);
    if (!rc)
        rc = read_if_there(&r->map, r->map_path, err);
    if (!rc)
        rc = read_if_there(&r->added, r->added_path, err);
    return rc ? rc : check_config(r, err);
}

dr_status dr_token_settings_read(dr_special_tokens *out, const dr_token_sources *from, dr_error *err)
{
    reader *r = calloc(1, sizeof(*r));
    dr_status rc;

    out->count = 0;
    if (!r)
        return dr_fail(err, DR_ENOMEM, "%s: no memory for its special tokens", from->folder);
    r->from = from;
    rc = read_files(r, err);
    if (!rc)
        rc = gather_tokens(r, err);
    if (!rc)
        rc = assign_ids(r, out, err);
    json_decref(r->config);
    json_decref(r->map);
    json_decref(r->added);
    free(r);
    return rc;
}

#include "model/tokenizer_json.h"

#include "model/json.h"

#include <stdio.h>
#include <string.h>

/* --- what is done with a text ----------------------------------------------------------- */

/* The parts of CLIP's normalizer and so on, in their order, and how a file says them. */
typedef struct expected {
    const char *key;    /* of tokenizer.json */
    const char *list;   /* the key of a Sequence's parts */
    const char *all[4]; /* the parts' types */
    const char *needed; /* for messages */
} expected;

static const expected NORMALIZER = {
    "normalizer", "normalizers", { "NFC", "Replace", "Lowercase", NULL }, "NFC, Replace, Lowercase"
};
static const expected PRE_TOKENIZER = {
    "pre_tokenizer", "pretokenizers", { "Split", "ByteLevel", NULL }, "Split, ByteLevel"
};

static const char *type_of(const json_t *object)
{
    const char *type = json_string_value(json_object_get(object, "type"));

    return type ? type : "of no type";
}

static dr_status refuse_part(const expected *e, const char *type, const char *path, dr_error *err)
{
    return dr_fail(err, DR_EUNSUPPORTED, "%s: %s: %.64s is not supported; CLIP's is %s", path, e->key, type,
                   e->needed);
}

static dr_status check_parts(const json_t *root, const expected *e, const char *path, dr_error *err)
{
    const json_t *whole = json_object_get(root, e->key), *parts, *part;
    size_t i;

    if (!whole || json_is_null(whole))
        return DR_OK;
    if (strcmp(type_of(whole), "Sequence") != 0)
        return refuse_part(e, type_of(whole), path, err);
    parts = json_object_get(whole, e->list);
    json_array_foreach(parts, i, part)
    {
        if (i >= sizeof(e->all) / sizeof(e->all[0]) || !e->all[i] || strcmp(type_of(part), e->all[i]) != 0)
            return refuse_part(e, type_of(part), path, err);
    }
    return i < sizeof(e->all) / sizeof(e->all[0]) && e->all[i]
               ? refuse_part(e, "a shorter Sequence", path, err)
               : DR_OK;
}

/* --- the model -------------------------------------------------------------------------- */

/* The key is missing, or is one of these two strings. */
static dr_status check_word(const json_t *model, const char *key, const char *needed, const char *path,
                            dr_error *err)
{
    const json_t *value = json_object_get(model, key);

    if (!value || json_is_null(value) || (json_is_string(value) && !strcmp(json_string_value(value), needed)))
        return DR_OK;
    if (!json_is_string(value))
        return dr_fail(err, DR_EFORMAT, "%s: model.%s is not a string", path, key);
    return dr_fail(err, DR_EUNSUPPORTED, "%s: model.%s \"%.64s\" is not supported; CLIP's is \"%s\"", path,
                   key, json_string_value(value), needed);
}

static dr_status check_model(const json_t *model, const char *path, dr_error *err)
{
    dr_status rc;

    if (!json_is_object(model))
        return dr_fail(err, DR_EFORMAT, "%s: \"model\" is missing or not an object", path);
    rc = check_word(model, "type", "BPE", path, err);
    if (!rc)
        rc = check_word(model, "continuing_subword_prefix", "", path, err);
    if (!rc)
        rc = check_word(model, "end_of_word_suffix", "</w>", path, err);
    if (rc)
        return rc;
    if (!json_is_object(json_object_get(model, "vocab")))
        return dr_fail(err, DR_EFORMAT, "%s: model.vocab is not an object", path);
    if (!json_is_array(json_object_get(model, "merges")))
        return dr_fail(err, DR_EFORMAT, "%s: model.merges is not a list", path);
    return DR_OK;
}

/* --- the file --------------------------------------------------------------------------- */

static dr_status check(dr_tokenizer_json *t, const char *path, dr_error *err)
{
    const json_t *model = json_object_get(t->root, "model");
    dr_status rc = check_model(model, path, err);

    if (!rc)
        rc = check_parts(t->root, &NORMALIZER, path, err);
    if (!rc)
        rc = check_parts(t->root, &PRE_TOKENIZER, path, err);
    if (rc)
        return rc;
    t->vocab = json_object_get(model, "vocab");
    t->merges = json_object_get(model, "merges");
    t->added = json_object_get(t->root, "added_tokens");
    if (t->added && !json_is_array(t->added))
        return dr_fail(err, DR_EFORMAT, "%s: added_tokens is not a list", path);
    return DR_OK;
}

dr_status dr_tokenizer_json_read(dr_tokenizer_json *out, const char *path, dr_error *err)
{
    dr_status rc;

    memset(out, 0, sizeof(*out));
    rc = dr_json_read(&out->root, path, err);
    if (!rc)
        rc = check(out, path, err);
    if (rc)
        dr_tokenizer_json_free(out);
    return rc;
}

void dr_tokenizer_json_free(dr_tokenizer_json *t)
{
    json_decref(t->root);
    memset(t, 0, sizeof(*t));
}

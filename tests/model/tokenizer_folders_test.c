/* Tokenizer folders as other programs save them give the same ids as with transformers
 * (tests/goldens/README.md). */
#include "model/tokenizer.h"
#include "tests/support/support.h"
#include "tests/support/temp_folder.h"

#include <stdlib.h>
#include <string.h>

TEMP_FOLDER_OF_GROUP(folder)

/* --- a case's folder ----------------------------------------------------------------------- */

static void copy(const char *base, const char *name)
{
    char *text;
    size_t bytes;
    FILE *f = fopen(golden_path("%s/%s", base, name), "rb");

    remove(temp_path(&folder, name));
    if (!f)
        return;
    text = malloc(1 << 20);
    assert_non_null(text);
    bytes = fread(text, 1, 1 << 20, f);
    fclose(f);
    temp_write(&folder, name, text, bytes);
    free(text);
}

static void write_json(const char *name, json_t *content)
{
    char *text =
        json_is_string(content) ? strdup(json_string_value(content)) : json_dumps(content, JSON_ENCODE_ANY);

    assert_non_null(text);
    temp_write(&folder, name, text, strlen(text));
    free(text);
}

/* tokenizer.json with other added tokens, and perhaps with its merges as tokenizers before 0.20 wrote
 * them. */
static void change_tokenizer_json(json_t *change)
{
    json_error_t err;
    json_t *whole = json_load_file(temp_path(&folder, "tokenizer.json"), 0, &err), *pair;
    json_t *merges = json_object_get(json_object_get(whole, "model"), "merges");
    size_t i;

    assert_non_null(whole);
    json_object_set(whole, "added_tokens", json_object_get(change, "added_tokens"));
    json_array_foreach(merges, i, pair)
    {
        char line[64];

        snprintf(line, sizeof(line), "%s %s", json_string_value(json_array_get(pair, 0)),
                 json_string_value(json_array_get(pair, 1)));
        if (json_is_true(json_object_get(change, "merges_as_strings")))
            json_array_set_new(merges, i, json_string(line));
    }
    write_json("tokenizer.json", whole);
    json_decref(whole);
}

static void make_folder(json_t *one)
{
    static const char *const files[] = { "vocab.json",        "merges.txt",
                                         "tokenizer.json",    "tokenizer_config.json",
                                         "added_tokens.json", "special_tokens_map.json" };
    const bool json = !strcmp(json_string_value(json_object_get(one, "base")), "json");
    const char *name;
    json_t *content;

    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        copy(json ? "vocab/tiny_json/tokenizer" : "models/sd1/tokenizer", files[i]);
    json_object_foreach(json_object_get(one, "changes"), name, content)
    {
        if (json_is_null(content))
            assert_int_equal(remove(temp_path(&folder, name)), 0);
        else if (!strcmp(name, "tokenizer.json"))
            change_tokenizer_json(content);
        else
            write_json(name, content);
    }
}

/* --- its ids ------------------------------------------------------------------------------- */

/* The last id of the golden is repeated to the end. */
static void check_prompt(const dr_tokenizer *t, const json_t *prompt, const json_t *golden, const char *name)
{
    const size_t count = json_array_size(golden);
    int32_t ids[DR_TOKENS];
    dr_error err;

    assert_in_range(count, 1, DR_TOKENS);
    if (dr_tokenizer_encode(t, json_string_value(prompt), json_string_length(prompt), ids, NULL, &err))
        fail_msg("%s: %s", name, err.text);
    for (size_t i = 0; i < DR_TOKENS; i++) {
        const int32_t id = (int32_t)json_integer_value(json_array_get(golden, i < count ? i : count - 1));

        if (ids[i] != id)
            fail_msg("%s: \"%s\": token %zu is %d, not %d", name, json_string_value(prompt), i, ids[i], id);
        assert_true(id < dr_tokenizer_vocab_size(t));
    }
}

static void ids_are_the_references(void **state)
{
    json_t *golden = golden_json("tokenizer_folders.json"), *prompts = json_object_get(golden, "prompts");
    json_t *cases = json_object_get(golden, "cases"), *one, *prompt;
    size_t i, j;
    (void)state;

    assert_true(json_array_size(cases) > 30);
    json_array_foreach(cases, i, one)
    {
        const char *name = json_string_value(json_object_get(one, "name"));
        dr_tokenizer *t;
        dr_error err;

        make_folder(one);
        if (dr_tokenizer_open(&t, folder.path, &err))
            fail_msg("%s: %s", name, err.text);
        json_array_foreach(prompts, j, prompt)
            check_prompt(t, prompt, json_array_get(json_object_get(one, "ids"), j), name);
        dr_tokenizer_close(t);
    }
    json_decref(golden);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(ids_are_the_references) };

    return cmocka_run_group_tests_name("tokenizer_folders", tests, open_temp, close_temp);
}

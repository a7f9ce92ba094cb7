/* Token ids are exactly those of transformers' CLIPTokenizer; bad folders and bad text say what is wrong. */
#include "model/tokenizer.h"
#include "tests/support/support.h"
#include "tests/support/temp_folder.h"

#include <stdlib.h>
#include <string.h>

/* --- goldens -------------------------------------------------------------------------- */

static dr_tokenizer *open_folder(const char *folder)
{
    dr_error err = { 0 };
    dr_tokenizer *t;

    if (dr_tokenizer_open(&t, folder, &err))
        fail_msg("%s", err.text);
    return t;
}

/* Prompts may contain NUL, so their length comes from jansson. */
static void check_case(const dr_tokenizer *t, const json_t *prompt, const json_t *golden, const char *name)
{
    const char *text = json_string_value(prompt);
    const size_t bytes = json_string_length(prompt);
    int32_t ids[DR_TOKENS];
    dr_error err = { 0 };

    assert_int_equal(json_array_size(golden), DR_TOKENS);
    if (dr_tokenizer_encode(t, text, bytes, ids, NULL, &err))
        fail_msg("%s: \"%s\": %s", name, text, err.text);
    for (int i = 0; i < DR_TOKENS; i++) {
        const int32_t id = (int32_t)json_integer_value(json_array_get(golden, (size_t)i));

        if (ids[i] != id)
            fail_msg("%s: \"%s\": token %d is %d, not %d", name, text, i, ids[i], id);
    }
}

static json_t *read_goldens(void)
{
    json_error_t err;
    json_t *golden = json_load_file(golden_path("data/tokens.json"), JSON_ALLOW_NUL, &err);

    if (!golden)
        fail_msg("tokens.json: %s", err.text);
    return golden;
}

static void ids_are_the_references(void **state)
{
    json_t *golden = read_goldens(), *cases = json_object_get(golden, "cases"), *folder, *one;
    const char *name;
    size_t i;
    (void)state;

    assert_true(json_array_size(cases) > 300);
    json_object_foreach(json_object_get(golden, "tokenizers"), name, folder)
    {
        dr_tokenizer *t = open_folder(golden_path("%s", json_string_value(folder)));

        json_array_foreach(cases, i, one)
            check_case(t, json_object_get(one, "prompt"), json_object_get(json_object_get(one, "ids"), name),
                       name);
        dr_tokenizer_close(t);
    }
    json_decref(golden);
}

/* --- a small folder to break ------------------------------------------------------------ */

static temp_folder folder;
static char *vocab, *merges; /* of the smallest golden folder */

static char *read_text(const char *path)
{
    FILE *f = fopen(path, "rb");
    char *text = calloc(1, 1 << 16);

    assert_non_null(f);
    assert_non_null(text);
    assert_in_range(fread(text, 1, (1 << 16) - 1, f), 1, (1 << 16) - 2);
    fclose(f);
    return text;
}

static int open_small(void **state)
{
    (void)state;
    vocab = read_text(golden_path("models/sd1/tokenizer/vocab.json"));
    merges = read_text(golden_path("models/sd1/tokenizer/merges.txt"));
    temp_open(&folder);
    return 0;
}

static int close_small(void **state)
{
    (void)state;
    temp_close(&folder);
    free(vocab);
    free(merges);
    return 0;
}

static void write_text(const char *name, const char *text)
{
    temp_write(&folder, name, text, strlen(text));
}

/* A good folder without the two files that may be missing. */
static void write_good(void)
{
    static const char *const optional[] = { "special_tokens_map.json", "tokenizer_config.json",
                                            "added_tokens.json" };

    write_text("vocab.json", vocab);
    write_text("merges.txt", merges);
    for (size_t i = 0; i < sizeof(optional) / sizeof(optional[0]); i++)
        remove(temp_path(&folder, optional[i]));
}

/* Assert that opening fails with this status, and that the error has both texts. */
static void refused(dr_status status, const char *word, const char *other)
{
    dr_error err = { 0 };
    dr_tokenizer *t = (dr_tokenizer *)&err;

    assert_int_equal(dr_tokenizer_open(&t, folder.path, &err), status);
    assert_null(t);
    if (!strstr(err.text, word) || !strstr(err.text, other) || strchr(err.text, '\n'))
        fail_msg("\"%s\" lacks \"%s\" or \"%s\"", err.text, word, other);
}

static void bad_files_are_refused(void **state)
{
    char *cut = strdup(vocab);
    (void)state;

    write_good();
    remove(temp_path(&folder, "vocab.json"));
    refused(DR_ENOTFOUND, "vocab.json", folder.path);
    cut[strlen(cut) / 2] = '\0';
    write_text("vocab.json", cut);
    refused(DR_EFORMAT, "vocab.json", "line 1");
    write_text("vocab.json", "{\"a\": 0}");
    refused(DR_EFORMAT, "vocab.json", "byte 0x00");
    write_text("vocab.json", "{\"a\": -1}");
    refused(DR_EFORMAT, "vocab.json", "\"a\"");
    write_text("vocab.json", "{\"a\": 2147483647}");
    refused(DR_EFORMAT, "vocab.json", "\"a\"");
    write_text("vocab.json", "{\"a\": \"b\"}");
    refused(DR_EFORMAT, "vocab.json", "\"a\"");
    free(cut);

    write_good();
    remove(temp_path(&folder, "merges.txt"));
    refused(DR_ENOTFOUND, "merges.txt", folder.path);
    write_text("merges.txt", "#version: 0.2\ni n\nq zzz\n");
    refused(DR_EFORMAT, "merges.txt", "line 3");
    write_text("merges.txt", "#version: 0.2\ni n g\n");
    refused(DR_EFORMAT, "merges.txt", "line 2");
    write_text("merges.txt", "i n\n\nt h\n");
    refused(DR_EFORMAT, "merges.txt", "line 2");
    write_text("merges.txt", " n\n");
    refused(DR_EFORMAT, "merges.txt", "line 1");
}

/* A tokenizer.json with one thing changed. */
static void bad_tokenizer_jsons_are_refused(void **state)
{
    static const struct {
        const char *from, *to;
        dr_status status;
        const char *word;
    } cases[] = {
        { "\"NFC\"", "\"NFKC\"", DR_EUNSUPPORTED, "normalizer: NFKC" },
        { "\"normalizer\":{\"type\":\"Sequence\"", "\"normalizer\":{\"type\":\"BertNormalizer\"",
          DR_EUNSUPPORTED, "normalizer: BertNormalizer" },
        { ",{\"type\":\"Lowercase\"}", "", DR_EUNSUPPORTED, "normalizer: a shorter Sequence" },
        { "{\"type\":\"Lowercase\"}", "{\"type\":\"Lowercase\"},{\"type\":\"StripAccents\"}", DR_EUNSUPPORTED,
          "normalizer: StripAccents" },
        { "\"ByteLevel\"", "\"Metaspace\"", DR_EUNSUPPORTED, "pre_tokenizer: Metaspace" },
        { "\"BPE\"", "\"WordPiece\"", DR_EUNSUPPORTED, "model.type \"WordPiece\"" },
        { "\"</w>\",\"fuse", "\"##\",\"fuse", DR_EUNSUPPORTED, "model.end_of_word_suffix \"##\"" },
        { "\"vocab\":{", "\"vocab\":7,\"x\":{", DR_EFORMAT, "model.vocab" },
        { "\"merges\":[", "\"merges\":7,\"x\":[", DR_EFORMAT, "model.merges" },
        { "[\"t\",\"h\"]", "[\"t\"]", DR_EFORMAT, "model.merges[1]: not two tokens" },
        { "[\"t\",\"h\"]", "[\"t\",7]", DR_EFORMAT, "model.merges[1]: not two tokens" },
        { "[\"t\",\"h\"]", "\"t h e\"", DR_EFORMAT, "model.merges[1]: not two tokens" },
        { "[\"t\",\"h\"]", "[\"t\",\"zzz\"]", DR_EFORMAT,
          "model.merges[1]: a token that is not in the vocabulary" },
        { "\"!\":0,", "", DR_EFORMAT, "byte 0x21" },
        { "\"model\":{", "\"modell\":{", DR_EFORMAT, "\"model\" is missing or not an object" },
        { "\"added_tokens\":[", "\"added_tokens\":7,\"x\":[", DR_EFORMAT, "added_tokens" },
    };
    char *whole = read_text(golden_path("vocab/tiny_json/tokenizer/tokenizer.json")), changed[1 << 15];
    (void)state;

    write_good();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *at = strstr(whole, cases[i].from);

        if (!at)
            fail_msg("no %s", cases[i].from);
        snprintf(changed, sizeof(changed), "%.*s%s%s", (int)(at - whole), whole, cases[i].to,
                 at + strlen(cases[i].from));
        write_text("tokenizer.json", changed);
        refused(cases[i].status, cases[i].word, "/tokenizer.json: ");
    }
    remove(temp_path(&folder, "tokenizer.json"));
    free(whole);
}

static void bad_settings_are_refused(void **state)
{
    static const struct {
        const char *file, *text;
        dr_status status;
        const char *word;
    } cases[] = {
        { "tokenizer_config.json", "{", DR_EFORMAT, "line 1" },
        { "tokenizer_config.json", "[]", DR_EFORMAT, "object" },
        { "tokenizer_config.json", "{\"tokenizer_class\": \"T5Tokenizer\"}", DR_EUNSUPPORTED, "T5Tokenizer" },
        { "tokenizer_config.json", "{\"model_max_length\": 512}", DR_EUNSUPPORTED, "512" },
        { "tokenizer_config.json", "{\"padding_side\": \"left\"}", DR_EUNSUPPORTED, "padding_side \"left\"" },
        { "tokenizer_config.json", "{\"truncation_side\": \"left\"}", DR_EUNSUPPORTED, "truncation_side" },
        { "tokenizer_config.json", "{\"pad_token\": 7}", DR_EFORMAT, "content" },
        { "tokenizer_config.json", "{\"pad_token\": {\"content\": \"!\", \"single_word\": true}}",
          DR_EUNSUPPORTED, "single_word" },
        { "tokenizer_config.json", "{\"extra_special_tokens\": [7]}", DR_EFORMAT, "content" },
        { "tokenizer_config.json", "{\"added_tokens_decoder\": [\"!\"]}", DR_EFORMAT,
          "added_tokens_decoder" },
        { "special_tokens_map.json", "{\"bos_token\": {\"text\": \"<s>\"}}", DR_EFORMAT, "content" },
        { "added_tokens.json", "[]", DR_EFORMAT, "object" },
        { "added_tokens.json", "{\"<a>\": \"5\"}", DR_EFORMAT, "<a>" },
        { "added_tokens.json", "{\"\": 5}", DR_EUNSUPPORTED, "0 bytes" },
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        write_good();
        write_text(cases[i].file, cases[i].text);
        refused(cases[i].status, cases[i].word, folder.path);
    }
}

/* --- prompts ------------------------------------------------------------------------------ */

static int encode(const dr_tokenizer *t, const char *text, int32_t ids[DR_TOKENS])
{
    dr_error err = { 0 };
    int used;

    if (dr_tokenizer_encode(t, text, strlen(text), ids, &used, &err))
        fail_msg("%s", err.text);
    return used;
}

static void folders_without_settings_are_clips(void **state)
{
    int32_t ids[DR_TOKENS], others[DR_TOKENS];
    dr_tokenizer *t, *golden = open_folder(golden_path("models/sd1/tokenizer"));
    (void)state;

    write_good();
    t = open_folder(folder.path);
    assert_int_equal(encode(t, "the <|endoftext|>thing!", ids),
                     encode(golden, "the <|endoftext|>thing!", others));
    assert_memory_equal(ids, others, sizeof(ids));
    assert_int_equal(dr_tokenizer_vocab_size(t), dr_tokenizer_vocab_size(golden));
    assert_int_equal(dr_tokenizer_vocab_size(t), others[DR_TOKENS - 1] + 1); /* <|endoftext|> is the last */
    dr_tokenizer_close(t);
    dr_tokenizer_close(golden);
}

/* Folders saved by newer versions list their special tokens, and then the map is not read. */
/* "zq" is merged before "xz".  Then "xz" is not where it was seen any more: its x is in a longer token,
 * although the z after that token is the same. */
static void a_pair_that_is_gone_is_not_merged(void **state)
{
    const char tokens[] = "{\"zq\": 9001, \"xzq\": 9002, \"xz\": 9003, ";
    char *more = malloc(sizeof(tokens) + strlen(vocab));
    int32_t ids[DR_TOKENS];
    dr_tokenizer *t;
    dr_error err;
    int used;
    (void)state;

    strcpy(more, tokens);
    strcat(more, strchr(vocab, '{') + 1);
    write_good();
    write_text("vocab.json", more);
    write_text("merges.txt", "z q\nx zq\nx z\n");
    t = open_folder(folder.path);
    assert_int_equal(dr_tokenizer_encode(t, "xzqzj", 5, ids, &used, &err), DR_OK);
    assert_int_equal(used, 3);
    assert_int_equal(ids[1], 9002);
    assert_int_equal(dr_tokenizer_encode(t, "xzj", 3, ids, &used, &err), DR_OK);
    assert_int_equal(used, 2);
    assert_int_equal(ids[1], 9003);
    dr_tokenizer_close(t);
    free(more);
}

static void listed_tokens_win(void **state)
{
    int32_t ids[DR_TOKENS];
    dr_tokenizer *t;
    (void)state;

    write_good();
    write_text("special_tokens_map.json", "{\"pad_token\": \"a\"}");
    write_text("tokenizer_config.json",
               "{\"pad_token\": \"!\", \"added_tokens_decoder\":"
               "{\"0\": {\"content\": \"!\", \"special\": true}}}");
    t = open_folder(folder.path);
    assert_int_equal(encode(t, "x!!", ids), 3);
    assert_int_equal(ids[2], 0);
    assert_int_equal(ids[3], 0);
    assert_int_equal(ids[DR_TOKENS - 1], 0);
    dr_tokenizer_close(t);
}

static void long_prompts_are_cut_and_counted(void **state)
{
    dr_tokenizer *t = open_folder(golden_path("models/sd1/tokenizer"));
    char text[2 * 100 + 1] = "";
    int32_t ids[DR_TOKENS], short_ids[DR_TOKENS];
    (void)state;

    for (int i = 0; i < 100; i++)
        strcat(text, "1 ");
    assert_int_equal(encode(t, text, ids), 100);
    encode(t, "1", short_ids);
    assert_int_equal(ids[0], short_ids[0]);
    for (int i = 1; i < DR_TOKENS - 1; i++)
        assert_int_equal(ids[i], short_ids[1]);
    assert_int_equal(ids[DR_TOKENS - 1], short_ids[2]);
    dr_tokenizer_close(t);
}

static void bad_prompts_are_refused(void **state)
{
    static const struct {
        const char *text;
        size_t bytes, at;
    } cases[] = {
        { "ab\xff", 3, 2 },              /* never a byte of UTF-8 */
        { "ab\xc3", 3, 2 },              /* cut off */
        { "\xc0\x80", 2, 0 },            /* longer than needed */
        { "a\xed\xa0\x80", 4, 1 },       /* a surrogate */
        { "ok \xf4\x90\x80\x80", 7, 3 }, /* above U+10FFFF */
        { "x\x80y", 3, 1 },              /* a continuation without a beginning */
    };
    dr_tokenizer *t = open_folder(golden_path("models/sd1/tokenizer"));
    static char text[DR_PROMPT_BYTES_MAX + 1];
    int32_t ids[DR_TOKENS];
    char offset[32];
    dr_error err;
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(dr_tokenizer_encode(t, cases[i].text, cases[i].bytes, ids, NULL, &err), DR_EINVAL);
        snprintf(offset, sizeof(offset), "at byte %zu", cases[i].at);
        assert_non_null(strstr(err.text, offset));
    }
    memset(text, 'x', sizeof(text));
    assert_int_equal(dr_tokenizer_encode(t, text, sizeof(text), ids, NULL, &err), DR_EINVAL);
    assert_int_equal(dr_tokenizer_encode(t, text, sizeof(text) - 1, ids, NULL, &err), DR_OK);
    assert_int_equal(dr_tokenizer_encode(t, NULL, 0, ids, NULL, &err), DR_OK);
    dr_tokenizer_close(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_are_the_references),
        cmocka_unit_test(bad_files_are_refused),
        cmocka_unit_test(bad_tokenizer_jsons_are_refused),
        cmocka_unit_test(bad_settings_are_refused),
        cmocka_unit_test(folders_without_settings_are_clips),
        cmocka_unit_test(a_pair_that_is_gone_is_not_merged),
        cmocka_unit_test(listed_tokens_win),
        cmocka_unit_test(long_prompts_are_cut_and_counted),
        cmocka_unit_test(bad_prompts_are_refused),
    };
    return cmocka_run_group_tests_name("tokenizer", tests, open_small, close_small);
}

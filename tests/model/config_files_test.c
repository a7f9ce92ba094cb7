/* Configs as files: a file that is no JSON object, or is too large, is refused with a line that names the
 * file and says what is wrong with it. */
#include "tests/model/config_cases.h"

static reader *const READERS[] = { read_unet, read_vae, read_text_encoder, read_sampler };

static void what_is_not_an_object_is_refused(void **state)
{
    static const bad_config cases[] = {
        { "", DR_EFORMAT, "empty" },
        { "[]", DR_EFORMAT, "not a JSON object" },
        { "null", DR_EFORMAT, "line 1" },
        { "{", DR_EFORMAT, "line 1" },
        { "{}{}", DR_EFORMAT, "line 1" },
        { "{\"a\":nan}", DR_EFORMAT, "line 1" },
        { "{\"a\":-NaN}", DR_EFORMAT, "line 1" },
        { "{\"a\":+Infinity}", DR_EFORMAT, "line 1" },
        { "{\"a\":-inf}", DR_EFORMAT, "line 1" },
        { "{\"a\":0x1p9999}", DR_EFORMAT, "line 1" },
        { "{\"a\":1e999e}", DR_EFORMAT, "line 1" },
        { "{\"a\":--99999999999999999999}", DR_EFORMAT, "line 1" },
        { "version https://git-lfs.github.com/spec/v1\noid sha256:1", DR_EFORMAT,
          "this is a git-lfs pointer" },
        { "<html>", DR_EFORMAT, "this is a web page" },
        { "{\"a\":\"\xc3\x28\"}", DR_EFORMAT, "line 1" },
        { "{\"a\\u0000b\":1}", DR_EFORMAT, "line 1" },
        { "{\"a\":\"-Infinity", DR_EFORMAT, "line 1" },
        { "{\"a\":\"\\", DR_EFORMAT, "line 1" },
    };
    enum { DEPTH = 100000 };
    char *deep = malloc(DEPTH + 1);
    const bad_config deep_case = { deep, DR_EFORMAT, "depth" };
    (void)state;

    memset(deep, '[', DEPTH);
    deep[DEPTH] = '\0';
    for (size_t i = 0; i < sizeof(READERS) / sizeof(READERS[0]); i++) {
        refuse_all(READERS[i], cases, sizeof(cases) / sizeof(cases[0]));
        refuse_all(READERS[i], &deep_case, 1);
    }
    free(deep);
}

/* Numbers that only Python's json module knows, in keys that nothing reads.  Of a key that is there twice,
 * the last value counts. */
static void configs_are_read_as_python_wrote_them(void **state)
{
    static const char text[] =
        "{\"a\":Infinity,\"b\":[-Infinity,NaN,1e999,-1e999,1E+400],\"c\":1000000000000000019884624838656,"
        "\"d\":-9223372036854775809,\"e\":\"NaN Infinity 1e999 \\\" "
        "99999999999999999999\",\"f\":9223372036854775807,"
        "\"norm_eps\":NaN,\"norm_eps\":1e-4,\"layers_per_block\":9,\"layers_per_block\":3}";
    static const bad_config cases[] = {
        { "{\"norm_eps\":NaN}", DR_EFORMAT, "norm_eps is \"NaN\"; a number" },
        { "{\"norm_eps\":1e999}", DR_EFORMAT, "norm_eps is \"Infinity\"; a number" },
        { "{\"freq_shift\":-Infinity}", DR_EFORMAT, "freq_shift is \"-Infinity\"; a number" },
        { "{\"in_channels\":18446744073709551620}", DR_EFORMAT, "in_channels is 1.84467e19; a whole number" },
        { "{\"in_channels\":4,\"in_channels\":0}", DR_EFORMAT, "in_channels is 0; " },
        { "{\"upcast_attention\":NaN}", DR_EFORMAT, "true, false or null" },
    };
    dr_unet_config u;
    dr_error err;
    (void)state;

    if (dr_unet_config_read(&u, write_text("config.json", text), &err))
        fail_msg("%s", err.text);
    assert_true(u.norm_eps == 1e-4f);
    assert_int_equal(u.layers_per_block[0], 3);
    refuse_all(read_unet, cases, sizeof(cases) / sizeof(cases[0]));
}

/* PowerShell's ">" writes UTF-16, and some editors a byte order mark.  Python refuses both as well. */
static void other_encodings_are_named(void **state)
{
    static const struct {
        const char *bytes;
        size_t count;
        const char *mentions;
    } cases[] = {
        { "\xff\xfe{\0}\0", 6, "this is text in UTF-16" },
        { "\xfe\xff\0{\0}", 6, "this is text in UTF-16" },
        { "{\0}\0", 4, "this is text in UTF-16" },
        { "\0{\0}", 4, "this is text in UTF-16" },
        { "\r\0\n\0{\0}\0", 8, "this is text in UTF-16" },
        { "\xff\xfe\0\0{\0\0\0}\0\0\0", 12, "this is text in UTF-32" },
        { "\xef\xbb\xbf{}", 5, "this is text that begins with a byte order mark" },
        { "{\0", 2, "line 1" }, /* one letter is no text */
    };
    dr_error err;
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *path = temp_write(&folder, "config.json", cases[i].bytes, cases[i].count);
        assert_int_equal(read_unet(path, &err), DR_EFORMAT);
        assert_mentions(&err, path);
        assert_mentions(&err, cases[i].mentions);
    }
}

/* The number of values bounds the memory for parsing: an empty list has two bytes and takes a hundred. */
static void too_many_values_are_refused(void **state)
{
    enum { LISTS = (1 << 20) + 1 };
    char *text = malloc(16 + 3 * LISTS), *at = text;
    bad_config one = { text, DR_EFORMAT, "more than 1048576 values" };
    (void)state;

    assert_non_null(text);
    at = stpcpy(at, "{\"a\":[");
    for (int i = 0; i < LISTS; i++)
        at = stpcpy(at, i ? ",[]" : "[]");
    strcpy(at, "]}");
    refuse_all(read_unet, &one, 1);
    free(text);
}

static void files_that_are_no_configs_are_refused(void **state)
{
    enum { TOO_LARGE = (16 << 20) + 1 };
    char *spaces = malloc(TOO_LARGE);
    const char *path;
    dr_error err;
    (void)state;

    memset(spaces, ' ', TOO_LARGE);
    path = temp_write(&folder, "large.json", spaces, TOO_LARGE);
    free(spaces);
    assert_int_equal(read_unet(path, &err), DR_EFORMAT);
    assert_mentions(&err, path);
    assert_mentions(&err, "at most 16777216");
    assert_int_equal(mkdir(temp_path(&folder, "folder.json"), 0755), 0);
    assert_int_equal(read_unet(folder.file, &err), DR_EFORMAT);
    assert_mentions(&err, folder.file);
    assert_int_equal(read_unet(temp_path(&folder, "absent.json"), &err), DR_ENOTFOUND);
    assert_mentions(&err, folder.file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_an_object_is_refused),
        cmocka_unit_test(configs_are_read_as_python_wrote_them),
        cmocka_unit_test(other_encodings_are_named),
        cmocka_unit_test(too_many_values_are_refused),
        cmocka_unit_test(files_that_are_no_configs_are_refused),
    };
    return cmocka_run_group_tests_name("config_files", tests, open_temp, close_temp);
}

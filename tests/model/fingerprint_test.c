/* A fingerprint depends on a model's configs, tokenizer and tensors, and on nothing else. */
#include "model/fingerprint.h"

#include "tests/support/temp_folder.h"

#define MODELS "tests/goldens/models/"

TEMP_FOLDER_OF_GROUP(folder)

/* The fingerprint of the configs in `configs` with the parts' weights in `weights`. */
static void fingerprint(char hex[DR_FINGERPRINT_SIZE], const char *configs, const char *weights)
{
    static const char *const names[] = { "text_encoder", "unet", "vae" };
    dr_weights *parts[3];
    char path[PATH_MAX];
    dr_error err;

    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof(path), "%s/%s", weights, names[i]);
        if (dr_weights_open(&parts[i], path, &err))
            fail_msg("%s", err.text);
    }
    if (dr_fingerprint(hex, configs, parts[0], parts[1], parts[2], &err))
        fail_msg("%s", err.text);
    assert_int_equal(strspn(hex, "0123456789abcdef"), 64);
    for (int i = 0; i < 3; i++)
        dr_weights_close(parts[i]);
}

static void each_model_has_its_own(void **state)
{
    static const char *const models[] = { MODELS "sd1", MODELS "sd2", MODELS "inpaint", MODELS "upscale" };
    char hex[4][DR_FINGERPRINT_SIZE], again[DR_FINGERPRINT_SIZE];
    (void)state;

    for (int i = 0; i < 4; i++) {
        fingerprint(hex[i], models[i], models[i]);
        for (int j = 0; j < i; j++)
            assert_string_not_equal(hex[i], hex[j]);
    }
    fingerprint(again, models[0], models[0]);
    assert_string_equal(again, hex[0]);
}

static void every_config_counts(void **state)
{
    static const char *const names[] = {
        "model_index.json",
        "unet/config.json",
        "scheduler/scheduler_config.json",
        "tokenizer/merges.txt",
    };
    char before[DR_FINGERPRINT_SIZE], after[DR_FINGERPRINT_SIZE];
    (void)state;

    fingerprint(before, folder.path, MODELS "sd1"); /* no file at all */
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        temp_write(&folder, names[i], "{}", 2);
        fingerprint(after, folder.path, MODELS "sd1");
        assert_string_not_equal(before, after);
        temp_write(&folder, names[i], "[]", 2);
        fingerprint(before, folder.path, MODELS "sd1");
        assert_string_not_equal(before, after);
    }
}

/* One part as text: tensor a of 3 * 4 KiB, so that there is a middle that is not read. */
static void write_part(const char *part, const char *name, const char *dtype, const char *shape, int place,
                       int value)
{
    enum { DATA_BYTES = 3 * 4096 };
    static unsigned char file[DATA_BYTES + 256];
    char header[200], path[80];
    const int bytes =
        snprintf(header, sizeof(header), "{\"%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[0,%d]}}",
                 name, dtype, shape, DATA_BYTES);

    memset(file, 0, sizeof(file));
    memcpy(file, &(uint64_t){ (uint64_t)bytes }, 8);
    memcpy(file + 8, header, (size_t)bytes);
    file[8 + bytes + place] = (unsigned char)value;
    snprintf(path, sizeof(path), "w/%s/model.safetensors", part);
    temp_write(&folder, path, file, (size_t)(8 + bytes + DATA_BYTES));
}

static void every_tensor_counts(void **state)
{
    static const struct {
        const char *part, *name, *dtype, *shape;
        int place;
    } changes[] = {
        { "unet", "b", "F32", "[3072]", 0 },     { "vae", "a", "I32", "[3072]", 0 },
        { "vae", "a", "F32", "[1,3072]", 0 },    { "text_encoder", "a", "F32", "[3072]", 4095 },
        { "unet", "a", "F32", "[3072]", 12287 }, { "unet", "a", "F32", "[3072]", 8192 },
    };
    char weights[80], plain[DR_FINGERPRINT_SIZE], changed[DR_FINGERPRINT_SIZE];
    (void)state;

    snprintf(weights, sizeof(weights), "%s/w", folder.path);
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        write_part("text_encoder", "a", "F32", "[3072]", 0, 0);
        write_part("unet", "a", "F32", "[3072]", 0, 0);
        write_part("vae", "a", "F32", "[3072]", 0, 0);
        fingerprint(plain, MODELS "sd1", weights);
        write_part(changes[i].part, changes[i].name, changes[i].dtype, changes[i].shape, changes[i].place,
                   changes[i].place > 0);
        fingerprint(changed, MODELS "sd1", weights);
        assert_string_not_equal(plain, changed);
    }
}

static void random_weights_are_known_by_their_seed(void **state)
{
    char hex[2][DR_FINGERPRINT_SIZE];
    dr_error err;
    (void)state;

    for (uint64_t seed = 0; seed < 2; seed++) {
        dr_weights *w;
        assert_int_equal(dr_weights_open_random(&w, seed, &err), DR_OK);
        assert_int_equal(dr_fingerprint(hex[seed], MODELS "sd1", w, w, w, &err), DR_OK);
        dr_weights_close(w);
    }
    assert_string_not_equal(hex[0], hex[1]);
}

static void an_unreadable_config_is_an_error(void **state)
{
    char hex[DR_FINGERPRINT_SIZE] = "x", configs[80];
    dr_weights *w;
    dr_error err;
    (void)state;

    temp_write(&folder, "odd/unet/config.json/file", "", 0); /* a folder of that name */
    snprintf(configs, sizeof(configs), "%s/odd", folder.path);
    assert_int_equal(dr_weights_open_random(&w, 1, &err), DR_OK);
    assert_int_equal(dr_fingerprint(hex, configs, w, w, w, &err), DR_EFORMAT);
    assert_non_null(strstr(err.text, "odd/unet/config.json"));
    assert_string_equal(hex, "");
    dr_weights_close(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_model_has_its_own, open_temp, close_temp),
        cmocka_unit_test_setup_teardown(every_config_counts, open_temp, close_temp),
        cmocka_unit_test_setup_teardown(every_tensor_counts, open_temp, close_temp),
        cmocka_unit_test_setup_teardown(random_weights_are_known_by_their_seed, open_temp, close_temp),
        cmocka_unit_test_setup_teardown(an_unreadable_config_is_an_error, open_temp, close_temp),
    };
    return cmocka_run_group_tests_name("fingerprint", tests, NULL, NULL);
}

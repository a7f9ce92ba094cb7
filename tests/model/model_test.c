/* Model folders that are wrong: if a file is missing or cut, or contradicts another one, opening says
 * which file, key or tensor it is, and leaves nothing behind.
 *
 * Single files have their own tests (weights_test, config_test, tokenizer_test).  Here are faults of whole
 * folders.  Run from the repository's root. */

#include "base/input_file.h"
#include "model/loader.h"
#include "model/model.h"
#include "tests/support/machines.h"
#include "tests/support/temp_folder.h"

#include <darkroom/darkroom.h>

#include <math.h>

static temp_folder folder;
static dr_device *device;

static const char *const files[] = {
    "model_index.json",
    "text_encoder/config.json",
    "text_encoder/model.safetensors",
    "unet/config.json",
    "unet/diffusion_pytorch_model.safetensors",
    "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors",
    "scheduler/scheduler_config.json",
    "tokenizer/vocab.json",
    "tokenizer/merges.txt",
    "tokenizer/tokenizer_config.json",
    "tokenizer/special_tokens_map.json",
};
enum { FILES = sizeof(files) / sizeof(files[0]) };

/* Files that a folder may lack. */
static bool is_optional(const char *file)
{
    return strstr(file, "tokenizer_config") || strstr(file, "special_tokens_map");
}

static const char *copy_of(const char *file)
{
    static char name[128];

    snprintf(name, sizeof(name), "model/%s", file);
    return name;
}

static dr_input_content original(const char *file)
{
    char path[128];
    dr_input_content f;
    dr_error err;

    snprintf(path, sizeof(path), "tests/goldens/models/sd1/%s", file);
    if (dr_input_content_read(&f, path, SIZE_MAX, &err))
        fail_msg("%s", err.text);
    return f;
}

static int copy_model(void **state)
{
    (void)state;
    temp_open(&folder);
    for (int i = 0; i < FILES; i++) {
        dr_input_content f = original(files[i]);

        temp_write(&folder, copy_of(files[i]), f.data, f.bytes);
        dr_input_content_free(&f);
    }
    return 0;
}

static int remove_model(void **state)
{
    (void)state;
    temp_close(&folder);
    return 0;
}

static dr_status open_copy(dr_model **model, dr_error *err)
{
    const dr_status rc = dr_model_open(model, device, temp_path(&folder, "model"), err);

    assert_int_equal(*model == NULL, rc != DR_OK);
    return rc;
}

static void refused(dr_status status, const char *says)
{
    dr_model *model;
    dr_error err;
    const dr_status rc = open_copy(&model, &err);

    if (rc != status || !strstr(err.text, says))
        fail_msg("%s instead of %s with \"%s\": %s", dr_status_name(rc), dr_status_name(status), says,
                 err.text);
    assert_false(err.retriable); /* it will be the same tomorrow */
    assert_null(strchr(err.text, '\n'));
}

static void accepted(void)
{
    dr_model *model;
    dr_error err;

    if (open_copy(&model, &err))
        fail_msg("%s", err.text);
    dr_model_close(model);
}

static void every_missing_file_is_named(void **state)
{
    (void)state;
    for (int i = 0; i < FILES; i++) {
        char away[PATH_MAX];
        const char *slash = strchr(files[i], '/');
        char part[32] = "";

        snprintf(away, sizeof(away), "%s/away", folder.path);
        assert_int_equal(rename(temp_path(&folder, copy_of(files[i])), away), 0);
        if (slash)
            snprintf(part, sizeof(part), "/%.*s", (int)(slash - files[i]), files[i]);
        if (is_optional(files[i]))
            accepted();
        else /* weights have many names: then it is the folder that is named */
            refused(DR_ENOTFOUND, strstr(files[i], ".safetensors") ? part : files[i]);
        assert_int_equal(rename(away, temp_path(&folder, copy_of(files[i]))), 0);
    }
    accepted();
}

static void every_cut_file_is_named(void **state)
{
    (void)state;
    for (int i = 0; i < FILES; i++) {
        dr_input_content f = original(files[i]);

        temp_write(&folder, copy_of(files[i]), f.data, f.bytes / 2);
        if (!strstr(files[i], "merges.txt")) /* half of them is a list of merges as well */
            refused(DR_EFORMAT, files[i]);
        temp_write(&folder, copy_of(files[i]), f.data, 0);
        refused(DR_EFORMAT, files[i]);
        temp_write(&folder, copy_of(files[i]), f.data, f.bytes);
        dr_input_content_free(&f);
    }
}

/* Replace `from` by `to` in the file. */
static void change(const char *file, const char *from, const char *to)
{
    dr_input_content f = original(file);
    const char *text = (const char *)f.data, *at = memmem(text, f.bytes, from, strlen(from));
    const size_t before = at ? (size_t)(at - text) : 0, after = f.bytes - before - strlen(from);
    char *changed = malloc(f.bytes + strlen(to));

    if (!at)
        fail_msg("%s does not say %s", file, from);
    memcpy(changed, text, before);
    memcpy(changed + before, to, strlen(to));
    memcpy(changed + before + strlen(to), at + strlen(from), after);
    temp_write(&folder, copy_of(file), changed, before + strlen(to) + after);
    free(changed);
    dr_input_content_free(&f);
}

static void configs_that_contradict_are_refused(void **state)
{
    static const struct {
        const char *file, *from, *to;
        dr_status status;
        const char *says;
    } cases[] = {
        /* the weights are of another width, or have no such layer */
        { "unet/config.json", "    27\n", "    30\n", DR_EFORMAT,
          "tensor 'down_blocks.3.resnets.0.conv1.weight' has shape [27, 21, 3, 3]; the config asks for [30" },
        { "unet/config.json", "\"layers_per_block\": 2", "\"layers_per_block\": 3", DR_ENOTFOUND,
          "no tensor 'down_blocks.0.resnets.2.norm1.weight'" },
        { "unet/config.json", "    9,\n", "    16383,\n", DR_EFORMAT,
          "tensor 'conv_in.weight' has shape [9, 4, 3, 3]; the config asks for [16383, 4, 3, 3]" },
        { "text_encoder/config.json", "\"intermediate_size\": 67", "\"intermediate_size\": 68", DR_EFORMAT,
          "mlp.fc1.weight' has shape [67, 33]" },
        { "text_encoder/config.json", "\"vocab_size\": 814", "\"vocab_size\": 1048576", DR_EFORMAT,
          "token_embedding.weight' has shape [814, 33]" },
        { "vae/config.json", "\"layers_per_block\": 2", "\"layers_per_block\": 64", DR_ENOTFOUND,
          "resnets.2" },
        /* one part's config and another's */
        { "text_encoder/config.json", "\"vocab_size\": 814", "\"vocab_size\": 813", DR_EFORMAT,
          "the tokenizer has token ids up to 813" },
        { "unet/config.json", "\"cross_attention_dim\": 33", "\"cross_attention_dim\": 36", DR_EFORMAT,
          "hidden_size is 33" },
        { "vae/config.json", "\"latent_channels\": 4", "\"latent_channels\": 8", DR_EFORMAT,
          "out_channels is 4" },
        /* more than there is room for */
        { "unet/config.json", "\"layers_per_block\": 2", "\"layers_per_block\": 64", DR_EUNSUPPORTED,
          "unet/config.json: layers_per_block is 64; this makes 260 skip connections" },
        { "unet/config.json", "\"in_channels\": 4", "\"in_channels\": -4", DR_EFORMAT, "in_channels is -4" },
        { "unet/config.json", "\"norm_num_groups\": 3", "\"norm_num_groups\": 0", DR_EFORMAT,
          "norm_num_groups is 0" },
        { "unet/config.json", "\"norm_eps\": 1e-05", "\"norm_eps\": NaN", DR_EFORMAT, "unet/config.json" },
        { "unet/config.json", "\"sample_size\": 64", "\"sample_size\": 100000", DR_EFORMAT,
          "sample_size is 100000" },
        /* classes that we don't know */
        { "model_index.json", "\"StableDiffusionPipeline\"", "\"StableDiffusionXLPipeline\"", DR_EUNSUPPORTED,
          "_class_name is \"StableDiffusionXLPipeline\"" },
        { "model_index.json", "\"CLIPTextModel\"", "\"T5EncoderModel\"", DR_EUNSUPPORTED, "T5EncoderModel" },
        { "model_index.json", "\"PNDMScheduler\"", "\"FlowMatchScheduler\"", DR_EUNSUPPORTED,
          "FlowMatchScheduler" },
        /* tensors of a dtype that is no float */
        { "vae/diffusion_pytorch_model.safetensors", "\"F32\"", "\"I32\"", DR_EUNSUPPORTED, "is I32" },
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        change(cases[i].file, cases[i].from, cases[i].to);
        refused(cases[i].status, cases[i].says);
        change(cases[i].file, cases[i].from, cases[i].from);
    }
    accepted();
}

/* --- a grown vocabulary ----------------------------------------------------------------------- */

/* Copy the text encoder's weights, with one row more in the token embedding: a copy of the row of token
 * `like`. */
static void grow_embedding(int like)
{
    static const char EMBEDDING[] = "text_model.embeddings.token_embedding.weight";
    char folder_path[128], *header = calloc(1, 1 << 16), *at = header + 8;
    unsigned char *data = calloc(1, 1 << 22);
    size_t used = 0, header_bytes;
    dr_weights *w;
    dr_error err;

    snprintf(folder_path, sizeof(folder_path), "%s/model/text_encoder", folder.path);
    if (dr_weights_open(&w, folder_path, &err))
        fail_msg("%s", err.text);
    for (size_t i = 0; i < dr_weights_count(w); i++) {
        const char *name = dr_weights_name(w, i);
        const size_t begin = used;
        dr_weight_info info;

        assert_true(dr_weights_find(w, name, &info));
        assert_int_equal(dr_weights_read_bytes(w, name, 0, data + used, info.bytes, &err), DR_OK);
        used += info.bytes;
        if (!strcmp(name, EMBEDDING)) {
            const size_t row = info.bytes / (size_t)info.shape[0]++;

            memcpy(data + used, data + begin + (size_t)like * row, row);
            used += row;
        }
        at += sprintf(at, "%c\"%s\":{\"dtype\":\"%s\",\"shape\":[", i ? ',' : '{', name, info.dtype_name);
        for (int d = 0; d < info.dims; d++)
            at += sprintf(at, "%s%lld", d ? "," : "", (long long)info.shape[d]);
        at += sprintf(at, "],\"data_offsets\":[%zu,%zu]}", begin, used);
    }
    *at++ = '}';
    dr_weights_close(w);
    header_bytes = (size_t)(at - header) - 8;
    memcpy(header, &(uint64_t){ header_bytes }, 8);
    header = realloc(header, 8 + header_bytes + used);
    memcpy(header + 8 + header_bytes, data, used);
    temp_write(&folder, copy_of("text_encoder/model.safetensors"), header, 8 + header_bytes + used);
    free(header);
    free(data);
}

static void draw(dr_model *model, const char *prompt, uint8_t rgb[64 * 64 * 3])
{
    const dr_text_to_image request = {
        .prompt = prompt, .prompt_bytes = strlen(prompt), .steps = 2, .guidance_scale = 7.5f, .seed = 7
    };
    dr_error err;
    dr_run *run;
    int sample;

    if (dr_run_open(&run, model, &(dr_run_options){ .width = 64, .height = 64, .samples_max = 1 }, &err) ||
        dr_run_add(run, &request, &sample, &err) || dr_run_step(run, &err) || dr_run_step(run, &err) ||
        dr_run_step(run, &err) || dr_run_picture_and_drop(run, sample, rgb, &err))
        fail_msg("%s", err.text);
    dr_run_close(run);
}

/* A new token uses the new row of the embedding.  Here it is the row of "the", so the picture is that of
 * "the", too. */
static void a_new_token_has_a_row_of_its_own(void **state)
{
    static uint8_t thing[64 * 64 * 3], toy[64 * 64 * 3], other[64 * 64 * 3];
    int32_t ids[DR_TOKENS];
    dr_tokenizer *tokenizer;
    char tokens[128];
    dr_model *model;
    dr_error err;
    (void)state;

    snprintf(tokens, sizeof(tokens), "%s/model/tokenizer", folder.path);
    assert_int_equal(dr_tokenizer_open(&tokenizer, tokens, &err), DR_OK);
    assert_int_equal(dr_tokenizer_encode(tokenizer, "the", 3, ids, NULL, &err), DR_OK);
    dr_tokenizer_close(tokenizer);
    temp_write(&folder, copy_of("tokenizer/added_tokens.json"), "{\"<cat-toy>\": 814}", 18);
    refused(DR_EFORMAT, "the tokenizer has token ids up to 814, but the text encoder's vocab_size is 814");
    grow_embedding(ids[1]);
    change("text_encoder/config.json", "\"vocab_size\": 814", "\"vocab_size\": 815");
    if (open_copy(&model, &err))
        fail_msg("%s", err.text);
    draw(model, "in the inn", thing);
    draw(model, "in <cat-toy> inn", toy);
    draw(model, "in a inn", other);
    assert_memory_equal(thing, toy, sizeof(thing));
    assert_memory_not_equal(thing, other, sizeof(thing));
    dr_model_close(model);
}

/* The weights are open and checked when the file is cut: this load fails, and the process goes on. */
static void weights_cut_while_they_load_fail_the_load(void **state)
{
    char unet[128], config_path[160];
    dr_loader_state loading = { .device = device };
    const dr_loader root = dr_loader_root(&loading);
    dr_unet_config config;
    dr_weights *weights;
    struct stat st;
    dr_error err;
    (void)state;

    snprintf(unet, sizeof(unet), "%s/model/unet", folder.path);
    snprintf(config_path, sizeof(config_path), "%s/config.json", unet);
    if (dr_unet_config_read(&config, config_path, &err) || dr_weights_open(&weights, unet, &err))
        fail_msg("%s", err.text);
    loading.weights = weights;
    temp_path(&folder, copy_of("unet/diffusion_pytorch_model.safetensors"));
    assert_int_equal(stat(folder.file, &st), 0);
    assert_int_equal(truncate(folder.file, st.st_size / 2), 0);
    assert_null(dr_unet_load(&root, &config));
    assert_int_equal(loading.error.status, DR_EIO);
    assert_true(loading.error.retriable);
    assert_non_null(strstr(loading.error.text, "unet/diffusion_pytorch_model.safetensors: the file had "));
    dr_loader_finish(&loading);
    dr_weights_close(weights);
}

/* Weights that are infinite are loaded as they are.  The picture then has no finite values, and is
 * refused: it is not drawn black. */
static void weights_that_are_not_numbers_make_no_picture(void **state)
{
    dr_input_content f = original("unet/diffusion_pytorch_model.safetensors");
    unsigned char *poisoned = malloc(f.bytes);
    static uint8_t rgb[64 * 64 * 3];
    dr_error err = { .text = "" };
    dr_model *model;
    dr_run *run;
    int sample;
    (void)state;

    memcpy(poisoned, f.data, f.bytes);
    for (size_t at = f.bytes - 40000; at < f.bytes; at += 400) /* a multiple of 4 from the end */
        memcpy(poisoned + at, &(float){ NAN }, sizeof(float));
    temp_write(&folder, copy_of("unet/diffusion_pytorch_model.safetensors"), poisoned, f.bytes);
    assert_int_equal(open_copy(&model, &err), DR_OK);
    if (dr_run_open(&run, model, &(dr_run_options){ .width = 64, .height = 64, .samples_max = 1 }, &err) ||
        dr_run_add(run, &(dr_text_to_image){ .steps = 1, .guidance_scale = 7.5f }, &sample, &err) ||
        dr_run_step(run, &err))
        fail_msg("%s", err.text);
    assert_int_equal(dr_run_picture_and_drop(run, sample, rgb, &err), DR_EUNSUPPORTED);
    assert_non_null(strstr(err.text, "infinite or not a number"));
    dr_run_close(run);
    dr_model_close(model);
    free(poisoned);
    dr_input_content_free(&f);
}

/* Eleven resnets in each block make 48 skip connections, all alive at once.  With twelve the model would
 * be refused. */
static void the_most_skips_that_are_taken_can_be_run(void **state)
{
    static uint8_t rgb[64 * 64 * 3];
    dr_model *model;
    dr_run *run;
    dr_error err;
    int sample;
    (void)state;

    change("unet/config.json", "\"layers_per_block\": 2", "\"layers_per_block\": 12");
    assert_int_equal(dr_model_open_random(&model, device, temp_path(&folder, "model"), 1, &err),
                     DR_EUNSUPPORTED);
    change("unet/config.json", "\"layers_per_block\": 2", "\"layers_per_block\": 11");
    if (dr_model_open_random(&model, device, temp_path(&folder, "model"), 1, &err) ||
        dr_run_open(&run, model, &(dr_run_options){ .width = 64, .height = 64, .samples_max = 1 }, &err) ||
        dr_run_add(run, &(dr_text_to_image){ .steps = 1, .guidance_scale = 7.5f }, &sample, &err) ||
        dr_run_step(run, &err) || dr_run_picture_and_drop(run, sample, rgb, &err))
        fail_msg("%s", err.text);
    dr_run_close(run);
    dr_model_close(model);
}

static void impossible_devices_are_refused(void **state)
{
    static const struct {
        dr_device_options options;
        dr_status status;
        const char *says;
    } cases[] = {
        { { .name = "tpu" },
          DR_EINVAL,
          "no device 'tpu'; there are: auto, cpu, cuda:NUMBER; in the worker also null" },
        { { .name = "cpu", .threads = -1 }, DR_EINVAL, "threads -1" },
        { { .name = "cpu", .threads = 1000000000 }, DR_EINVAL, "threads 1000000000" },
        { { .name = "cpu", .isa = "mmx" }, DR_EUNSUPPORTED, "'mmx'" },
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        dr_device *none;
        dr_error err;

        assert_int_equal(dr_device_open(&none, &cases[i].options, &err), cases[i].status);
        assert_null(none);
        assert_non_null(strstr(err.text, cases[i].says));
    }
}

#define WITH_COPY(test) cmocka_unit_test_setup_teardown(test, copy_model, remove_model)

static int run(const machine *m)
{
    const struct CMUnitTest tests[] = {
        WITH_COPY(every_missing_file_is_named),
        WITH_COPY(every_cut_file_is_named),
        WITH_COPY(configs_that_contradict_are_refused),
        WITH_COPY(a_new_token_has_a_row_of_its_own),
        WITH_COPY(weights_cut_while_they_load_fail_the_load),
        WITH_COPY(weights_that_are_not_numbers_make_no_picture),
        WITH_COPY(the_most_skips_that_are_taken_can_be_run),
    };

    device = m->device;
    return cmocka_run_group_tests_name(m->name, tests, NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(impossible_devices_are_refused) };

    return on_each_machine(run) + cmocka_run_group_tests_name("model", tests, NULL, NULL);
}

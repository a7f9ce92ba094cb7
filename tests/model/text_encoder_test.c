/* The text encoder against the reference's, for the four small models.  The embedding of a prompt does not
 * depend on the other prompts of its batch.  Runs once for each instruction set of this machine. */
#include "model/text_encoder.h"

#include "tests/support/machines.h"
#include "tests/support/support.h"
#include "tests/support/temp_folder.h"

#include <stdlib.h>
#include <string.h>

static dr_device *device;
static double tolerance;

typedef struct encoding {
    const dr_text_encoder *encoder;
    const int32_t *ids; /* device */
    int n;
    dr_tensor out;
} encoding;

static void encode(dr_pass *p, void *context)
{
    encoding *e = context;
    dr_tensor hidden = dr_text_encoder_forward(p, e->encoder, e->ids, e->n);

    dr_scale(p, &(dr_scale_args){ .x = hidden, .y = e->out, .factor = 1 });
    dr_release(p, &hidden);
}

static dr_text_encoder_config config_of(const char *model)
{
    dr_text_encoder_config config;
    dr_error err = { 0 };

    if (dr_text_encoder_config_read(&config, golden_path("models/%s/text_encoder/config.json", model), &err))
        fail_msg("%s", err.text);
    return config;
}

static dr_text_encoder *load(const char *model)
{
    const dr_text_encoder_config config = config_of(model);
    part file;
    const dr_loader root = part_open(&file, device, model, "text_encoder");
    dr_text_encoder *encoder = dr_text_encoder_load(&root, &config);

    if (!encoder)
        fail_msg("%s", file.state.error.text);
    part_close(&file);
    return encoder;
}

/* The manifest's token ids, n * 77. */
static int32_t *read_ids(const json_t *rows)
{
    int32_t *ids = malloc(json_array_size(rows) * DR_TOKENS * sizeof(*ids));

    assert_non_null(ids);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);

        assert_int_equal(json_array_size(row), DR_TOKENS);
        for (size_t j = 0; j < DR_TOKENS; j++)
            ids[i * DR_TOKENS + j] = (int32_t)json_integer_value(json_array_get(row, j));
    }
    return ids;
}

static void embeddings_are_the_references(void **state)
{
    json_t *manifest = golden_json("stages.json");
    (void)state;

    for (int m = 0; m < GOLDEN_MODELS; m++) {
        const json_t *entry = json_object_get(manifest, golden_models[m]);
        const json_t *text = json_object_get(entry, "text"), *rows = json_object_get(text, "ids");
        dr_weights *goldens = golden_weights(json_string_value(json_object_get(entry, "file")));
        dr_text_encoder *encoder = load(golden_models[m]);
        encoding e = { .encoder = encoder, .n = (int)json_array_size(rows) };
        const int width = config_of(golden_models[m]).width;
        int32_t *ids = read_ids(rows), *device_ids;
        float *together, *alone;

        assert_true(e.n > 1);
        e.ids = device_ids = upload(device, ids, (size_t)e.n * DR_TOKENS * sizeof(*ids));
        e.out = device_tensor(device, e.n, 1, DR_TOKENS, width);
        run_pass(device, encode, &e);
        assert_golden(device, e.out, goldens, json_string_value(json_object_get(text, "hidden")), tolerance);

        together = download(device, e.out);
        e.ids = device_ids + DR_TOKENS;
        e.n = e.out.n = 1;
        starve_pass(device, encode, &e);
        run_pass(device, encode, &e);
        alone = download(device, e.out);
        assert_same_bits(alone, together + DR_TOKENS * width, (size_t)DR_TOKENS * (size_t)width,
                         "a prompt alone");

        free(together);
        free(alone);
        free(ids);
        dr_device_free(device, device_ids);
        dr_device_free(device, e.out.data);
        dr_text_encoder_free(encoder);
        dr_weights_close(goldens);
    }
    json_decref(manifest);
}

/* The golden file with `"` in place of every `"text_model.` in its header; spaces keep the header as long
 * as before. */
static const char *write_without_prefix(temp_folder *folder, const char *path)
{
    static const char prefix[] = "\"text_model.";
    FILE *f = fopen(path, "rb");
    char *file, *to, *header_end;
    const char *written;
    uint64_t header;
    long size;

    assert_non_null(f);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    size = ftell(f);
    rewind(f);
    file = malloc((size_t)size);
    assert_int_equal(fread(file, 1, (size_t)size, f), size);
    fclose(f);
    memcpy(&header, file, sizeof(header));
    header_end = file + 8 + header;
    to = file + 8;
    for (const char *from = to; from < header_end;) {
        const bool here = !strncmp(from, prefix, strlen(prefix));

        *to++ = *from;
        from += here ? strlen(prefix) : 1;
    }
    assert_true(to < header_end);
    memset(to, ' ', (size_t)(header_end - to));
    written = temp_write(folder, "model.safetensors", file, (size_t)size);
    free(file);
    return written;
}

static float *embeddings_of(const dr_text_encoder *encoder, int width)
{
    int32_t ids[DR_TOKENS];
    encoding e = { .encoder = encoder, .n = 1, .out = device_tensor(device, 1, 1, DR_TOKENS, width) };
    int32_t *device_ids;
    float *values;

    for (int i = 0; i < DR_TOKENS; i++)
        ids[i] = i * 5;
    e.ids = device_ids = upload(device, ids, sizeof(ids));
    run_pass(device, encode, &e);
    values = download(device, e.out);
    dr_device_free(device, device_ids);
    dr_device_free(device, e.out.data);
    return values;
}

/* As transformers 5 saves it. */
static void a_file_without_the_prefix_is_the_same(void **state)
{
    const dr_text_encoder_config config = config_of("sd1");
    dr_text_encoder *with = load("sd1"), *without;
    dr_loader_state loading = { .device = device };
    float *expected, *values;
    temp_folder folder;
    dr_weights *weights;
    dr_loader root;
    dr_error err;
    (void)state;

    temp_open(&folder);
    if (dr_weights_open_file(&weights,
                             write_without_prefix(&folder,
                                                  golden_path("models/sd1/text_encoder/model.safetensors")),
                             &err))
        fail_msg("%s", err.text);
    loading.weights = weights;
    root = dr_loader_root(&loading);
    without = dr_text_encoder_load(&root, &config);
    if (!without)
        fail_msg("%s", loading.error.text);
    expected = embeddings_of(with, config.width);
    values = embeddings_of(without, config.width);
    assert_same_bits(values, expected, (size_t)DR_TOKENS * (size_t)config.width, "embeddings");
    free(expected);
    free(values);
    dr_loader_finish(&loading);
    dr_weights_close(weights);
    dr_text_encoder_free(with);
    dr_text_encoder_free(without);
    temp_close(&folder);
}

static void refused(const dr_text_encoder_config *config, const char *tensor)
{
    part file;
    const dr_loader root = part_open(&file, device, "sd1", "text_encoder");

    assert_null(dr_text_encoder_load(&root, config));
    assert_non_null(strstr(file.state.error.text, "text_encoder/model.safetensors"));
    assert_non_null(strstr(file.state.error.text, tensor));
    part_close(&file);
}

static void files_that_do_not_fit_the_config_are_refused(void **state)
{
    dr_text_encoder_config config = config_of("sd1");
    (void)state;

    config.layers++;
    refused(&config, "text_model.encoder.layers.3.");
    config.layers--;
    config.intermediate++;
    refused(&config, "text_model.encoder.layers.0.mlp.fc1.weight");
    config.intermediate--;
    config.vocab_size--;
    refused(&config, "text_model.embeddings.token_embedding.weight");
}

static int run(const machine *m)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(embeddings_are_the_references),
        cmocka_unit_test(a_file_without_the_prefix_is_the_same),
        cmocka_unit_test(files_that_do_not_fit_the_config_are_refused),
    };

    device = m->device;
    tolerance = network_tolerance(m->isa);
    return cmocka_run_group_tests_name(m->name, tests, NULL, NULL);
}

int main(void)
{
    return on_each_machine(run);
}

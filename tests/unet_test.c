/* One UNet call against the reference's, for the four small models: three rows, each with its own prompt and
 * timestep.  A row's bits do not depend on the other rows, its place among them, or where its prompt
 * and timestep stand in the tables.  Once for each instruction set of this machine. */
#include "model/unet.h"

#include "tests/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static dr_device *device;
static double tolerance;

/* --- a UNet and its tables ---------------------------------------------------------- */

typedef struct rig {
    dr_unet_config config;
    dr_unet *unet;
    dr_weights *goldens;
    const json_t *cases; /* of the manifest */

    /* What one pass reads and writes: */
    dr_tensor prompt_embeds;
    dr_unet_context context;
    int first_row;
    dr_unet_time_args time;
    dr_unet_args step;
} rig;

static dr_unet_config config_of(const char *model)
{
    dr_unet_config config;
    dr_error err = { 0 };

    if (dr_unet_config_read(&config, golden_path("models/%s/unet/config.json", model), &err))
        fail_msg("%s", err.text);
    return config;
}

static void rig_open(rig *r, const char *model, const json_t *manifest)
{
    const json_t *entry = json_object_get(manifest, model);
    part file;
    const dr_loader root = part_open(&file, device, model, "unet");

    memset(r, 0, sizeof(*r));
    r->config = config_of(model);
    r->unet = dr_unet_load(&root, &r->config);
    if (!r->unet)
        fail_msg("%s", file.state.error.text);
    part_close(&file);
    r->goldens = golden_weights(json_string_value(json_object_get(entry, "file")));
    r->cases = json_object_get(entry, "unet");
    assert_true(json_array_size(r->cases) > 0);
}

static void rig_close(rig *r)
{
    dr_unet_free(r->unet);
    dr_weights_close(r->goldens);
}

static void play_context(dr_pass *p, void *context)
{
    const rig *r = context;

    dr_unet_context_forward(p, r->unet, r->prompt_embeds, &r->context, r->first_row);
}

static void play_time(dr_pass *p, void *context)
{
    const rig *r = context;

    dr_unet_time_forward(p, r->unet, &r->time);
}

static void play_step(dr_pass *p, void *context)
{
    const rig *r = context;

    dr_unet_forward(p, r->unet, &r->step);
}

/* --- rows of a case ------------------------------------------------------------------ */

enum { ROWS_MAX = 8 };

static int integer_at(const json_t *list, int i)
{
    assert_true(json_is_integer(json_array_get(list, (size_t)i)));
    return (int)json_integer_value(json_array_get(list, (size_t)i));
}

/* Copy pixel maps `rows` of t into a new tensor. */
static dr_tensor gather(dr_tensor t, const int *rows, int n)
{
    const dr_tensor out = device_tensor(device, n, t.h, t.w, t.c);
    const size_t floats = (size_t)t.h * (size_t)t.w * (size_t)t.c;
    float *all = download(device, t);
    dr_error err = { 0 };

    for (int i = 0; i < n; i++)
        assert_int_equal(dr_device_upload(device, (float *)out.data + (size_t)i * floats,
                                          all + (size_t)rows[i] * floats, floats * sizeof(*all), &err),
                         DR_OK);
    free(all);
    return out;
}

/* The prompts of the case's rows into the context, from first_row on. */
static void fill_context(rig *r, const json_t *test, const int *rows, int n)
{
    dr_tensor hidden = golden_tensor(device, r->goldens, "text.hidden");
    const size_t bytes = dr_unet_context_bytes(r->unet, r->context.rows);
    dr_error err = { 0 };
    int text_rows[ROWS_MAX];

    for (int i = 0; i < n; i++)
        text_rows[i] = integer_at(json_object_get(test, "text_rows"), rows[i]);
    r->prompt_embeds = gather(hidden, text_rows, n);
    r->context.data = dr_device_alloc(device, bytes, &err);
    assert_non_null(r->context.data);
    assert_int_equal(dr_device_zero(device, r->context.data, bytes, &err), DR_OK);
    run_pass(device, play_context, r);
    dr_device_free(device, hidden.data);
    dr_device_free(device, r->prompt_embeds.data);
}

static void fill_time_table(rig *r, const json_t *test, const int *rows, int n)
{
    const size_t bytes = (size_t)n * (size_t)dr_unet_time_channels(r->unet) * sizeof(float);
    const json_t *labels = json_object_get(test, "class_labels");
    float timesteps[ROWS_MAX];
    int32_t classes[ROWS_MAX];
    dr_error err = { 0 };

    for (int i = 0; i < n; i++) {
        timesteps[i] =
            (float)json_number_value(json_array_get(json_object_get(test, "timesteps"), (size_t)rows[i]));
        classes[i] = json_is_array(labels) ? integer_at(labels, rows[i]) : 0;
    }
    r->time = (dr_unet_time_args){ .timesteps = upload(device, timesteps, sizeof(timesteps)), .n = n };
    if (json_is_array(labels))
        r->time.classes = upload(device, classes, sizeof(classes));
    r->time.table = dr_device_alloc(device, bytes, &err);
    assert_non_null(r->time.table);
    run_pass(device, play_time, r);
    dr_device_free(device, (void *)r->time.timesteps);
    dr_device_free(device, (void *)r->time.classes);
}

/* Run the given rows of a golden case as one batch, whose tables have `spare` unused rows in front; the
 * output is the caller's. */
static dr_tensor run_rows(rig *r, const json_t *test, const int *rows, int n, int spare)
{
    dr_tensor sample = golden_tensor(device, r->goldens, json_string_value(json_object_get(test, "sample")));
    int32_t context_row[ROWS_MAX], time_row[ROWS_MAX];

    assert_true(n <= ROWS_MAX);
    for (int i = 0; i < n; i++) {
        context_row[i] = spare + i;
        time_row[i] = i;
    }
    r->context.rows = spare + n;
    r->first_row = spare;
    fill_context(r, test, rows, n);
    fill_time_table(r, test, rows, n);
    r->step = (dr_unet_args){
        .x = gather(sample, rows, n),
        .out = device_tensor(device, n, sample.h, sample.w, r->config.out_channels),
        .context = &r->context,
        .context_row = upload(device, context_row, sizeof(context_row)),
        .time_table = r->time.table,
        .time_row = upload(device, time_row, sizeof(time_row)),
    };
    run_pass(device, play_step, r);
    dr_device_free(device, sample.data);
    dr_device_free(device, r->step.x.data);
    dr_device_free(device, r->context.data);
    dr_device_free(device, r->time.table);
    dr_device_free(device, (void *)r->step.context_row);
    dr_device_free(device, (void *)r->step.time_row);
    return r->step.out;
}

/* --- tests --------------------------------------------------------------------------- */

static void one_step_is_the_references(void **state)
{
    static const int rows[] = { 0, 1, 2 };
    json_t *manifest = golden_json("stages.json");
    rig r;
    (void)state;

    for (int m = 0; m < GOLDEN_MODELS; m++) {
        rig_open(&r, golden_models[m], manifest);
        for (size_t i = 0; i < json_array_size(r.cases); i++) {
            const json_t *test = json_array_get(r.cases, i);
            const dr_tensor out = run_rows(&r, test, rows, 3, 0);

            assert_golden(device, out, r.goldens, json_string_value(json_object_get(test, "out")), tolerance);
            dr_device_free(device, out.data);
        }
        rig_close(&r);
    }
    json_decref(manifest);
}

/* Each batch's rows, as indices of the case's rows, against the same rows of the whole case. */
static void a_row_does_not_see_its_batch(void **state)
{
    static const struct {
        int n, rows[ROWS_MAX], spare;
    } batches[] = {
        { 1, { 0 }, 0 },
        { 1, { 2 }, 3 },
        { 2, { 2, 0 }, 1 },
        { 7, { 1, 1, 0, 2, 2, 0, 1 }, 0 },
    };
    static const int whole[] = { 0, 1, 2 };
    json_t *manifest = golden_json("stages.json");
    rig r;
    (void)state;

    for (int m = 0; m < GOLDEN_MODELS; m++) {
        rig_open(&r, golden_models[m], manifest);
        const json_t *test = json_array_get(r.cases, json_array_size(r.cases) - 1);
        const dr_tensor reference = run_rows(&r, test, whole, 3, 0);
        float *wanted = download(device, reference);

        for (size_t b = 0; b < sizeof(batches) / sizeof(batches[0]); b++) {
            const dr_tensor out = run_rows(&r, test, batches[b].rows, batches[b].n, batches[b].spare);
            const size_t floats = (size_t)out.h * (size_t)out.w * (size_t)out.c;
            float *got = download(device, out);

            for (int i = 0; i < batches[b].n; i++)
                assert_same_bits(got + (size_t)i * floats, wanted + (size_t)batches[b].rows[i] * floats,
                                 floats, golden_models[m]);
            free(got);
            dr_device_free(device, out.data);
        }
        free(wanted);
        dr_device_free(device, reference.data);
        rig_close(&r);
    }
    json_decref(manifest);
}

/* No golden has a mid_block_type of null (as some distilled models do), uneven levels or deeper
 * transformers: here every concatenation must fit, and nothing unwritten be read. */
static void an_uneven_unet_without_a_middle_runs(void **state)
{
    dr_unet_config config = config_of("sd1");
    dr_loader_state loader = { .device = device };
    const dr_loader root = dr_loader_root(&loader);
    const int32_t rows[] = { 0, 0 };
    dr_weights *weights;
    dr_error err = { 0 };
    rig r = { .context = { .rows = 1 } };
    float *out;
    (void)state;

    config.mid_block = false;
    config.layers_per_block[0] = 1;
    config.layers_per_block[2] = 3;
    config.transformer_layers[1] = 2;
    assert_int_equal(dr_weights_open_random(&weights, 1, &err), DR_OK);
    loader.weights = weights;
    r.unet = dr_unet_load(&root, &config);
    if (!r.unet)
        fail_msg("%s", loader.error.text);
    r.context.data = device_tensor(device, 1, 1, 1, (int)dr_unet_context_bytes(r.unet, 1)).data;
    r.time.table = device_tensor(device, 1, 1, 1, dr_unet_time_channels(r.unet)).data;
    r.step = (dr_unet_args){
        .x = device_tensor(device, 2, 7, 9, config.in_channels),
        .out = device_tensor(device, 2, 7, 9, config.out_channels),
        .context = &r.context,
        .context_row = upload(device, rows, sizeof(rows)),
        .time_table = r.time.table,
        .time_row = upload(device, rows, sizeof(rows)),
    };
    starve_pass(device, play_step, &r);
    run_pass(device, play_step, &r);
    out = download(device, r.step.out);
    for (int i = 0; i < 2 * 7 * 9 * config.out_channels; i++)
        assert_true(isfinite(out[i]));

    free(out);
    dr_device_free(device, r.step.x.data);
    dr_device_free(device, r.step.out.data);
    dr_device_free(device, r.context.data);
    dr_device_free(device, r.time.table);
    dr_device_free(device, (void *)r.step.context_row);
    dr_device_free(device, (void *)r.step.time_row);
    dr_unet_free(r.unet);
    dr_loader_finish(&loader);
    dr_weights_close(weights);
}

static void refused(const dr_unet_config *config, const char *tensor)
{
    part file;
    const dr_loader root = part_open(&file, device, "sd1", "unet");

    assert_null(dr_unet_load(&root, config));
    assert_non_null(strstr(file.state.error.text, "unet/diffusion_pytorch_model.safetensors"));
    assert_non_null(strstr(file.state.error.text, tensor));
    part_close(&file);
}

static void files_that_do_not_fit_the_config_are_refused(void **state)
{
    const dr_unet_config config = config_of("sd1");
    dr_unet_config other = config;
    (void)state;

    other.class_embeddings = 1000;
    refused(&other, "class_embedding.weight");
    other = config;
    other.layers_per_block[1]++;
    refused(&other, "down_blocks.1.resnets.2.");
    other = config;
    other.cross_attention_dim++;
    refused(&other, "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight");
    other = config;
    other.in_channels = 9;
    refused(&other, "conv_in.weight");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_step_is_the_references),
        cmocka_unit_test(a_row_does_not_see_its_batch),
        cmocka_unit_test(an_uneven_unet_without_a_middle_runs),
        cmocka_unit_test(files_that_do_not_fit_the_config_are_refused),
    };
    int failed = 0;

    for (dr_isa isa = 0; isa < DR_ISAS; isa++) {
        device = open_isa(isa);
        if (!device)
            continue;
        tolerance = network_tolerance(isa);
        failed += cmocka_run_group_tests_name(dr_kernels_of(isa)->isa, tests, NULL, NULL);
        dr_device_close(device);
    }
    return failed;
}

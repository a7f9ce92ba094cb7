/* One call of the UNet against the reference's, for the four small models: three rows, each with a prompt
 * and timestep of its own.  The bits of a row do not depend on the other rows, on its place among them, on
 * whether another row is of the same sample, or on where its prompt and timestep are in the tables.  Runs
 * once for each instruction set of this machine. */
#include "model/unet.h"

#include "tests/support/machines.h"
#include "tests/support/support.h"

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

static void free_inputs(rig *r)
{
    dr_device_free(device, r->step.x.data);
    dr_device_free(device, r->context.data);
    dr_device_free(device, r->time.table);
    dr_device_free(device, (void *)r->step.x_row);
    dr_device_free(device, (void *)r->step.context_row);
    dr_device_free(device, (void *)r->step.time_row);
}

/* --- rows of a case ------------------------------------------------------------------ */

enum { ROWS_MAX = 8 };

/* Rows of a golden case, by their indices there. */
typedef struct batch {
    int n, row[ROWS_MAX]; /* whose latent and timestep each has */
    int prompt[ROWS_MAX]; /* whose prompt */
    int samples;          /* the first so many rows' latents are what the UNet gets */
    int spare;            /* rows of the context in front of these */
} batch;

static const batch whole = { .n = 3, .row = { 0, 1, 2 }, .prompt = { 0, 1, 2 }, .samples = 3 };

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

/* Write the batch's prompts into the context, from first_row on. */
static void fill_context(rig *r, const json_t *test, const batch *b)
{
    dr_tensor hidden = golden_tensor(device, r->goldens, "text.hidden");
    const size_t bytes = dr_unet_context_bytes(r->unet, r->context.rows);
    dr_error err = { 0 };
    int text_rows[ROWS_MAX];

    for (int i = 0; i < b->n; i++)
        text_rows[i] = integer_at(json_object_get(test, "text_rows"), b->prompt[i]);
    r->prompt_embeds = gather(hidden, text_rows, b->n);
    assert_int_equal(dr_device_alloc(&r->context.data, device, bytes, &err), DR_OK);
    assert_int_equal(dr_device_zero(device, r->context.data, bytes, &err), DR_OK);
    run_pass(device, play_context, r);
    dr_device_free(device, hidden.data);
    dr_device_free(device, r->prompt_embeds.data);
}

static void fill_time_table(rig *r, const json_t *test, const batch *b)
{
    const size_t bytes = (size_t)b->n * (size_t)dr_unet_time_channels(r->unet) * sizeof(float);
    const json_t *labels = json_object_get(test, "class_labels");
    float timesteps[ROWS_MAX];
    int32_t classes[ROWS_MAX];
    dr_error err = { 0 };
    void *table;

    for (int i = 0; i < b->n; i++) {
        timesteps[i] =
            (float)json_number_value(json_array_get(json_object_get(test, "timesteps"), (size_t)b->row[i]));
        classes[i] = json_is_array(labels) ? integer_at(labels, b->row[i]) : 0;
    }
    r->time = (dr_unet_time_args){ .timesteps = upload(device, timesteps, sizeof(timesteps)), .n = b->n };
    if (json_is_array(labels))
        r->time.classes = upload(device, classes, sizeof(classes));
    assert_int_equal(dr_device_alloc(&table, device, bytes, &err), DR_OK);
    r->time.table = table;
    run_pass(device, play_time, r);
    dr_device_free(device, (void *)r->time.timesteps);
    dr_device_free(device, (void *)r->time.classes);
}

/* The sample of row i of the batch: a new one, or that of an earlier row with the same latent and
 * timestep. */
static int sample_of(const batch *b, int i)
{
    int sample = i;

    if (i >= b->samples)
        for (sample = 0; b->row[sample] != b->row[i]; sample++)
            assert_true(sample < b->samples - 1);
    return sample;
}

/* The caller frees the output. */
static dr_tensor run_batch(rig *r, const json_t *test, const batch *b)
{
    dr_tensor sample = golden_tensor(device, r->goldens, json_string_value(json_object_get(test, "sample")));
    int32_t x_row[ROWS_MAX], context_row[ROWS_MAX], time_row[ROWS_MAX];

    for (int i = 0; i < b->n; i++) {
        x_row[i] = sample_of(b, i);
        context_row[i] = b->spare + i;
        time_row[i] = i;
    }
    r->context.rows = b->spare + b->n;
    r->first_row = b->spare;
    fill_context(r, test, b);
    fill_time_table(r, test, b);
    r->step = (dr_unet_args){
        .x = gather(sample, b->row, b->samples),
        .out = device_tensor(device, b->n, sample.h, sample.w, r->config.out_channels),
        .x_row = upload(device, x_row, sizeof(x_row)),
        .context = &r->context,
        .context_row = upload(device, context_row, sizeof(context_row)),
        .time_table = r->time.table,
        .time_row = upload(device, time_row, sizeof(time_row)),
    };
    run_pass(device, play_step, r);
    dr_device_free(device, sample.data);
    free_inputs(r);
    return r->step.out;
}

/* --- tests --------------------------------------------------------------------------- */

static void one_step_is_the_references(void **state)
{
    json_t *manifest = golden_json("stages.json");
    rig r;
    (void)state;

    for (int m = 0; m < GOLDEN_MODELS; m++) {
        rig_open(&r, golden_models[m], manifest);
        for (size_t i = 0; i < json_array_size(r.cases); i++) {
            const json_t *test = json_array_get(r.cases, i);
            const dr_tensor out = run_batch(&r, test, &whole);

            assert_golden(device, out, r.goldens, json_string_value(json_object_get(test, "out")), tolerance);
            dr_device_free(device, out.data);
        }
        rig_close(&r);
    }
    json_decref(manifest);
}

static size_t row_floats(dr_tensor t)
{
    return (size_t)t.h * (size_t)t.w * (size_t)t.c;
}

/* Each row, alone in its batch, must have the same bits as in the whole case. */
static void a_row_does_not_see_its_batch(void **state)
{
    static const batch batches[] = {
        { .n = 1, .row = { 0 }, .prompt = { 0 }, .samples = 1 },
        { .n = 1, .row = { 2 }, .prompt = { 2 }, .samples = 1, .spare = 3 },
        { .n = 2, .row = { 2, 0 }, .prompt = { 2, 0 }, .samples = 2, .spare = 1 },
        { .n = 7, .row = { 1, 1, 0, 2, 2, 0, 1 }, .prompt = { 1, 1, 0, 2, 2, 0, 1 }, .samples = 7 },
        { .n = 5, .row = { 2, 0, 1, 2, 1 }, .prompt = { 2, 0, 1, 2, 1 }, .samples = 3 },
    };
    json_t *manifest = golden_json("stages.json");
    rig r;
    (void)state;

    for (int m = 0; m < GOLDEN_MODELS; m++) {
        rig_open(&r, golden_models[m], manifest);
        const json_t *test = json_array_get(r.cases, json_array_size(r.cases) - 1);
        const dr_tensor reference = run_batch(&r, test, &whole);
        const size_t floats = row_floats(reference);
        float *wanted = download(device, reference);

        for (size_t b = 0; b < sizeof(batches) / sizeof(batches[0]); b++) {
            const dr_tensor out = run_batch(&r, test, &batches[b]);
            float *got = download(device, out);

            for (int i = 0; i < batches[b].n; i++)
                assert_same_bits(got + (size_t)i * floats, wanted + (size_t)batches[b].row[i] * floats,
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

/* Rows of one sample that differ in their prompts, as with guidance, against the same rows as samples of
 * their own. */
static void rows_of_a_sample_are_what_they_are_apart(void **state)
{
    static const batch batches[] = {
        { .n = 2, .row = { 1, 1 }, .prompt = { 0, 1 }, .samples = 1 },
        { .n = 3, .row = { 2, 0, 0 }, .prompt = { 0, 1, 0 }, .samples = 2 },
        { .n = 6, .row = { 0, 2, 1, 1, 0, 2 }, .prompt = { 0, 0, 0, 1, 1, 1 }, .samples = 3, .spare = 1 },
    };
    json_t *manifest = golden_json("stages.json");
    rig r;
    (void)state;

    for (int m = 0; m < GOLDEN_MODELS; m++) {
        rig_open(&r, golden_models[m], manifest);
        const json_t *test = json_array_get(r.cases, json_array_size(r.cases) - 1);

        for (size_t b = 0; b < sizeof(batches) / sizeof(batches[0]); b++) {
            const int n = batches[b].n;
            batch apart = batches[b];

            apart.samples = n;
            const dr_tensor out = run_batch(&r, test, &batches[b]), reference = run_batch(&r, test, &apart);
            const size_t floats = row_floats(out);
            float *got = download(device, out), *wanted = download(device, reference);

            assert_same_bits(got, wanted, (size_t)n * floats, golden_models[m]);
            /* the last row is its sample's second, and sees its own prompt */
            assert_memory_not_equal(got + (size_t)(n - 1) * floats,
                                    got + (size_t)sample_of(&batches[b], n - 1) * floats,
                                    floats * sizeof(*got));
            free(got);
            free(wanted);
            dr_device_free(device, out.data);
            dr_device_free(device, reference.data);
        }
        rig_close(&r);
    }
    json_decref(manifest);
}

/* --- configs that no golden has ------------------------------------------------------- */

enum { H = 7, W = 9 };

/* Values in [-1, 1), the same every time, repeated `copies` times. */
static float *device_numbers(size_t n, int copies)
{
    float *numbers = malloc((n + 1) * (size_t)copies * sizeof(*numbers)), *on_device;
    uint32_t random = 1;

    assert_non_null(numbers);
    for (size_t i = 0; i < n * (size_t)copies; i++) {
        random = random * 1664525u + 1013904223u;
        numbers[i] = i < n ? (float)(random >> 8) * 0x1p-23f - 1.0f : numbers[i - n];
    }
    on_device = upload(device, numbers, (n + 1) * (size_t)copies * sizeof(*numbers));
    free(numbers);
    return on_device;
}

/* A UNet of random weights, and two rows that differ in their prompts: of one sample, or of two equal
 * ones. */
static void rig_open_random(rig *r, const dr_unet_config *config, int samples)
{
    const int32_t x_row[] = { 0, samples - 1 }, context_row[] = { 0, 1 }, time_row[] = { 0, 0 };
    dr_loader_state loader = { .device = device };
    const dr_loader root = dr_loader_root(&loader);
    dr_weights *weights;
    dr_error err = { 0 };

    assert_int_equal(dr_weights_open_random(&weights, 1, &err), DR_OK);
    loader.weights = weights;
    *r = (rig){ .config = *config, .context = { .rows = 2 } };
    r->unet = dr_unet_load(&root, config);
    if (!r->unet)
        fail_msg("%s", loader.error.text);
    dr_loader_finish(&loader);
    dr_weights_close(weights);
    r->context.data = device_numbers(dr_unet_context_bytes(r->unet, 2) / sizeof(float), 1);
    r->time.table = device_numbers((size_t)dr_unet_time_channels(r->unet), 1);
    r->step = (dr_unet_args){
        .x = { .dtype = DR_F32,
               .n = samples,
               .h = H,
               .w = W,
               .c = config->in_channels,
               .ld = config->in_channels },
        .out = device_tensor(device, 2, H, W, config->out_channels),
        .x_row = upload(device, x_row, sizeof(x_row)),
        .context = &r->context,
        .context_row = upload(device, context_row, sizeof(context_row)),
        .time_table = r->time.table,
        .time_row = upload(device, time_row, sizeof(time_row)),
    };
    r->step.x.data = device_numbers((size_t)(H * W * config->in_channels), samples);
}

/* The output of the two rows; free() it. */
static float *run_random(const dr_unet_config *config, int samples)
{
    float *out;
    rig r;

    rig_open_random(&r, config, samples);
    starve_pass(device, play_step, &r);
    run_pass(device, play_step, &r);
    out = download(device, r.step.out);
    dr_device_free(device, r.step.out.data);
    free_inputs(&r);
    dr_unet_free(r.unet);
    return out;
}

/* Some distilled models have uneven levels, deeper transformers, and no middle block (mid_block_type
 * null). */
static dr_unet_config uneven(void)
{
    dr_unet_config config = config_of("sd1");

    config.mid_block = false;
    config.layers_per_block[0] = 1;
    config.layers_per_block[2] = 3;
    config.transformer_layers[1] = 2;
    return config;
}

/* A UNet whose first attention to the prompt is at this level of the way down, in the middle, on the way
 * up, or nowhere. */
static dr_unet_config looking_from(int level, bool mid, bool up)
{
    dr_unet_config config = config_of("sd1");

    for (int i = 0; i < config.blocks; i++) {
        config.down_attention[i] = config.down_attention[i] && i >= level;
        config.up_attention[i] = config.up_attention[i] && up;
    }
    config.mid_block = mid;
    return config;
}

/* Every concatenation must fit, no memory may be read that was not written, and two rows of one sample
 * must be the same as two equal samples. */
static void unets_that_no_golden_has_run(void **state)
{
    const struct {
        dr_unet_config config;
        bool prompts; /* make a difference */
    } cases[] = {
        { uneven(), true },
        { looking_from(1, true, true), true },
        { looking_from(4, true, true), true },
        { looking_from(4, false, true), true },
        { looking_from(4, false, false), false },
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const size_t floats = (size_t)(H * W * cases[i].config.out_channels);
        float *shared = run_random(&cases[i].config, 1), *apart = run_random(&cases[i].config, 2);

        for (size_t k = 0; k < 2 * floats; k++)
            assert_true(isfinite(shared[k]));
        assert_same_bits(shared, apart, 2 * floats, "two rows of a sample");
        assert_int_equal(memcmp(shared, shared + floats, floats * sizeof(*shared)) != 0, cases[i].prompts);
        free(shared);
        free(apart);
    }
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

static int run(const machine *m)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_step_is_the_references),
        cmocka_unit_test(a_row_does_not_see_its_batch),
        cmocka_unit_test(rows_of_a_sample_are_what_they_are_apart),
        cmocka_unit_test(unets_that_no_golden_has_run),
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

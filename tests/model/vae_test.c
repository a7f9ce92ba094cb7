/* The VAE against the reference's, both ways, for the four small models.  The bits of a picture do not
 * depend on the pictures that are decoded with it.  Runs once for each instruction set of this machine. */
#include "model/vae.h"

#include "tests/support/machines.h"
#include "tests/support/support.h"

#include <stdlib.h>
#include <string.h>

static dr_device *device;
static double tolerance;

typedef struct conversion {
    const dr_vae *vae;
    dr_tensor from, to;
} conversion;

static void decode(dr_pass *p, void *context)
{
    const conversion *c = context;

    dr_vae_decode(p, c->vae, c->from, c->to);
}

static void encode(dr_pass *p, void *context)
{
    const conversion *c = context;

    dr_vae_encode_moments(p, c->vae, c->from, c->to);
}

static dr_vae_config config_of(const char *model)
{
    dr_vae_config config;
    dr_error err = { 0 };

    if (dr_vae_config_read(&config, golden_path("models/%s/vae/config.json", model), &err))
        fail_msg("%s", err.text);
    return config;
}

static dr_vae *load(const char *model)
{
    const dr_vae_config config = config_of(model);
    part file;
    const dr_loader root = part_open(&file, device, model, "vae");
    dr_vae *vae = dr_vae_load(&root, &config);

    if (!vae)
        fail_msg("%s", file.state.error.text);
    part_close(&file);
    return vae;
}

/* --- against the reference ------------------------------------------------------------- */

/* A golden times `factor` on the device. */
static dr_tensor scaled_golden(const dr_weights *goldens, const char *name, float factor)
{
    dr_tensor t;
    float *values = golden_read(goldens, name, &t);
    const size_t floats = dr_tensor_pixels(&t) * (size_t)t.c;

    for (size_t i = 0; i < floats; i++)
        values[i] *= factor;
    t.data = upload(device, values, floats * sizeof(*values));
    free(values);
    return t;
}

typedef struct direction {
    const char *name, *from, *to; /* in the manifest */
    void (*pass)(dr_pass *p, void *context);
} direction;

static const direction directions[] = {
    { "decode", "latents", "image", decode },
    { "encode", "image", "moments", encode },
};

/* Convert one golden case, and then its last row alone, which must have the same bits.  With too little
 * memory it must fail. */
static void check_case(const dr_vae *vae, const dr_weights *goldens, const direction *d, const json_t *test,
                       float factor)
{
    const char *from = json_string_value(json_object_get(test, d->from));
    const char *to = json_string_value(json_object_get(test, d->to));
    conversion c = { .vae = vae, .from = scaled_golden(goldens, from, factor) };
    dr_tensor shape;
    float *together, *alone;
    size_t floats;

    free(golden_read(goldens, to, &shape));
    floats = (size_t)shape.h * (size_t)shape.w * (size_t)shape.c;
    c.to = device_tensor(device, shape.n, shape.h, shape.w, shape.c);
    run_pass(device, d->pass, &c);
    assert_golden(device, c.to, goldens, to, tolerance);
    together = download(device, c.to);

    conversion last = c;
    last.from = dr_tensor_rows(c.from, shape.n - 1, 1);
    last.to = device_tensor(device, 1, shape.h, shape.w, shape.c);
    starve_pass(device, d->pass, &last);
    run_pass(device, d->pass, &last);
    alone = download(device, last.to);
    assert_same_bits(alone, together + (size_t)(shape.n - 1) * floats, floats, to);

    free(together);
    free(alone);
    dr_device_free(device, c.from.data);
    dr_device_free(device, c.to.data);
    dr_device_free(device, last.to.data);
}

static void both_ways_are_the_references(void **state)
{
    json_t *manifest = golden_json("stages.json");
    (void)state;

    for (int m = 0; m < GOLDEN_MODELS; m++) {
        const json_t *entry = json_object_get(manifest, golden_models[m]);
        dr_weights *goldens = golden_weights(json_string_value(json_object_get(entry, "file")));
        dr_vae *vae = load(golden_models[m]);

        for (size_t i = 0; i < sizeof(directions) / sizeof(directions[0]); i++) {
            const json_t *cases = json_object_get(json_object_get(entry, "vae"), directions[i].name);
            const float factor =
                directions[i].pass == decode ? config_of(golden_models[m]).scaling_factor : 1;

            assert_true(json_array_size(cases) > 0);
            for (size_t k = 0; k < json_array_size(cases); k++)
                check_case(vae, goldens, &directions[i], json_array_get(cases, k), factor);
        }
        dr_vae_free(vae);
        dr_weights_close(goldens);
    }
    json_decref(manifest);
}

static void the_factor_is_that_of_the_levels(void **state)
{
    dr_vae *four = load("sd1"), *three = load("upscale");
    (void)state;

    assert_int_equal(dr_vae_factor(four), 8);
    assert_int_equal(dr_vae_factor(three), 4);
    dr_vae_free(four);
    dr_vae_free(three);
}

/* --- files ---------------------------------------------------------------------------------- */

static void refused(const dr_vae_config *config, const char *tensor)
{
    part file;
    const dr_loader root = part_open(&file, device, "sd1", "vae");

    assert_null(dr_vae_load(&root, config));
    assert_non_null(strstr(file.state.error.text, "vae/diffusion_pytorch_model.safetensors"));
    assert_non_null(strstr(file.state.error.text, tensor));
    part_close(&file);
}

static void files_that_do_not_fit_the_config_are_refused(void **state)
{
    const dr_vae_config config = config_of("sd1");
    dr_vae_config other = config;
    (void)state;

    other.layers_per_block++;
    refused(&other, "encoder.down_blocks.0.resnets.2.");
    other = config;
    other.channels[3] = 21;
    refused(&other, "encoder.down_blocks.3.resnets.0.");
    other = config;
    other.latent_channels = 16;
    refused(&other, "encoder.conv_out.weight");
}

static int run(const machine *m)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_ways_are_the_references),
        cmocka_unit_test(the_factor_is_that_of_the_levels),
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

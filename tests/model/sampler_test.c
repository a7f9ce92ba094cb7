/* Samplers against the reference's tables and trajectories, and against theory. */
#include "kernels/rng.h"
#include "model/config_parts.h"
#include "tests/model/sampler_configs.h"
#include "tests/support/machines.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const machine *on;

static const dr_sampler_config *config_named(const char *name)
{
    const struct {
        const char *name;
        const dr_sampler_config *config;
    } all[] = { { "sd1", &sd1 },   { "sd2", &sd2 }, { "zero_snr", &zero_snr },
                { "bare", &bare }, { "prk", &prk }, { "prk_v", &prk_v } };

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        if (!strcmp(all[i].name, name))
            return all[i].config;
    fail_msg("no config called %s", name);
    return NULL;
}

/* --- against the reference ------------------------------------------------------------ */

typedef struct golden_case {
    const char *config, *sampler, *states;
    int steps;
    json_t *timesteps, *sigmas, *strength;
    double init_noise_sigma;
} golden_case;

static golden_case read_case(json_t *json)
{
    golden_case c = { 0 };

    assert_int_equal(json_unpack(json, "{s:s, s:s, s:i, s:o, s?o, s?F, s?o, s?s}", "config", &c.config,
                                 "sampler", &c.sampler, "steps", &c.steps, "timesteps", &c.timesteps,
                                 "sigmas", &c.sigmas, "init_noise_sigma", &c.init_noise_sigma, "strength",
                                 &c.strength, "states", &c.states),
                     0);
    return c;
}

static dr_step_table_request request_of(const golden_case *c)
{
    dr_step_table_request r = { .steps = c->steps, .strength = 1 };

    assert_true(dr_sampler_from_name(c->sampler, &r.sampler));
    if (c->strength && !json_is_null(c->strength)) {
        r.task = DR_TASK_IMAGE_TO_IMAGE;
        r.image_to_image = true;
        r.strength = json_number_value(c->strength);
    }
    return r;
}

static void check_timesteps(const dr_step_table *s, const golden_case *c)
{
    assert_int_equal(s->calls, json_array_size(c->timesteps));
    for (int k = 0; k < s->calls; k++) {
        const double t = json_number_value(json_array_get(c->timesteps, (size_t)k));

        if (s->step[k].timestep != (float)t)
            fail_msg("%s.%s.%d: timestep of call %d is %g, not %g", c->config, c->sampler, c->steps, k,
                     (double)s->step[k].timestep, t);
    }
}

static bool scales_input(const char *sampler)
{
    return !strncmp(sampler, "euler", 5) || !strcmp(sampler, "heun") || !strcmp(sampler, "lms");
}

static void tables_are_the_references(void **state)
{
    json_t *golden = golden_json("schedules.json"), *json;
    size_t i;
    (void)state;

    assert_true(json_array_size(json_object_get(golden, "cases")) > 300);
    json_array_foreach(json_object_get(golden, "cases"), i, json)
    {
        const golden_case c = read_case(json);
        dr_step_table *s = create(config_named(c.config), request_of(&c));

        check_timesteps(s, &c);
        /* a few roundings of float32 */
        assert_true(fabs(s->init_scale - c.init_noise_sigma) <= 2e-7 * c.init_noise_sigma);
        for (int k = 0; k < s->calls; k++) {
            const double sigma = json_number_value(json_array_get(c.sigmas, (size_t)k));
            const double scale = scales_input(c.sampler) ? 1 / sqrt(sigma * sigma + 1) : 1;

            assert_true(fabs((double)s->step[k].input_scale - scale) <= 2e-7 * scale);
        }
        dr_step_table_free(s);
    }
    json_decref(golden);
}

enum { VALUES = 60 };

/* The goldens' network: 0.7 sin(x) + 0.1 t / 1000 of the scaled input. */
static float network(float x, float timestep)
{
    return 0.7f * sinf(x) + 0.1f * (timestep / 1000);
}

static void run_call(const dr_step *step, float state[VALUES][DR_STATES], dr_rng *rng)
{
    float noise[VALUES] = { 0 };

    if (step->noise)
        dr_rng_randn(rng, noise, VALUES);
    for (int i = 0; i < VALUES; i++) {
        const float e = network(state[i][DR_STATE_X] * step->input_scale, step->timestep);

        dr_step_value(step, state[i], e, noise[i]);
    }
}

static void start(const dr_step_table *s, bool from_image, float state[VALUES][DR_STATES], dr_rng *rng)
{
    float image[VALUES] = { 0 }, noise[VALUES];

    if (from_image)
        dr_rng_randn(rng, image, VALUES);
    dr_rng_randn(rng, noise, VALUES);
    memset(state, 0, VALUES * sizeof(state[0]));
    for (int i = 0; i < VALUES; i++)
        state[i][DR_STATE_X] = fmaf(s->image_scale, image[i], s->init_scale * noise[i]);
}

/* Both sides round every step to float32, relative to the largest value of a state.  Zero-SNR sigmas begin
 * at 4096, and the reference subtracts numbers of that size. */
static void check_state(const float state[VALUES][DR_STATES], const float *golden, float tolerance,
                        const golden_case *c, int call)
{
    float largest = 0, difference = 0;

    for (int i = 0; i < VALUES; i++) {
        largest = fmaxf(largest, fabsf(golden[i]));
        difference = fmaxf(difference, fabsf(state[i][DR_STATE_X] - golden[i]));
    }
    if (!(difference <= tolerance * fmaxf(largest, 1)))
        fail_msg("%s: after call %d off by %g of %g", c->states, call, (double)difference, (double)largest);
}

static void trajectories_are_the_references(void **state)
{
    json_t *golden = golden_json("sampler_steps.json"), *json;
    dr_weights *tensors = golden_weights("sampler_steps.safetensors");
    const char *seed = json_string_value(json_object_get(golden, "seed"));
    static float states[1 + DR_CALLS_MAX][VALUES], value[VALUES][DR_STATES];
    dr_error err = { 0 };
    size_t i;
    (void)state;

    assert_true(json_array_size(json_object_get(golden, "cases")) > 150);
    json_array_foreach(json_object_get(golden, "cases"), i, json)
    {
        const golden_case c = read_case(json);
        const float tolerance = !strcmp(c.config, "zero_snr") ? 2e-4f : 2e-5f;
        dr_step_table *s = create(config_named(c.config), request_of(&c));
        dr_rng rng;

        check_timesteps(s, &c);
        if (dr_weights_read(tensors, c.states, (int64_t[]){ s->calls + 1, VALUES }, 2, states[0], &err))
            fail_msg("%s", err.text);
        dr_rng_seed(&rng, strtoull(seed, NULL, 10));
        start(s, request_of(&c).image_to_image, value, &rng);
        check_state(value, states[0], tolerance, &c, -1);
        for (int k = 0; k < s->calls; k++) {
            run_call(&s->step[k], value, &rng);
            check_state(value, states[k + 1], tolerance, &c, k);
        }
        dr_step_table_free(s);
    }
    dr_weights_close(tensors);
    json_decref(golden);
}

/* The goldens' files, read by model/config.h, give the same step tables as the configs that are written
 * out for these tests.  The task is to upscale, because its pipeline overrules no key of the file. */
static void files_are_read_as_these_configs(void **state)
{
    json_t *golden = golden_json("schedules.json"), *file;
    const char *name;
    (void)state;

    assert_int_equal(json_object_size(json_object_get(golden, "configs")), 6);
    json_object_foreach(json_object_get(golden, "configs"), name, file)
    {
        dr_sampler_config config;
        dr_error err = { 0 };

        if (dr_sampler_config_parse(&config, name, file,
                                    json_string_value(json_object_get(file, "_class_name")), &err))
            fail_msg("%s", err.text);
        for (int sampler = DR_SAMPLER_DEFAULT; sampler < DR_SAMPLERS; sampler++) {
            const dr_step_table_request request = { .sampler = (dr_sampler)sampler,
                                                    .steps = 7,
                                                    .task = DR_TASK_UPSCALE };
            dr_step_table *s = create(&config, request), *same = create(config_named(name), request);

            assert_int_equal(s->calls, same->calls);
            assert_memory_equal(s->step, same->step, (size_t)s->calls * sizeof(s->step[0]));
            dr_step_table_free(s);
            dr_step_table_free(same);
        }
    }
    json_decref(golden);
}

/* --- against theory ------------------------------------------------------------------------ */

/* A network that knows that there is only one picture, x0, can say exactly which noise is in x, at any
 * noise level.  With it every sampler, whatever its order, must end at x0. */
#define X0 0.6

static double noise_level(const dr_step *step, bool scaled)
{
    double product = 1; /* alphas_cumprod of the SD betas, from their definition */

    if (scaled)
        return 1 / (double)step->input_scale *
               sqrt(1 - (double)step->input_scale * (double)step->input_scale);
    for (int i = 0; i <= (int)step->timestep; i++) {
        const double root = sqrt(0.00085) + (sqrt(0.012) - sqrt(0.00085)) * i / 999;

        product *= 1 - root * root;
    }
    return sqrt((1 - product) / product);
}

/* The output of this network for x = x0 + sigma noise, or for x = (x0 + sigma noise) / sqrt(sigma^2 + 1). */
static double ideal_output(dr_prediction prediction, double x, double sigma, bool scaled)
{
    const double norm = sqrt(sigma * sigma + 1), noise = (x * (scaled ? 1 : norm) - X0) / sigma;

    switch (prediction) {
    case DR_PREDICT_V:
        return (noise - sigma * X0) / norm;
    case DR_PREDICT_SAMPLE:
        return X0;
    default:
        return noise;
    }
}

static double ideal_run(const dr_step_table *s, dr_prediction prediction, bool scaled, dr_rng *rng)
{
    float value[DR_STATES] = { 0 }, noise = 1.25f;
    const double sigma = noise_level(&s->step[0], scaled);

    value[DR_STATE_X] = (float)((X0 + sigma * (double)noise) / (scaled ? 1 : sqrt(sigma * sigma + 1)));
    for (int k = 0; k < s->calls; k++) {
        const double e =
            ideal_output(prediction, (double)value[DR_STATE_X], noise_level(&s->step[k], scaled), scaled);

        dr_rng_randn(rng, &noise, 1);
        dr_step_value(&s->step[k], value, (float)e, s->step[k].noise ? noise : 0);
    }
    return (double)value[DR_STATE_X];
}

/* pndm averages v of different noise levels, as the reference does: that is not exact. */
static bool is_exact(dr_sampler sampler, dr_prediction prediction)
{
    return prediction == DR_PREDICT_EPSILON ||
           (sampler != DR_SAMPLER_PNDM && (sampler != DR_SAMPLER_EULER_A || prediction == DR_PREDICT_V));
}

static void arrives_at_x0(const dr_sampler_config *config, dr_sampler sampler, int steps, dr_rng *rng)
{
    const char *name = dr_sampler_name(sampler);
    dr_step_table *s = create(config, (dr_step_table_request){ .sampler = sampler, .steps = steps });
    const double end = ideal_run(s, config->prediction, scales_input(name), rng);

    /* float32, amplified 15 times by x0 = (x - 0.998 e) / 0.068 at the first step; and
     * lcm keeps c_skip, at most 7e-6, of x */
    if (fabs(end - X0) > 2e-5)
        fail_msg("%s, prediction %d, %d steps: arrives at %g", name, (int)config->prediction, steps, end);
    dr_step_table_free(s);
}

static void an_ideal_network_is_believed(void **state)
{
    static const int steps[] = { 1, 2, 5, 20, 50 };
    dr_sampler_config config = sd1;
    dr_rng rng;
    (void)state;

    dr_rng_seed(&rng, 1);
    config.set_alpha_to_one = true; /* ddim and pndm: down to no noise at all */
    for (int sampler = DR_SAMPLER_DDPM; sampler < DR_SAMPLERS; sampler++) {
        if (sampler == DR_SAMPLER_DPMPP_2M_KARRAS)
            continue; /* its sigmas are not those of its timesteps */
        for (int p = DR_PREDICT_EPSILON; p <= DR_PREDICT_SAMPLE; p++) {
            config.prediction = (dr_prediction)p;
            if (!is_exact((dr_sampler)sampler, config.prediction))
                continue;
            for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
                arrives_at_x0(&config, (dr_sampler)sampler, steps[i], &rng);
        }
    }
    config = prk;
    config.set_alpha_to_one = true;
    for (size_t i = 2; i < sizeof(steps) / sizeof(steps[0]); i++)
        arrives_at_x0(&config, DR_SAMPLER_PNDM, steps[i], &rng);
}

/* From x = sigma z and x0 = 0, a step that adds noise must make the variance of the next level: the part
 * of z that it keeps and the noise that it adds are independent. */
static void added_noise_fits_the_next_level(void **state)
{
    static const dr_sampler samplers[] = { DR_SAMPLER_DDPM, DR_SAMPLER_EULER_A, DR_SAMPLER_DPMPP_SDE };
    (void)state;

    for (size_t i = 0; i < sizeof(samplers) / sizeof(samplers[0]); i++) {
        const bool scaled = samplers[i] == DR_SAMPLER_EULER_A;
        dr_step_table *s = create(&sd1, (dr_step_table_request){ .sampler = samplers[i], .steps = 20 });

        for (int k = 0; k + 1 < s->calls; k++) {
            const double now = noise_level(&s->step[k], scaled), next = noise_level(&s->step[k + 1], scaled);
            const double size = scaled ? 1 : 1 / sqrt(now * now + 1),
                         next_size = scaled ? 1 : 1 / sqrt(next * next + 1);
            const float *x = s->step[k].to[DR_STATE_X];
            const double kept = (double)x[DR_TERM_X] * now * size + (double)x[DR_TERM_E];
            const double added = (double)x[DR_TERM_NOISE], wanted = next * next_size;

            assert_int_equal(s->step[k].noise, 1);
            assert_true(added > 0);
            if (fabs(kept * kept + added * added - wanted * wanted) > 1e-5 * wanted * wanted)
                fail_msg("%s: call %d: %g", dr_sampler_name(samplers[i]), k, kept * kept + added * added);
        }
        dr_step_table_free(s);
    }
}

/* --- the engine's loop ---------------------------------------------------------------------- */

typedef struct loop_case {
    const dr_step *step;
    dr_tensor output, latent, history, noise;
} loop_case;

static void loop_body(dr_pass *p, void *context)
{
    static const int32_t sample[] = { 0 }, row[] = { 0 };
    static const float guidance[] = { 1 };
    const loop_case *c = context;

    dr_sampler_step(p, &(dr_sampler_step_args){ .output = c->output,
                                                .active = 1,
                                                .sample = sample,
                                                .cond_row = row,
                                                .uncond_row = row,
                                                .guidance = guidance,
                                                .step = c->step,
                                                .latent = c->latent,
                                                .history = c->history,
                                                .noise = c->noise });
}

static void fill_random(dr_tensor t, dr_rng *rng)
{
    dr_rng_randn(rng, t.data, dr_tensor_pixels(&t) * (size_t)t.c);
}

/* The operator gives the same bits as the formula for one value, with the steps of every sampler. */
static void the_operator_takes_the_same_steps(void **state)
{
    dr_device *device = on->device;
    loop_case c = { .output = device_tensor(device, 1, 3, 5, 4),
                    .latent = device_tensor(device, 1, 3, 5, 4),
                    .history = device_tensor(device, DR_HISTORY_MAX, 3, 5, 4),
                    .noise = device_tensor(device, 1, 3, 5, 4) };
    float value[VALUES][DR_STATES];
    dr_rng rng;
    (void)state;

    dr_rng_seed(&rng, 5);
    for (int sampler = DR_SAMPLER_DDPM; sampler < DR_SAMPLERS; sampler++) {
        dr_step_table *s =
            create(&sd2, (dr_step_table_request){ .sampler = (dr_sampler)sampler, .steps = 7 });

        fill_random(c.latent, &rng);
        memset(c.history.data, 0, DR_HISTORY_MAX * VALUES * sizeof(float));
        memset(value, 0, sizeof(value));
        for (int i = 0; i < VALUES; i++)
            value[i][DR_STATE_X] = ((float *)c.latent.data)[i];
        for (int k = 0; k < s->calls; k++) {
            const float *e = c.output.data, *noise = c.noise.data;

            c.step = &s->step[k];
            fill_random(c.output, &rng);
            fill_random(c.noise, &rng);
            run_pass(device, loop_body, &c);
            for (int i = 0; i < VALUES; i++) {
                dr_step_value(c.step, value[i], e[i], c.step->noise ? noise[i] : 0);
                assert_memory_equal(&value[i][DR_STATE_X], (float *)c.latent.data + i, sizeof(float));
            }
        }
        dr_step_table_free(s);
    }
    dr_device_free(device, c.output.data);
    dr_device_free(device, c.latent.data);
    dr_device_free(device, c.history.data);
    dr_device_free(device, c.noise.data);
}

static int run(const machine *m)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(the_operator_takes_the_same_steps) };

    on = m;
    return cmocka_run_group_tests_name(m->name, tests, NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_are_the_references),       cmocka_unit_test(trajectories_are_the_references),
        cmocka_unit_test(files_are_read_as_these_configs), cmocka_unit_test(an_ideal_network_is_believed),
        cmocka_unit_test(added_noise_fits_the_next_level),
    };
    return on_each_machine(run) + cmocka_run_group_tests_name("sampler", tests, NULL, NULL);
}

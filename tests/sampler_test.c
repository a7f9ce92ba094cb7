/* Samplers against the reference's tables and trajectories, and against theory. */
#include "model/rng.h"
#include "model/sampler.h"
#include "tests/support.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- configs of the goldens ---------------------------------------------------------- */

#define SD_BETAS \
    .has_betas = true, .beta_schedule = DR_BETA_SCALED_LINEAR, .beta_start = 0.00085, .beta_end = 0.012
#define SD_FILE                                                                                              \
    .train_timesteps = 1000, SD_BETAS, .has_steps_offset = true, .steps_offset = 1, .has_clip_sample = true, \
    .clip_sample_range = 1, .has_set_alpha_to_one = true, .has_skip_prk_steps = true, .skip_prk_steps = true

static const dr_sampler_config sd1 = { .own = DR_SAMPLER_PNDM, SD_FILE };
static const dr_sampler_config sd2 = { .own = DR_SAMPLER_DDIM, .prediction = DR_PREDICT_V, SD_FILE };
static const dr_sampler_config zero_snr = {
    .own = DR_SAMPLER_DDIM,
    .prediction = DR_PREDICT_V,
    SD_FILE,
    .has_spacing = true,
    .spacing = DR_SPACING_TRAILING,
    .rescale_betas_zero_snr = true,
};
static const dr_sampler_config bare = { .own = DR_SAMPLER_DDIM,
                                        .train_timesteps = 1000,
                                        .clip_sample_range = 1 };

static const dr_sampler_config *config_named(const char *name)
{
    const struct {
        const char *name;
        const dr_sampler_config *config;
    } all[] = { { "sd1", &sd1 }, { "sd2", &sd2 }, { "zero_snr", &zero_snr }, { "bare", &bare } };

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        if (!strcmp(all[i].name, name))
            return all[i].config;
    fail_msg("no config called %s", name);
    return NULL;
}

static dr_schedule *create(const dr_sampler_config *config, dr_schedule_request request)
{
    dr_error err = { 0 };
    dr_schedule *s;

    if (dr_schedule_create(&s, config, &request, &err))
        fail_msg("%s", err.text);
    return s;
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

static dr_schedule_request request_of(const golden_case *c)
{
    dr_schedule_request r = { .steps = c->steps, .strength = 1 };

    assert_true(dr_sampler_from_name(c->sampler, &r.sampler));
    if (c->strength && !json_is_null(c->strength)) {
        r.task = DR_TASK_IMAGE_TO_IMAGE;
        r.image_to_image = true;
        r.strength = json_number_value(c->strength);
    }
    return r;
}

static void check_timesteps(const dr_schedule *s, const golden_case *c)
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
        dr_schedule *s = create(config_named(c.config), request_of(&c));

        check_timesteps(s, &c);
        /* a few roundings of float32 */
        assert_true(fabs(s->init_scale - c.init_noise_sigma) <= 2e-7 * c.init_noise_sigma);
        for (int k = 0; k < s->calls; k++) {
            const double sigma = json_number_value(json_array_get(c.sigmas, (size_t)k));
            const double scale = scales_input(c.sampler) ? 1 / sqrt(sigma * sigma + 1) : 1;

            assert_true(fabs((double)s->step[k].input_scale - scale) <= 2e-7 * scale);
        }
        dr_schedule_free(s);
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

static void start(const dr_schedule *s, bool from_image, float state[VALUES][DR_STATES], dr_rng *rng)
{
    float image[VALUES] = { 0 }, noise[VALUES];

    if (from_image)
        dr_rng_randn(rng, image, VALUES);
    dr_rng_randn(rng, noise, VALUES);
    memset(state, 0, VALUES * sizeof(state[0]));
    for (int i = 0; i < VALUES; i++)
        state[i][DR_STATE_X] = fmaf(s->image_scale, image[i], s->init_scale * noise[i]);
}

/* Both sides round every step to float32; the largest value of a state is what that is relative
 * to.  Zero-SNR sigmas begin at 4096, where the reference subtracts numbers of that size. */
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
        dr_schedule *s = create(config_named(c.config), request_of(&c));
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
        dr_schedule_free(s);
    }
    dr_weights_close(tensors);
    json_decref(golden);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_are_the_references),
        cmocka_unit_test(trajectories_are_the_references),
    };
    return cmocka_run_group_tests_name("sampler", tests, NULL, NULL);
}

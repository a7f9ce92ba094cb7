/* Step tables: which of job, file, class and pipeline decides a setting, and what is refused. */
#include "tests/model/sampler_configs.h"

#include <float.h>
#include <math.h>
#include <string.h>

static void names_go_both_ways(void **state)
{
    dr_sampler sampler;
    char listed[256] = "";
    (void)state;

    for (int i = DR_SAMPLER_DEFAULT + 1; i < DR_SAMPLERS; i++) {
        assert_true(dr_sampler_from_name(dr_sampler_name((dr_sampler)i), &sampler));
        assert_int_equal(sampler, i);
        strcat(listed, i > 1 ? ", " : "");
        strcat(listed, dr_sampler_name((dr_sampler)i));
    }
    assert_string_equal(dr_sampler_names(), listed);
    assert_true(dr_sampler_from_name("", &sampler));
    assert_int_equal(sampler, DR_SAMPLER_DEFAULT);
    assert_true(dr_sampler_from_name(NULL, &sampler));
    assert_false(dr_sampler_from_name("default", &sampler));
    assert_false(dr_sampler_from_name("euler ", &sampler));
}

static void the_files_sampler_is_the_default(void **state)
{
    dr_step_table *own = create(&sd1, (dr_step_table_request){ .steps = 4 });
    (void)state;

    assert_int_equal(own->calls, 5); /* pndm's one more */
    assert_int_equal(own->steps, 4);
    dr_step_table_free(own);
    dr_step_table_free(NULL);
}

/* pndm begins with four calls for each of the first three steps, unless the file or the pipeline says
 * otherwise. */
static void pndm_warms_up(void **state)
{
    dr_sampler_config config = sd1;
    const dr_step_table_request text = { .sampler = DR_SAMPLER_PNDM, .steps = 4 };
    dr_step_table_request inpaint = text, rest = text;
    dr_step_table *s[4];
    (void)state;

    inpaint.task = DR_TASK_INPAINT;
    rest.task = DR_TASK_IMAGE_TO_IMAGE;
    rest.image_to_image = true;
    rest.strength = 0.25;
    config.has_skip_prk_steps = false;
    s[0] = create(&prk, text);
    s[1] = create(&config, text);
    s[2] = create(&prk, inpaint);
    s[3] = create(&prk, rest); /* it skips three calls, not three steps */
    assert_int_equal(s[0]->calls, 13);
    assert_int_equal(s[1]->calls, 13);
    assert_int_equal(s[2]->calls, 5);
    assert_int_equal(s[3]->calls, 10);
    for (int i = 0; i < 4; i++)
        dr_step_table_free(s[i]);
}

static void strength_is_truncated_in_double(void **state)
{
    dr_step_table_request request = { .sampler = DR_SAMPLER_EULER,
                                      .task = DR_TASK_IMAGE_TO_IMAGE,
                                      .image_to_image = true };
    static const struct {
        int steps, calls;
        double strength;
    } cases[] = { { 100, 28, 0.29 }, { 10, 7, 0.7 }, { 10, 3, 0.3 }, { 50, 50, 1 }, { 50, 1, 0.03 } };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        dr_step_table *s;

        request.steps = cases[i].steps;
        request.strength = cases[i].strength;
        s = create(&sd1, request);
        assert_int_equal(s->calls, cases[i].calls);
        dr_step_table_free(s);
    }
}

/* A key that the file lacks gets the default of the class, or the value of the pipeline. */
static void pipelines_overrule_the_file(void **state)
{
    const dr_step_table_request text = { .sampler = DR_SAMPLER_DDIM, .steps = 4 };
    dr_step_table_request inpaint = text, upscale = text;
    dr_sampler_config config = bare;
    dr_step_table *s;
    (void)state;

    inpaint.task = DR_TASK_INPAINT;
    upscale.task = DR_TASK_UPSCALE;
    s = create(&config, text);
    assert_true(s->step[0].clip == FLT_MAX);
    assert_true(s->step[3].timestep == 1);
    dr_step_table_free(s);
    config.clip_sample_range = 2;
    s = create(&config, inpaint);
    assert_true(s->step[0].clip == 2);
    assert_true(s->step[3].timestep == 1);
    dr_step_table_free(s);
    s = create(&config, upscale);
    assert_true(s->step[0].clip == 2);
    assert_true(s->step[3].timestep == 0);
    dr_step_table_free(s);
    inpaint.sampler = DR_SAMPLER_PNDM;
    s = create(&bare, inpaint);
    assert_int_equal(s->calls, 5);
    dr_step_table_free(s);
}

static void refused(const dr_sampler_config *config, dr_step_table_request request, dr_status status,
                    const char *word)
{
    dr_step_table *s = (dr_step_table *)&request;
    dr_error err = { 0 };

    assert_int_equal(dr_step_table_create(&s, config, &request, &err), status);
    assert_null(s);
    if (!strstr(err.text, word))
        fail_msg("\"%s\" lacks \"%s\"", err.text, word);
}

static void bad_requests_are_refused(void **state)
{
    static const double strengths[] = { 0, -1, 1.01, 0.09, NAN, INFINITY };
    (void)state;

    refused(&sd1, (dr_step_table_request){ .steps = 0 }, DR_EINVAL, "steps 0");
    refused(&sd1, (dr_step_table_request){ .steps = DR_STEPS_MAX + 1 }, DR_EINVAL, "150");
    refused(&sd1, (dr_step_table_request){ .sampler = DR_SAMPLER_LCM, .steps = 51 }, DR_EINVAL, "lcm");
    for (int steps = 1; steps <= 3; steps++)
        refused(&prk, (dr_step_table_request){ .steps = steps }, DR_EINVAL, "needs 4 or more");
    for (size_t i = 0; i < sizeof(strengths) / sizeof(strengths[0]); i++)
        refused(&sd1,
                (dr_step_table_request){ .steps = 10, .image_to_image = true, .strength = strengths[i] },
                DR_EINVAL, "strength");
}

static void unsupported_configs_are_refused(void **state)
{
    const dr_step_table_request unipc = { .sampler = DR_SAMPLER_UNIPC, .steps = 4 };
    const dr_step_table_request euler_a = { .sampler = DR_SAMPLER_EULER_A, .steps = 4 };
    const dr_step_table_request ddim = { .sampler = DR_SAMPLER_DDIM, .steps = 4 };
    const dr_step_table_request upscale = { .sampler = DR_SAMPLER_DDIM, .steps = 4, .task = DR_TASK_UPSCALE };
    dr_sampler_config c = sd1;
    (void)state;

    c.has_solver_order = true;
    c.solver_order = 3;
    refused(&c, unipc, DR_EUNSUPPORTED, "solver_order 3");
    dr_step_table_free(create(&c, ddim)); /* it does not read that key */
    c = sd1;
    c.prediction = DR_PREDICT_SAMPLE;
    refused(&c, euler_a, DR_EUNSUPPORTED, "prediction_type \"sample\"");
    c = zero_snr;
    c.prediction = DR_PREDICT_EPSILON;
    refused(&c, ddim, DR_EUNSUPPORTED, "rescale_betas_zero_snr");
    c = sd1;
    c.steps_offset = 251;
    refused(&c, upscale, DR_EUNSUPPORTED, "steps_offset 251");
    c = sd1;
    c.train_timesteps = 0;
    refused(&c, ddim, DR_EUNSUPPORTED, "num_train_timesteps 0");
    c.train_timesteps = 3;
    refused(&c, ddim, DR_EINVAL, "1 to 3");
}

/* The reference comes to one timestep more there, below 0, by a rounding error. */
static void trailing_has_as_many_times_as_steps(void **state)
{
    dr_sampler_config config = sd1;
    (void)state;

    config.has_spacing = true;
    config.spacing = DR_SPACING_TRAILING;
    for (int steps = 1; steps <= DR_STEPS_MAX; steps++) {
        dr_step_table *s =
            create(&config, (dr_step_table_request){ .sampler = DR_SAMPLER_EULER, .steps = steps });

        assert_int_equal(s->calls, steps);
        assert_true(s->step[0].timestep == 999);
        for (int k = 1; k < steps; k++)
            assert_true(s->step[k].timestep < s->step[k - 1].timestep && s->step[k].timestep >= 0);
        dr_step_table_free(s);
    }
}

static void made_or_refused(const dr_sampler_config *config, const dr_step_table_request *request)
{
    dr_error err = { 0 };
    dr_step_table *s;

    if (dr_step_table_create(&s, config, request, &err)) {
        assert_true(err.status == DR_EINVAL || err.status == DR_EUNSUPPORTED);
        return;
    }
    assert_in_range(s->calls, 1, DR_CALLS_MAX);
    assert_true(isfinite(s->init_scale) && isfinite(s->image_scale));
    for (int k = 0; k < s->calls; k++)
        assert_true(s->step[k].timestep >= 0 && s->step[k].timestep < (float)config->train_timesteps);
    dr_step_table_free(s);
}

/* Every sampler with the fewest and most steps, every spacing and prediction, and a part of the schedule. */
static void every_schedule_is_made_or_refused(void **state)
{
    static const int steps[] = { 1, 2, 4, 50, 149, 150 };
    static const double strengths[] = { 0, 1, 0.35 }; /* 0: not from an image */
    dr_sampler_config c = sd1;
    (void)state;

    c.has_spacing = true;
    for (int corner = 0; corner < 3 * 3 * 2 * 2 * 2; corner++) {
        c.spacing = corner % 3;
        c.prediction = corner / 3 % 3;
        c.rescale_betas_zero_snr = corner / 9 % 2;
        c.train_timesteps = corner / 18 % 2 ? 150 : 1000;
        c.skip_prk_steps = corner / 36 % 2;
        for (int sampler = DR_SAMPLER_DDPM; sampler < DR_SAMPLERS; sampler++)
            for (int i = 0; i < 6 * 3; i++)
                made_or_refused(&c, &(dr_step_table_request){ .sampler = (dr_sampler)sampler,
                                                              .steps = steps[i % 6],
                                                              .image_to_image = i / 6 > 0,
                                                              .strength = strengths[i / 6] });
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_go_both_ways),
        cmocka_unit_test(the_files_sampler_is_the_default),
        cmocka_unit_test(pndm_warms_up),
        cmocka_unit_test(strength_is_truncated_in_double),
        cmocka_unit_test(pipelines_overrule_the_file),
        cmocka_unit_test(bad_requests_are_refused),
        cmocka_unit_test(unsupported_configs_are_refused),
        cmocka_unit_test(trailing_has_as_many_times_as_steps),
        cmocka_unit_test(every_schedule_is_made_or_refused),
    };
    return cmocka_run_group_tests_name("schedule", tests, NULL, NULL);
}

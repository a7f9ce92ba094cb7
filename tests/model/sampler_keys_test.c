/* A key of a scheduler's file matters to the samplers that read it.  If its value means what Darkroom does
 * not do, these samplers are refused.  All others draw the same with the key and without.  Which sampler
 * reads which key was tried out with the reference's classes. */
#include "model/config.h"
#include "tests/model/sampler_file.h"
#include "tests/support/temp_folder.h"

TEMP_FOLDER_OF_GROUP(folder)

#define SD "\"beta_schedule\":\"scaled_linear\",\"beta_start\":0.00085,\"beta_end\":0.012,\"steps_offset\":1"

static void read_text(dr_sampler_config *out, const char *text)
{
    dr_error err = { 0 };

    if (sampler_file_read(out, temp_write(&folder, "scheduler_config.json", text, strlen(text)), &err))
        fail_msg("%s: %s", text, err.text);
}

static dr_step_table *create(const dr_sampler_config *config, dr_sampler sampler, dr_error *err)
{
    const dr_step_table_request request = { .sampler = sampler, .task = DR_TASK_TEXT_TO_IMAGE, .steps = 6 };
    dr_step_table *s;

    dr_step_table_create(&s, config, &request, err);
    return s;
}

/* Is the word in the list, which has a space before and after each? */
static bool is_listed(const char *list, const char *word)
{
    char spaced[40];

    snprintf(spaced, sizeof(spaced), " %s ", word);
    return strstr(list, spaced) != NULL;
}

#define DPMPP " dpmpp_2m dpmpp_2m_karras dpmpp_sde "
#define DPMPP_UNIPC DPMPP "unipc "
#define KARRAS_OR_NOT DPMPP_UNIPC "euler heun lms "
#define ALL KARRAS_OR_NOT "ddpm ddim pndm euler_a "

static const struct key {
    const char *text;    /* of the file */
    const char *readers; /* who is refused */
} KEYS[] = {
    { "\"solver_type\":\"heun\"", DPMPP },
    { "\"solver_type\":\"bh1\"", " unipc " },
    { "\"solver_type\":\"logrho\"", "" },
    { "\"solver_type\":null", DPMPP_UNIPC },
    { "\"euler_at_final\":true", "" },
    { "\"lower_order_final\":false", " unipc " },
    { "\"variance_type\":\"fixed_large\"", " ddpm " },
    { "\"variance_type\":\"learned_range\"", " ddpm " DPMPP },
    { "\"variance_type\":\"fixed_small_log\"", "" },
    { "\"variance_type\":null", "" },
    { "\"thresholding\":true", " ddpm ddim lcm " DPMPP_UNIPC },
    { "\"thresholding\":null", "" },
    { "\"lambda_min_clipped\":-Infinity", "" },
    { "\"lambda_min_clipped\":-5.1", "" }, /* below all that there are */
    { "\"lambda_min_clipped\":-2", DPMPP },
    { "\"lambda_min_clipped\":null", DPMPP },
    { "\"disable_corrector\":[0,1]", " unipc " },
    { "\"disable_corrector\":null", " unipc " },
    { "\"original_inference_steps\":100", " lcm " },
    { "\"timestep_scaling\":5", " lcm " },
    { "\"algorithm_type\":\"deis\"", "" },
    { "\"algorithm_type\":\"dpmsolver\"", " dpmpp_2m dpmpp_2m_karras " },
    { "\"interpolation_type\":\"log_linear\"", " euler " },
    { "\"final_sigmas_type\":\"sigma_min\"", " euler " DPMPP_UNIPC },
    { "\"final_sigmas_type\":null", " euler " DPMPP_UNIPC },
    { "\"use_karras_sigmas\":null", " dpmpp_2m dpmpp_sde unipc euler heun lms " },
    { "\"use_exponential_sigmas\":true", KARRAS_OR_NOT },
    { "\"use_exponential_sigmas\":null", KARRAS_OR_NOT },
    { "\"use_beta_sigmas\":true", KARRAS_OR_NOT },
    { "\"use_lu_lambdas\":true", " dpmpp_2m dpmpp_sde " },
    { "\"use_lu_lambdas\":null", "" },
    { "\"use_flow_sigmas\":true", DPMPP_UNIPC },
    { "\"use_flow_sigmas\":null", "" },
    { "\"use_dynamic_shifting\":true", " unipc " },
    { "\"shift_terminal\":0.1", " unipc " },
    { "\"solver_p\":{}", " unipc " },
    { "\"predict_x0\":false", " unipc " },
    { "\"solver_order\":3", DPMPP_UNIPC },
    { "\"solver_order\":null", DPMPP_UNIPC },
    { "\"sigma_min\":0.1", " dpmpp_2m_karras " },
    { "\"sigma_max\":14", " dpmpp_2m_karras " },
    { "\"timestep_type\":\"continuous\"", "" }, /* read with v_prediction only */
    { "\"timestep_spacing\":null", ALL },
    { "\"timestep_spacing\":\"karras\"", ALL },
    { "\"clip_sample\":7", " ddpm ddim heun lcm " },
    { "\"clip_sample_range\":null", " ddpm ddim " },
    { "\"set_alpha_to_one\":\"true\"", " ddim pndm lcm " },
    { "\"skip_prk_steps\":[]", " pndm " },
    { "\"rescale_betas_zero_snr\":3", " ddpm ddim lcm euler euler_a " DPMPP_UNIPC },
    { "\"dynamic_thresholding_ratio\":null,\"sample_max_value\":NaN,\"flow_shift\":7", "" },
};

static void check_key(const struct key *key, const dr_sampler_config *plain, dr_sampler sampler)
{
    const char *name = dr_sampler_name(sampler);
    dr_sampler_config with;
    dr_error err = { 0 }, plain_err = { 0 };
    dr_step_table *a, *b;
    char text[512];

    snprintf(text, sizeof(text), "{\"_class_name\":\"DDIMScheduler\"," SD ",%s}", key->text);
    read_text(&with, text);
    a = create(&with, sampler, &err);
    if (is_listed(key->readers, name)) {
        char word[40];

        snprintf(word, sizeof(word), "%.*s", (int)(strcspn(key->text + 1, "\"")), key->text + 1);
        if (a || err.status == DR_ENOMEM || !strstr(err.text, word) || strchr(err.text, '\n'))
            fail_msg("%s with %s: \"%s\"", name, key->text, err.text);
        return;
    }
    b = create(plain, sampler, &plain_err);
    if (!a || !b)
        fail_msg("%s with %s: \"%s\" \"%s\"", name, key->text, err.text, plain_err.text);
    assert_int_equal(a->calls, b->calls);
    assert_true(a->init_scale == b->init_scale);
    if (memcmp(a->step, b->step, (size_t)a->calls * sizeof(a->step[0])) != 0)
        fail_msg("%s draws another picture with %s", name, key->text);
    dr_step_table_free(a);
    dr_step_table_free(b);
}

static void a_key_counts_for_those_that_read_it(void **state)
{
    dr_sampler_config plain;
    (void)state;

    read_text(&plain, "{\"_class_name\":\"DDIMScheduler\"," SD "}");
    for (size_t i = 0; i < sizeof(KEYS) / sizeof(KEYS[0]); i++)
        for (int s = DR_SAMPLER_DEFAULT + 1; s < DR_SAMPLERS; s++)
            check_key(&KEYS[i], &plain, (dr_sampler)s);
}

/* Keys that matter only beside another key. */
static void a_key_may_need_another_to_count(void **state)
{
    static const struct {
        const char *text;
        dr_sampler refused, taken;
    } cases[] = {
        { "\"use_karras_sigmas\":true,\"sigma_min\":0.1", DR_SAMPLER_EULER, DR_SAMPLER_EULER_A },
        { "\"use_karras_sigmas\":true,\"sigma_max\":9", DR_SAMPLER_LMS, DR_SAMPLER_DDIM },
        { "\"prediction_type\":\"v_prediction\",\"timestep_type\":\"continuous\"", DR_SAMPLER_EULER,
          DR_SAMPLER_HEUN },
        { "\"clip_sample\":true,\"clip_sample_range\":0", DR_SAMPLER_HEUN, DR_SAMPLER_EULER },
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        dr_error err = { 0 };
        dr_sampler_config c;
        dr_step_table *s;
        char text[512];

        snprintf(text, sizeof(text), "{\"_class_name\":\"DDIMScheduler\"," SD ",%s}", cases[i].text);
        read_text(&c, text);
        assert_null(create(&c, cases[i].refused, &err));
        s = create(&c, cases[i].taken, &err);
        assert_non_null(s);
        dr_step_table_free(s);
    }
}

/* The class matters only to a job that names no sampler. */
static void a_class_that_we_lack_serves_named_samplers(void **state)
{
    static const char *const files[] = {
        "{\"_class_name\":\"DEISMultistepScheduler\",\"algorithm_type\":\"deis\",\"solver_type\":"
        "\"logrho\"," SD "}",
        "{\"_class_name\":\"KDPM2DiscreteScheduler\"," SD "}",
        "{\"_class_name\":\"DPMSolverSinglestepScheduler\",\"lower_order_final\":true,\"solver_order\":2," SD
        "}",
    };
    dr_sampler_config plain;
    (void)state;

    read_text(&plain, "{\"_class_name\":\"DDIMScheduler\"," SD "}");
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        dr_error err = { 0 };
        dr_sampler_config c;

        read_text(&c, files[i]);
        assert_int_equal(c.own, DR_SAMPLER_DEFAULT);
        assert_null(create(&c, DR_SAMPLER_DEFAULT, &err));
        assert_int_equal(err.status, DR_EUNSUPPORTED);
        assert_non_null(strstr(err.text, "must name a sampler: ddpm, "));
        for (int s = DR_SAMPLER_DEFAULT + 1; s < DR_SAMPLERS; s++) {
            dr_step_table *a = create(&c, (dr_sampler)s, &err), *b = create(&plain, (dr_sampler)s, &err);

            if (!a || !b)
                fail_msg("%s: %s", dr_sampler_name((dr_sampler)s), err.text);
            assert_memory_equal(a->step, b->step, (size_t)a->calls * sizeof(a->step[0]));
            dr_step_table_free(a);
            dr_step_table_free(b);
        }
    }
}

/* The pipeline of text to image replaces every value other than 1 by 1, so also null. */
static void a_null_offset_is_1(void **state)
{
    dr_sampler_config null, one;
    dr_step_table *a, *b;
    dr_error err;
    (void)state;

    read_text(&one, "{\"_class_name\":\"DDIMScheduler\",\"steps_offset\":1}");
    read_text(&null, "{\"_class_name\":\"DDIMScheduler\",\"steps_offset\":null}");
    a = create(&one, DR_SAMPLER_DEFAULT, &err);
    b = create(&null, DR_SAMPLER_DEFAULT, &err);
    assert_true(a && b);
    assert_true(a->step[a->calls - 1].timestep == 1);
    assert_memory_equal(a->step, b->step, (size_t)a->calls * sizeof(a->step[0]));
    dr_step_table_free(a);
    dr_step_table_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_counts_for_those_that_read_it),
        cmocka_unit_test(a_key_may_need_another_to_count),
        cmocka_unit_test(a_class_that_we_lack_serves_named_samplers),
        cmocka_unit_test(a_null_offset_is_1),
    };

    return cmocka_run_group_tests_name("sampler_keys", tests, open_temp, close_temp);
}

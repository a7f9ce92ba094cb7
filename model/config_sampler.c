/* config_sampler.c - diffusers 0.42's noise schedulers (schedulers/scheduling_*.py).
 *
 * Any sampler may be built from the file of any class.  A key matters only to the samplers that read it.
 * So a value that Darkroom does not support is no failure of the file: it is kept (keep_refusal()) as the
 * reason why the samplers that read this key can't be built from the file.  All other samplers can. */
#include "model/config_parts.h"
#include "model/sampler_class.h"

#include <stddef.h>
#include <string.h>

/* In the order of the enums of model/sampler.h. */
static const char *const BETA_SCHEDULES[] = { "linear", "scaled_linear", "squaredcos_cap_v2" };
static const char *const SPACINGS[] = { "leading", "linspace", "trailing" };
static const char *const PREDICTIONS[] = { "epsilon", "v_prediction", "sample" };

/* --- who reads what ------------------------------------------------------------------- */

#define ONE(sampler) (1u << DR_SAMPLER_##sampler)
#define DPMPP (ONE(DPMPP_2M) | ONE(DPMPP_2M_KARRAS) | ONE(DPMPP_SDE))
#define KARRAS_OR_NOT (ONE(EULER) | ONE(HEUN) | DPMPP | ONE(UNIPC) | ONE(LMS))
#define EVERY ((1u << DR_SAMPLERS) - 1)

/* The samplers whose rows have true in a column: readers_of(offsetof(dr_sampler_class, reads_clip)). */
static unsigned readers_of(size_t column)
{
    unsigned samplers = 0;

    for (int i = DR_SAMPLER_DEFAULT + 1; i < DR_SAMPLERS; i++)
        samplers |= (unsigned)*(const bool *)((const char *)dr_sampler_class_of((dr_sampler)i) + column) << i;
    return samplers;
}

/* Keys that change what these samplers draw, with the values that mean what Darkroom does. */
static const struct checked_key {
    const char *key, *values; /* as dr_json_only() takes them */
    unsigned samplers;
} CHECKED_KEYS[] = {
    { "algorithm_type", "\"dpmsolver++\", \"sde-dpmsolver++\", \"deis\"",
      ONE(DPMPP_2M) | ONE(DPMPP_2M_KARRAS) },
    { "disable_corrector", "[]", ONE(UNIPC) },
    { "final_sigmas_type", "\"zero\"", ONE(EULER) | DPMPP | ONE(UNIPC) },
    { "interpolation_type", "\"linear\"", ONE(EULER) },
    { "lower_order_final", "true", ONE(UNIPC) },
    { "original_inference_steps", "50", ONE(LCM) },
    { "predict_x0", "true", ONE(UNIPC) },
    { "shift_terminal", "null", ONE(UNIPC) },
    { "solver_p", "null", ONE(UNIPC) },
    { "solver_type", "\"midpoint\", \"bh1\", \"bh2\", \"logrho\"", DPMPP },
    { "solver_type", "\"bh2\", \"midpoint\", \"heun\", \"logrho\"", ONE(UNIPC) },
    { "thresholding", "false, null", ONE(DDPM) | ONE(DDIM) | DPMPP | ONE(UNIPC) | ONE(LCM) },
    { "timestep_scaling", "10", ONE(LCM) },
    { "use_beta_sigmas", "false", KARRAS_OR_NOT },
    { "use_dynamic_shifting", "false, null", ONE(UNIPC) },
    { "use_exponential_sigmas", "false", KARRAS_OR_NOT },
    { "use_flow_sigmas", "false, null", DPMPP | ONE(UNIPC) },
    { "use_karras_sigmas", "false, true", KARRAS_OR_NOT & ~ONE(DPMPP_2M_KARRAS) },
    { "use_lu_lambdas", "false, null", ONE(DPMPP_2M) | ONE(DPMPP_SDE) },
    { "variance_type", "\"fixed_small\", \"fixed_small_log\", null", ONE(DDPM) },
    { "variance_type", "\"fixed_small\", \"fixed_small_log\", \"fixed_large\", \"fixed_large_log\", null",
      DPMPP },
};

/* If reading the last key failed, keep the failure for the samplers that read this key, and clear it, so
 * that reading goes on.  A lack of memory stays: it ends the reading. */
static void keep_refusal(dr_json *j, dr_sampler_config *c, unsigned samplers)
{
    if (!j->status || j->status == DR_ENOMEM)
        return;
    for (int i = 0; i < DR_SAMPLERS; i++)
        if ((samplers >> i & 1) && !c->refused[i].status)
            c->refused[i] = *j->err;
    j->status = DR_OK;
}

static void check_readings(dr_json *j, dr_sampler_config *c)
{
    for (size_t i = 0; i < sizeof(CHECKED_KEYS) / sizeof(CHECKED_KEYS[0]); i++) {
        dr_json_only(j, CHECKED_KEYS[i].key, CHECKED_KEYS[i].values);
        keep_refusal(j, c, CHECKED_KEYS[i].samplers);
    }
}

/* --- the class ------------------------------------------------------------------------ */

/* Models with schedulers of these kinds predict something else than noise, x0 or v.  No sampler of
 * Darkroom can draw with such a model. */
static const char *const OTHER_KINDS[] = {
    "FlowMatch", "EDM", "ScoreSde", "KarrasVe", "CMStochastic", "VQDiffusion", "Amused",
};

static bool is_other_kind(const char *name)
{
    for (size_t i = 0; i < sizeof(OTHER_KINDS) / sizeof(OTHER_KINDS[0]); i++)
        if (!strncmp(name, OTHER_KINDS[i], strlen(OTHER_KINDS[i])))
            return true;
    return false;
}

/* The sampler of that class; DR_SAMPLER_DEFAULT for a class that Darkroom lacks, and after a failure.
 * Such a class matters only to a job that names no sampler: jobs that name one can use the file. */
static dr_sampler read_class(dr_json *j, dr_sampler_config *c, const char *class_name)
{
    const dr_sampler sampler = j->status ? DR_SAMPLER_DEFAULT : dr_sampler_of_diffusers(class_name);

    if (j->status || sampler != DR_SAMPLER_DEFAULT)
        return sampler;
    j->status = dr_fail(j->err, DR_EUNSUPPORTED, "%s: the scheduler class '%.64s' is not supported%s",
                        j->path, class_name, is_other_kind(class_name) ? "" : "; jobs must name a sampler");
    if (!is_other_kind(class_name))
        keep_refusal(j, c, ONE(DEFAULT));
    return DR_SAMPLER_DEFAULT;
}

/* --- values --------------------------------------------------------------------------- */

/* With a class that Darkroom lacks, a missing key has the default of DDPM. */
static void read_betas(dr_json *j, dr_sampler_config *c)
{
    const dr_sampler_class *class =
        dr_sampler_class_of(c->own == DR_SAMPLER_DEFAULT ? DR_SAMPLER_DDPM : c->own);

    c->has_betas =
        dr_json_has(j, "beta_start") || dr_json_has(j, "beta_end") || dr_json_has(j, "beta_schedule");
    dr_json_only(j, "trained_betas", "null");
    c->beta_start = dr_json_number(j, "beta_start", class->beta_start, 1e-9, 0.999);
    c->beta_end = dr_json_number(j, "beta_end", class->beta_end, 1e-9, 0.999);
    c->beta_schedule = dr_json_choice(j, "beta_schedule", BETA_SCHEDULES, 3, class->beta_schedule);
    if (!j->status && c->beta_start > c->beta_end)
        dr_json_fail(j, DR_EFORMAT, "beta_start", "it is larger than beta_end = %g", c->beta_end);
}

/* DPMSolverMultistepScheduler is the class of three samplers: choose by the keys. */
static void read_dpm_variant(dr_json *j, dr_sampler_config *c)
{
    const char *algorithm = json_string_value(json_object_get(j->object, "algorithm_type"));

    if (c->own != DR_SAMPLER_DPMPP_2M)
        return;
    if (algorithm && !strcmp(algorithm, "sde-dpmsolver++"))
        c->own = DR_SAMPLER_DPMPP_SDE;
    else if (c->use_karras_sigmas)
        c->own = DR_SAMPLER_DPMPP_2M_KARRAS;
}

static bool read_flag(dr_json *j, const char *key, bool *has)
{
    *has = dr_json_has(j, key);
    return dr_json_bool(j, key, false);
}

/* The pipelines replace every value other than 1 by 1, so also null, which is Python's None. */
static void read_steps_offset(dr_json *j, dr_sampler_config *c)
{
    c->has_steps_offset = !dr_json_is_null(j, "steps_offset");
    c->steps_offset = c->has_steps_offset ? dr_json_int(j, "steps_offset", 0, 0, DR_TRAIN_TIMESTEPS_MAX) : 0;
}

/* "-Infinity" is the class' default: no limit (model/json_text.h). */
static void read_lambda_min(dr_json *j, dr_sampler_config *c)
{
    const char *word = json_string_value(json_object_get(j->object, "lambda_min_clipped"));

    if (!dr_json_has(j, "lambda_min_clipped") || (word && !strcmp(word, "-Infinity")))
        return;
    c->has_lambda_min = true;
    c->lambda_min = dr_json_number(j, "lambda_min_clipped", 0, -1e308, 1e308);
    keep_refusal(j, c, readers_of(offsetof(dr_sampler_class, reads_lambda_min)));
}

/* Keys with a field in dr_sampler_config that some samplers read and others do not. */
static void read_some_samplers_keys(dr_json *j, dr_sampler_config *c)
{
    const unsigned clip_by_default = readers_of(offsetof(dr_sampler_class, clip));
    const unsigned may_clip = readers_of(offsetof(dr_sampler_class, reads_clip));

    c->has_spacing = dr_json_has(j, "timestep_spacing");
    c->spacing = dr_json_choice(j, "timestep_spacing", SPACINGS, 3, DR_SPACING_LEADING);
    keep_refusal(j, c, EVERY & ~ONE(LCM));
    c->clip_sample = read_flag(j, "clip_sample", &c->has_clip_sample);
    keep_refusal(j, c, may_clip);
    c->clip_sample_range = (float)dr_json_number(j, "clip_sample_range", 1, 1e-6, 1e6);
    keep_refusal(j, c, !c->has_clip_sample ? clip_by_default : c->clip_sample ? may_clip : 0);
    c->set_alpha_to_one = read_flag(j, "set_alpha_to_one", &c->has_set_alpha_to_one);
    keep_refusal(j, c, ONE(DDIM) | ONE(PNDM) | ONE(LCM));
    c->skip_prk_steps = read_flag(j, "skip_prk_steps", &c->has_skip_prk_steps);
    keep_refusal(j, c, readers_of(offsetof(dr_sampler_class, reads_skip_prk_steps)));
    c->rescale_betas_zero_snr = dr_json_bool(j, "rescale_betas_zero_snr", false);
    keep_refusal(j, c, EVERY & ~(ONE(PNDM) | ONE(HEUN) | ONE(LMS)));
    c->use_karras_sigmas = read_flag(j, "use_karras_sigmas", &c->has_use_karras_sigmas);
    keep_refusal(j, c, KARRAS_OR_NOT & ~ONE(DPMPP_2M_KARRAS));
    c->has_solver_order = dr_json_has(j, "solver_order");
    c->solver_order = dr_json_int(j, "solver_order", 2, 1, 2);
    keep_refusal(j, c, DPMPP | ONE(UNIPC));
    read_lambda_min(j, c);
}

/* Keys that matter only if another key has a certain value. */
static void check_conditional_readings(dr_json *j, dr_sampler_config *c)
{
    const unsigned karras = c->use_karras_sigmas ? KARRAS_OR_NOT : ONE(DPMPP_2M_KARRAS);

    dr_json_only(j, "sigma_min", "null");
    keep_refusal(j, c, karras);
    dr_json_only(j, "sigma_max", "null");
    keep_refusal(j, c, karras);
    if (c->prediction == DR_PREDICT_V)
        dr_json_only(j, "timestep_type", "\"discrete\"");
    keep_refusal(j, c, ONE(EULER));
}

dr_status dr_sampler_config_parse(dr_sampler_config *out, const char *path, json_t *root,
                                  const char *class_name, dr_error *err)
{
    dr_error own_err;
    dr_json j = dr_json_at(path, root, err ? err : &own_err); /* keep_refusal() reads it */
    dr_sampler_config c = { .own = DR_SAMPLER_DEFAULT };

    c.own = read_class(&j, &c, class_name);
    c.train_timesteps = dr_json_int(&j, "num_train_timesteps", 1000, 1, DR_TRAIN_TIMESTEPS_MAX);
    read_betas(&j, &c);
    c.prediction = dr_json_choice(&j, "prediction_type", PREDICTIONS, 3, DR_PREDICT_EPSILON);
    read_steps_offset(&j, &c);
    if (!j.status) { /* every sampler reads the keys up to here */
        read_some_samplers_keys(&j, &c);
        check_readings(&j, &c);
        check_conditional_readings(&j, &c);
        read_dpm_variant(&j, &c);
    }
    *out = c;
    return j.status;
}

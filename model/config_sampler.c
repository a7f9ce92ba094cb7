/* config_sampler.c - diffusers 0.42's noise schedulers (schedulers/scheduling_*.py).
 *
 * Any sampler may be built from any class' file, so keys are read whichever class the file
 * is of; a key that only some classes read is refused where its value would change their result. */
#include "model/config_parts.h"

#include <string.h>

typedef struct sampler_class {
    const char *name;
    dr_sampler sampler;
    double beta_start, beta_end; /* the class' defaults */
    int beta_schedule;
} sampler_class;

static const sampler_class CLASSES[] = {
    { "DDPMScheduler", DR_SAMPLER_DDPM, 0.0001, 0.02, DR_BETA_LINEAR },
    { "DDIMScheduler", DR_SAMPLER_DDIM, 0.0001, 0.02, DR_BETA_LINEAR },
    { "PNDMScheduler", DR_SAMPLER_PNDM, 0.0001, 0.02, DR_BETA_LINEAR },
    { "EulerDiscreteScheduler", DR_SAMPLER_EULER, 0.0001, 0.02, DR_BETA_LINEAR },
    { "EulerAncestralDiscreteScheduler", DR_SAMPLER_EULER_A, 0.0001, 0.02, DR_BETA_LINEAR },
    { "HeunDiscreteScheduler", DR_SAMPLER_HEUN, 0.00085, 0.012, DR_BETA_LINEAR },
    { "DPMSolverMultistepScheduler", DR_SAMPLER_DPMPP_2M, 0.0001, 0.02, DR_BETA_LINEAR },
    { "UniPCMultistepScheduler", DR_SAMPLER_UNIPC, 0.0001, 0.02, DR_BETA_LINEAR },
    { "LMSDiscreteScheduler", DR_SAMPLER_LMS, 0.0001, 0.02, DR_BETA_LINEAR },
    { "LCMScheduler", DR_SAMPLER_LCM, 0.00085, 0.012, DR_BETA_SCALED_LINEAR },
};
enum { CLASS_COUNT = sizeof(CLASSES) / sizeof(CLASSES[0]) };

/* In the order of the enums of model/sampler.h. */
static const char *const BETA_SCHEDULES[] = { "linear", "scaled_linear", "squaredcos_cap_v2" };
static const char *const SPACINGS[] = { "leading", "linspace", "trailing" };
static const char *const PREDICTIONS[] = { "epsilon", "v_prediction", "sample" };
static const char *const ALGORITHMS[] = { "dpmsolver++", "sde-dpmsolver++" };

static const dr_config_only ONLY[] = {
    { "disable_corrector", "[]" },
    { "euler_at_final", "false" },
    { "final_sigmas_type", "\"zero\"" },
    { "interpolation_type", "\"linear\"" },
    { "lambda_min_clipped", "null" }, /* -Infinity, see dr_json_read() */
    { "lower_order_final", "true" },
    { "original_inference_steps", "50" },
    { "predict_x0", "true" },
    { "shift_terminal", "null" },
    { "sigma_max", "null" },
    { "sigma_min", "null" },
    { "solver_p", "null" },
    { "solver_type", "\"midpoint\", \"bh2\", \"logrho\"" }, /* each class takes the others' for its own */
    { "thresholding", "false" },
    { "timestep_scaling", "10" },
    { "timestep_type", "\"discrete\"" },
    { "trained_betas", "null" },
    { "use_beta_sigmas", "false, null" },
    { "use_dynamic_shifting", "false" },
    { "use_exponential_sigmas", "false, null" },
    { "use_flow_sigmas", "false" },
    { "use_lu_lambdas", "false" },
    { "variance_type", "\"fixed_small\", null" },
    { NULL, NULL },
};

/* The class that model_index.json names wins over the file's own word, as in diffusers. */
static const sampler_class *read_class(dr_json *j, const char *class_name)
{
    const char *names[CLASS_COUNT];

    for (int i = 0; i < CLASS_COUNT; i++)
        names[i] = CLASSES[i].name;
    for (int i = 0; class_name && i < CLASS_COUNT; i++)
        if (!strcmp(class_name, names[i]))
            return &CLASSES[i];
    if (class_name)
        j->status = dr_fail(j->err, DR_EUNSUPPORTED,
                            "%s: model_index.json asks for the class '%.64s', which is not supported",
                            j->path, class_name);
    else if (!dr_json_has(j, "_class_name"))
        dr_json_fail(j, DR_EFORMAT, "_class_name", "a scheduler's name is needed");
    return &CLASSES[dr_json_choice(j, "_class_name", names, CLASS_COUNT, 0)];
}

static void read_betas(dr_json *j, dr_sampler_config *c, const sampler_class *class)
{
    c->has_betas =
        dr_json_has(j, "beta_start") || dr_json_has(j, "beta_end") || dr_json_has(j, "beta_schedule");
    c->beta_start = dr_json_number(j, "beta_start", class->beta_start, 1e-9, 0.999);
    c->beta_end = dr_json_number(j, "beta_end", class->beta_end, 1e-9, 0.999);
    c->beta_schedule = dr_json_choice(j, "beta_schedule", BETA_SCHEDULES, 3, class->beta_schedule);
    if (!j->status && c->beta_start > c->beta_end)
        dr_json_fail(j, DR_EFORMAT, "beta_start", "it is larger than beta_end = %g", c->beta_end);
}

/* Which of our samplers a DPMSolverMultistepScheduler is. */
static void read_dpm_variant(dr_json *j, dr_sampler_config *c)
{
    const bool sde = dr_json_choice(j, "algorithm_type", ALGORITHMS, 2, 0) == 1;

    if (c->own != DR_SAMPLER_DPMPP_2M)
        return;
    if (sde)
        c->own = DR_SAMPLER_DPMPP_SDE;
    else if (c->use_karras_sigmas)
        c->own = DR_SAMPLER_DPMPP_2M_KARRAS;
}

static bool read_flag(dr_json *j, const char *key, bool *has)
{
    *has = !dr_json_is_null(j, key);
    return *has && dr_json_bool(j, key, false);
}

dr_status dr_sampler_config_parse(dr_sampler_config *out, const char *path, json_t *root,
                                  const char *class_name, dr_error *err)
{
    dr_json j = dr_json_at(path, root, err);
    const sampler_class *class = read_class(&j, class_name);
    dr_sampler_config c = { .own = class->sampler };

    dr_config_only_these(&j, ONLY);
    c.train_timesteps = dr_json_int(&j, "num_train_timesteps", 1000, 1, DR_TRAIN_TIMESTEPS_MAX);
    read_betas(&j, &c, class);
    c.has_spacing = dr_json_has(&j, "timestep_spacing");
    c.spacing = dr_json_choice(&j, "timestep_spacing", SPACINGS, 3, DR_SPACING_LEADING);
    c.has_steps_offset = dr_json_has(&j, "steps_offset");
    c.steps_offset = dr_json_int(&j, "steps_offset", 0, 0, DR_TRAIN_TIMESTEPS_MAX);
    c.prediction = dr_json_choice(&j, "prediction_type", PREDICTIONS, 3, DR_PREDICT_EPSILON);
    c.clip_sample = read_flag(&j, "clip_sample", &c.has_clip_sample);
    c.clip_sample_range = (float)dr_json_number(&j, "clip_sample_range", 1, 1e-6, 1e6);
    c.set_alpha_to_one = read_flag(&j, "set_alpha_to_one", &c.has_set_alpha_to_one);
    c.skip_prk_steps = read_flag(&j, "skip_prk_steps", &c.has_skip_prk_steps);
    c.rescale_betas_zero_snr = dr_json_bool(&j, "rescale_betas_zero_snr", false);
    c.has_solver_order = dr_json_has(&j, "solver_order");
    c.solver_order = dr_json_int(&j, "solver_order", 2, 1, 3);
    c.use_karras_sigmas = read_flag(&j, "use_karras_sigmas", &c.has_use_karras_sigmas);
    read_dpm_variant(&j, &c);
    *out = c;
    return j.status;
}

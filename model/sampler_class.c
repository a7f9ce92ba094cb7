#include "model/sampler_class.h"

#include "model/schedule.h"

#include <string.h>

#define BETAS(schedule, start, end) .beta_schedule = schedule, .beta_start = start, .beta_end = end
#define DDPM_BETAS BETAS(DR_BETA_LINEAR, 0.0001, 0.02)
#define BY_SPACING(default_spacing) .time = dr_time_by_spacing, .spacing = default_spacing
#define CALL_A_STEP .calls = dr_calls_one_a_step
#define ALPHA_CLASS .form = DR_NOISE_ALPHA, BY_SPACING(DR_SPACING_LEADING)
#define SIGMA_CLASS .form = DR_NOISE_SIGMA, BY_SPACING(DR_SPACING_LINSPACE)
#define LAMBDA_CLASS                                                                                         \
    .form = DR_NOISE_LAMBDA, BY_SPACING(DR_SPACING_LINSPACE), DDPM_BETAS, CALL_A_STEP, .reads_karras = true, \
    .predicts_sample = true, .zero_snr = DR_ZERO_SNR_NEARLY
#define DPMPP_CLASS                                                                     \
    .diffusers = "DPMSolverMultistepScheduler", LAMBDA_CLASS, .reads_lambda_min = true, \
    .truncates_karras_times = true, .history = 1

static const dr_sampler_class CLASSES[DR_SAMPLERS] = {
    [DR_SAMPLER_DDPM] = { .name = "ddpm",
                          .diffusers = "DDPMScheduler",
                          ALPHA_CLASS,
                          DDPM_BETAS,
                          CALL_A_STEP,
                          .reads_clip = true,
                          .clip = true,
                          .predicts_sample = true,
                          .zero_snr = DR_ZERO_SNR_EXACT,
                          .draws_noise = true,
                          .fill = dr_fill_ddpm },
    [DR_SAMPLER_DDIM] = { .name = "ddim",
                          .diffusers = "DDIMScheduler",
                          ALPHA_CLASS,
                          DDPM_BETAS,
                          CALL_A_STEP,
                          .reads_clip = true,
                          .clip = true,
                          .alpha_to_one = true,
                          .predicts_sample = true,
                          .zero_snr = DR_ZERO_SNR_EXACT,
                          .fill = dr_fill_ddim },
    [DR_SAMPLER_PNDM] = { .name = "pndm",
                          .diffusers = "PNDMScheduler",
                          ALPHA_CLASS,
                          DDPM_BETAS,
                          .calls = dr_calls_pndm,
                          .reads_skip_prk_steps = true,
                          .history = 4,
                          .fill = dr_fill_pndm },
    [DR_SAMPLER_EULER] = { .name = "euler",
                           .diffusers = "EulerDiscreteScheduler",
                           SIGMA_CLASS,
                           DDPM_BETAS,
                           CALL_A_STEP,
                           .reads_karras = true,
                           .predicts_sample = true,
                           .zero_snr = DR_ZERO_SNR_NEARLY,
                           .fill = dr_fill_euler },
    [DR_SAMPLER_EULER_A] = { .name = "euler_a",
                             .diffusers = "EulerAncestralDiscreteScheduler",
                             SIGMA_CLASS,
                             DDPM_BETAS,
                             CALL_A_STEP,
                             .zero_snr = DR_ZERO_SNR_NEARLY,
                             .draws_noise = true,
                             .fill = dr_fill_euler_a },
    [DR_SAMPLER_HEUN] = { .name = "heun",
                          .diffusers = "HeunDiscreteScheduler",
                          SIGMA_CLASS,
                          BETAS(DR_BETA_LINEAR, 0.00085, 0.012),
                          .calls = dr_calls_heun,
                          .reads_clip = true,
                          .reads_karras = true,
                          .predicts_sample = true,
                          .history = 2,
                          .fill = dr_fill_heun },
    [DR_SAMPLER_DPMPP_2M] = { .name = "dpmpp_2m", DPMPP_CLASS, .fill = dr_fill_dpmpp_2m },
    [DR_SAMPLER_DPMPP_2M_KARRAS] = { .name = "dpmpp_2m_karras",
                                     DPMPP_CLASS,
                                     .always_karras = true,
                                     .fill = dr_fill_dpmpp_2m },
    [DR_SAMPLER_DPMPP_SDE] = { .name = "dpmpp_sde",
                               DPMPP_CLASS,
                               .draws_noise = true,
                               .fill = dr_fill_dpmpp_sde },
    [DR_SAMPLER_UNIPC] = { .name = "unipc",
                           .diffusers = "UniPCMultistepScheduler",
                           LAMBDA_CLASS,
                           .history = 3,
                           .fill = dr_fill_unipc },
    [DR_SAMPLER_LMS] = { .name = "lms",
                         .diffusers = "LMSDiscreteScheduler",
                         SIGMA_CLASS,
                         DDPM_BETAS,
                         CALL_A_STEP,
                         .reads_karras = true,
                         .predicts_sample = true,
                         .history = 3,
                         .fill = dr_fill_lms },
    [DR_SAMPLER_LCM] = { .name = "lcm",
                         .diffusers = "LCMScheduler",
                         .form = DR_NOISE_ALPHA,
                         .time = dr_time_lcm,
                         BETAS(DR_BETA_SCALED_LINEAR, 0.00085, 0.012),
                         CALL_A_STEP,
                         .reads_clip = true,
                         .predicts_sample = true,
                         .zero_snr = DR_ZERO_SNR_EXACT,
                         .steps_max = DR_LCM_TRAIN_STEPS,
                         .train_timesteps_min = DR_LCM_TRAIN_STEPS,
                         .draws_noise = true,
                         .fill = dr_fill_lcm },
};

const dr_sampler_class *dr_sampler_class_of(dr_sampler sampler)
{
    dr_assert(sampler > DR_SAMPLER_DEFAULT && sampler < DR_SAMPLERS);
    return &CLASSES[sampler];
}

dr_sampler dr_sampler_of_diffusers(const char *class_name)
{
    for (int i = DR_SAMPLER_DEFAULT + 1; i < DR_SAMPLERS; i++)
        if (!strcmp(CLASSES[i].diffusers, class_name))
            return (dr_sampler)i;
    return DR_SAMPLER_DEFAULT;
}

/* --- names --------------------------------------------------------------------------- */

bool dr_sampler_from_name(const char *name, dr_sampler *out)
{
    *out = DR_SAMPLER_DEFAULT;
    if (!name || !*name)
        return true;
    for (int i = DR_SAMPLER_DEFAULT + 1; i < DR_SAMPLERS; i++)
        if (!strcmp(CLASSES[i].name, name)) {
            *out = (dr_sampler)i;
            return true;
        }
    return false;
}

const char *dr_sampler_name(dr_sampler sampler)
{
    return sampler == DR_SAMPLER_DEFAULT ? "default" : dr_sampler_class_of(sampler)->name;
}

/* In the order of the rows; tests/model/schedule_test.c compares both. */
const char *dr_sampler_names(void)
{
    return "ddpm, ddim, pndm, euler, euler_a, heun, dpmpp_2m, dpmpp_2m_karras, dpmpp_sde, unipc, lms, lcm";
}

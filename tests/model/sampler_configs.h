/* sampler_configs.h - the scheduler configs of the goldens (tests/goldens/README.md), as model/config.h
 * reads them. */
#ifndef DR_TESTS_MODEL_SAMPLER_CONFIGS_H
#define DR_TESTS_MODEL_SAMPLER_CONFIGS_H

#include "model/sampler.h"
#include "tests/support/support.h"

#define SD_BETAS \
    .has_betas = true, .beta_schedule = DR_BETA_SCALED_LINEAR, .beta_start = 0.00085, .beta_end = 0.012
#define SD_PRK_FILE                                                                                          \
    .train_timesteps = 1000, SD_BETAS, .has_steps_offset = true, .steps_offset = 1, .has_clip_sample = true, \
    .clip_sample_range = 1, .has_set_alpha_to_one = true, .has_skip_prk_steps = true
#define SD_FILE SD_PRK_FILE, .skip_prk_steps = true

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
static const dr_sampler_config prk = { .own = DR_SAMPLER_PNDM, SD_PRK_FILE };
static const dr_sampler_config prk_v = {
    .own = DR_SAMPLER_DDIM,
    .prediction = DR_PREDICT_V,
    SD_PRK_FILE,
    .has_spacing = true,
    .spacing = DR_SPACING_LINSPACE,
};

static inline dr_step_table *create(const dr_sampler_config *config, dr_step_table_request request)
{
    dr_error err = { 0 };
    dr_step_table *s;

    if (dr_step_table_create(&s, config, &request, &err))
        fail_msg("%s", err.text);
    return s;
}

#endif

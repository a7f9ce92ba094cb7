/* schedule.h - the times and noise levels of one run; what the sampler families are made of.
 *
 * Only for sampler.c, schedule.c and the families, sampler_*.c.
 *
 *     training   acp[t]               t = 0 .. train_timesteps - 1: from almost 1 to almost 0
 *     the run    time[i], sigma[i]    i = first .. steps - 1: noisiest first; sigma[steps] is 0
 *
 * `acp` is alphas_cumprod, the share of the image in the variance.  Three ways of writing the
 * noisy x with it are in use, and with them go three ways of choosing times:
 *
 *     ALPHA    x = sqrt(acp) x0 + sqrt(1 - acp) noise            at whole timesteps
 *     SIGMA    x = x0 + sigma noise, sigma^2 = (1 - acp) / acp   at fractional ones; the UNet sees
 *                                                                x / sqrt(sigma^2 + 1)
 *     LAMBDA   as ALPHA, but computed from sigma                 one step more, without the last
 *
 * The numbers of the config's tables are rounded to float32 where the reference does it, all else is
 * double. */
#ifndef DR_MODEL_SCHEDULE_H
#define DR_MODEL_SCHEDULE_H

#include "model/sampler.h"

enum { DR_PRK_STEPS = 3 };

typedef struct dr_schedule dr_schedule;

typedef enum dr_noise_form { DR_NOISE_ALPHA, DR_NOISE_SIGMA, DR_NOISE_LAMBDA } dr_noise_form;

/* What a diffusers scheduler class makes of "rescale_betas_zero_snr" (Lin et al. 2023). */
typedef enum dr_zero_snr {
    DR_ZERO_SNR_IGNORED,
    DR_ZERO_SNR_EXACT,  /* the last acp is 0 */
    DR_ZERO_SNR_NEARLY, /* it is 2^-24, so that its sigma is finite */
} dr_zero_snr;

/* A diffusers scheduler class: the defaults of its keys, which keys it reads, and its steps. */
typedef struct dr_sampler_class {
    const char *name;
    dr_noise_form form;
    int spacing;
    int beta_schedule;
    double beta_start, beta_end;
    bool alpha_to_one;
    bool reads_clip, clip;
    bool reads_karras;
    bool predicts_sample; /* takes prediction_type "sample" */
    dr_zero_snr zero_snr;
    void (*fill)(const dr_schedule *t, dr_step *step); /* every call of the run, from t->first */
} dr_sampler_class;

/* A config as one class reads it, with its own defaults and what the pipeline forces; and what follows. */
struct dr_schedule {
    const dr_sampler_class *class;
    dr_prediction prediction;
    int spacing, steps_offset, beta_schedule;
    int order;
    bool karras;
    bool runge_kutta; /* pndm without skip_prk_steps: its first DR_PRK_STEPS steps are four calls each */
    float clip;       /* of x0; FLT_MAX: none */
    double acp_final; /* "before" timestep 0 */

    int train_timesteps;
    float acp[DR_TRAIN_TIMESTEPS_MAX];
    float train_sigma[DR_TRAIN_TIMESTEPS_MAX];

    int steps, first;
    double time[DR_STEPS_MAX];
    double sigma[DR_STEPS_MAX + 1]; /* not with DR_NOISE_ALPHA */
};

/* `sampler` is not DR_SAMPLER_DEFAULT, and class is its class. */
dr_status dr_schedule_make(dr_schedule *t, const dr_sampler_class *class, dr_sampler sampler,
                           const dr_sampler_config *config, const dr_step_table_request *request,
                           dr_error *err);

/* acp at a whole timestep; below 0, acp_final. */
double dr_schedule_acp(const dr_schedule *t, int timestep);

/* A linear combination of the sample and the UNet's output. */
typedef struct dr_mix {
    double x, e;
} dr_mix;

/* Where x = alpha x0 + sigma noise, alpha^2 + sigma^2 = 1: the x0 and the noise that the
 * UNet's output stands for. */
dr_mix dr_predicted_x0(dr_prediction prediction, double alpha, double sigma);
dr_mix dr_predicted_noise(dr_prediction prediction, double alpha, double sigma);

/* The same where x = x0 + sigma noise; the noise then is the derivative dx/dsigma. */
dr_mix dr_predicted_x0_unscaled(dr_prediction prediction, double sigma);
dr_mix dr_predicted_derivative(dr_prediction prediction, double sigma);

/* A step that yields nothing yet: its time, and what m is. */
dr_step dr_step_at(double timestep, dr_mix m, float clip);
dr_step dr_sigma_step_at(const dr_schedule *t, int i, dr_mix m); /* DR_NOISE_SIGMA: input scaled as well */

/* --- families ---------------------------------------------------------------------- */

void dr_fill_ddpm(const dr_schedule *t, dr_step *step);
void dr_fill_ddim(const dr_schedule *t, dr_step *step);
void dr_fill_pndm(const dr_schedule *t, dr_step *step);
void dr_fill_euler(const dr_schedule *t, dr_step *step);
void dr_fill_euler_a(const dr_schedule *t, dr_step *step);
void dr_fill_heun(const dr_schedule *t, dr_step *step);
void dr_fill_lms(const dr_schedule *t, dr_step *step);
void dr_fill_dpmpp_2m(const dr_schedule *t, dr_step *step);
void dr_fill_dpmpp_sde(const dr_schedule *t, dr_step *step);
void dr_fill_unipc(const dr_schedule *t, dr_step *step);
void dr_fill_lcm(const dr_schedule *t, dr_step *step);

#endif

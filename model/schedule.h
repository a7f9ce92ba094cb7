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

#include "model/sampler_class.h"

enum {
    DR_PRK_STEPS = 3,        /* pndm: steps by Runge-Kutta at the beginning of a run */
    DR_LCM_TRAIN_STEPS = 50, /* lcm: the timesteps that it was distilled with ("original_inference_steps") */
};

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

/* Fill *t for a run of this class with the model's config.  The class is borrowed.  Fails with DR_EUNSUPPORTED where the
 * config asks for what this class does not do here, and with DR_EINVAL where the request is out of range; the text says
 * what is allowed. */
dr_status dr_schedule_make(dr_schedule *t, const dr_sampler_class *class, const dr_sampler_config *config,
                           const dr_step_table_request *request, dr_error *err);

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

/* --- families: functions of the rows in sampler_class.c ------------------------------- */

/* The i-th timestep of the schedule, noisiest first: dr_sampler_class.time. */
double dr_time_by_spacing(const dr_schedule *t, int i); /* as "timestep_spacing" says */
double dr_time_lcm(const dr_schedule *t, int i);

/* Calls of the UNet that the run makes: dr_sampler_class.calls. */
int dr_calls_one_a_step(const dr_schedule *t);
int dr_calls_heun(const dr_schedule *t);
int dr_calls_pndm(const dr_schedule *t);

/* Fill a zeroed table step[calls]: dr_sampler_class.fill. */
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

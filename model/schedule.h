/* schedule.h - the timesteps and noise levels of one sample, and the parts of which sampler families make
 * steps.
 *
 * Only model/sampler.c, model/sampler_class.c, model/schedule.c and the families, model/sampler_*.c, use
 * this.
 *
 *     in training    acp[t]               t = 0 .. train_timesteps - 1: from almost 1 to almost 0
 *     in the run     time[i], sigma[i]    i = first .. steps - 1: noisiest first; sigma[steps] is 0
 *
 * `acp` is alphas_cumprod: the share of the image in the variance.  The samplers write the noisy latent x
 * in one of three ways, and each way has its timesteps:
 *
 *     ALPHA    x = sqrt(acp) x0 + sqrt(1 - acp) noise            at whole timesteps
 *     SIGMA    x = x0 + sigma noise, sigma^2 = (1 - acp) / acp   at fractional ones; the UNet sees
 *                                                                x / sqrt(sigma^2 + 1)
 *     LAMBDA   as ALPHA, but computed from sigma                 of one step more, without the last
 *
 * Numbers are rounded to float32 where the reference (diffusers) does so.  All others are double.
 *
 * Threads: any; a schedule does not change once it is made. */
#ifndef DR_MODEL_SCHEDULE_H
#define DR_MODEL_SCHEDULE_H

#include "model/sampler_class.h"

enum {
    DR_PRK_STEPS = 3,        /* pndm: steps by Runge-Kutta at the beginning of a run */
    DR_LCM_TRAIN_STEPS = 50, /* lcm: the timesteps that it was distilled with ("original_inference_steps") */
};

/* A config as one class reads it, with the defaults of the class and the keys that the pipeline overrules;
 * then the timesteps and noise levels that follow. */
struct dr_schedule {
    const dr_sampler_class *class;
    dr_prediction prediction;
    int spacing, steps_offset, beta_schedule;
    int order;
    bool karras;
    bool runge_kutta; /* pndm without skip_prk_steps: its first DR_PRK_STEPS steps are four calls each */
    float clip;       /* x0 is clipped to [-clip, clip]; FLT_MAX: it is not */
    double acp_final; /* acp after the last step, where the timestep would be below 0 */

    int train_timesteps;
    float acp[DR_TRAIN_TIMESTEPS_MAX];
    float train_sigma[DR_TRAIN_TIMESTEPS_MAX];

    int steps, first; /* a run from an image leaves out the steps before `first` */
    double time[DR_STEPS_MAX];
    double sigma[DR_STEPS_MAX + 1]; /* 0 with DR_NOISE_ALPHA */
};

/* Fill *t for a run of this class with the model's config.  The class is borrowed.  Fails with
 * DR_EUNSUPPORTED where the config asks for what this class does not do here, and with DR_EINVAL where the
 * request is out of range; the text says what is allowed. */
dr_status dr_schedule_make(dr_schedule *t, const dr_sampler_class *class, const dr_sampler_config *config,
                           const dr_step_table_request *request, dr_error *err);

/* acp at a whole timestep; acp_final where the timestep is below 0. */
double dr_schedule_acp(const dr_schedule *t, int timestep);

/* A linear combination: x times the latent plus e times the UNet's output. */
typedef struct dr_mix {
    double x, e;
} dr_mix;

/* With x = alpha x0 + sigma noise and alpha^2 + sigma^2 = 1: the x0 and the noise that the UNet predicts. */
dr_mix dr_predicted_x0(dr_prediction prediction, double alpha, double sigma);
dr_mix dr_predicted_noise(dr_prediction prediction, double alpha, double sigma);

/* The same with x = x0 + sigma noise.  The noise then is the derivative dx/dsigma. */
dr_mix dr_predicted_x0_unscaled(dr_prediction prediction, double sigma);
dr_mix dr_predicted_derivative(dr_prediction prediction, double sigma);

/* A step with its timestep and its m (kernels/sampler_step.h), whose matrix is still 0. */
dr_step dr_step_at(double timestep, dr_mix m, float clip);

/* The same at step i of a schedule of DR_NOISE_SIGMA, with the scale of the UNet's input. */
dr_step dr_sigma_step_at(const dr_schedule *t, int i, dr_mix m);

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

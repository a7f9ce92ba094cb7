/* sampler_class.h - every sampler as one row: what diffusers' class of that sampler does.
 *
 * All that one sampler does differently from another stands in its row: the defaults of its keys, which
 * keys it reads, how it spaces its timesteps, how many calls it makes, its limits.  No other code compares
 * samplers, except that config_sampler.c lists the samplers that read a key.  To add a sampler, add a row
 * in sampler_class.c and the function that fills its step table.
 *
 * Only model/sampler.c, model/schedule.c, model/config_sampler.c and the families, model/sampler_*.c, use
 * this.  Threads: the rows never change, so any thread may read them. */
#ifndef DR_MODEL_SAMPLER_CLASS_H
#define DR_MODEL_SAMPLER_CLASS_H

#include "model/sampler.h"

typedef struct dr_schedule dr_schedule;

/* How a class writes the noisy latent x (model/schedule.h explains the three). */
typedef enum dr_noise_form { DR_NOISE_ALPHA, DR_NOISE_SIGMA, DR_NOISE_LAMBDA } dr_noise_form;

/* What a class makes of "rescale_betas_zero_snr" (Lin et al. 2023). */
typedef enum dr_zero_snr {
    DR_ZERO_SNR_IGNORED,
    DR_ZERO_SNR_EXACT,  /* the last alphas_cumprod is 0 */
    DR_ZERO_SNR_NEARLY, /* it is 2^-24, so that its sigma is finite */
} dr_zero_snr;

typedef struct dr_sampler_class {
    const char *name;      /* as jobs spell it: "dpmpp_2m" */
    const char *diffusers; /* the class in diffusers: "DPMSolverMultistepScheduler" */
    dr_noise_form form;

    /* Defaults of keys that the model's file does not have. */
    int spacing;       /* DR_SPACING_... */
    int beta_schedule; /* DR_BETA_... */
    double beta_start, beta_end;
    bool clip;         /* "clip_sample" */
    bool alpha_to_one; /* "set_alpha_to_one" */

    /* Which keys it reads. */
    bool reads_clip;           /* "clip_sample" */
    bool reads_karras;         /* "use_karras_sigmas" */
    bool reads_lambda_min;     /* "lambda_min_clipped" */
    bool reads_skip_prk_steps; /* "skip_prk_steps": without it, the run begins with Runge-Kutta steps */
    bool predicts_sample;      /* takes prediction_type "sample" */
    dr_zero_snr zero_snr;      /* "rescale_betas_zero_snr" */

    /* Timesteps. */
    bool always_karras;          /* Karras' sigmas, whatever the file says */
    bool truncates_karras_times; /* with cosine betas it rounds the timesteps of Karras' sigmas towards 0 */
    double (*time)(const dr_schedule *t, int i); /* the i-th, from 0, noisiest first */

    /* Limits; 0 means none but the general ones. */
    int steps_max;           /* of a request */
    int train_timesteps_min; /* of the model */

    /* Steps. */
    bool draws_noise;                   /* at some of its calls */
    int history;                        /* how many older values it keeps: 0 to DR_HISTORY_MAX */
    int (*calls)(const dr_schedule *t); /* how many calls of the UNet the run makes */
    void (*fill)(const dr_schedule *t, dr_step *step); /* all of them, from the step t->first on */
} dr_sampler_class;

/* The row of a sampler, which is not DR_SAMPLER_DEFAULT. */
const dr_sampler_class *dr_sampler_class_of(dr_sampler sampler);

/* The first sampler whose class has this name in diffusers; DR_SAMPLER_DEFAULT where none has. */
dr_sampler dr_sampler_of_diffusers(const char *class_name);

#endif

/* sampler.h - samplers by name, as tables of steps.
 *
 * What diffusers calls a scheduler.  A schedule is made once per sample from the model's own
 * scheduler config, as diffusers' `Scheduler.from_config` of the class of that name would: keys in the
 * file are kept, keys that are not take the default of the *new* class.  It holds one
 * dr_step (kernels/sampler_step.h) per UNet call, so running a sampler is applying
 * small matrices, and a batch can mix samplers, step counts and positions. */
#ifndef DR_MODEL_SAMPLER_H
#define DR_MODEL_SAMPLER_H

#include "base/error.h"
#include "kernels/sampler_step.h"

#include <darkroom/sampler.h>
#include <darkroom/task.h>

#include <stdbool.h>

typedef enum dr_prediction { DR_PREDICT_EPSILON, DR_PREDICT_V, DR_PREDICT_SAMPLE } dr_prediction;

/* The scheduler_config.json of a model, as far as it speaks; model/config.c fills it.
 * A key with a `has_` beside it has a default that depends on the class that reads it. */
typedef struct dr_sampler_config {
    dr_sampler own;      /* by _class_name; DEFAULT: a class that we lack */
    int train_timesteps; /* 1000 */
    bool has_betas;      /* beta_* below are from the file */
    enum { DR_BETA_LINEAR, DR_BETA_SCALED_LINEAR, DR_BETA_COSINE } beta_schedule;
    double beta_start, beta_end;
    bool has_spacing;
    enum { DR_SPACING_LEADING, DR_SPACING_LINSPACE, DR_SPACING_TRAILING } spacing;
    bool has_steps_offset;
    int steps_offset;
    dr_prediction prediction;
    bool has_clip_sample, clip_sample;
    float clip_sample_range; /* 1 */
    bool has_set_alpha_to_one, set_alpha_to_one;
    bool has_skip_prk_steps, skip_prk_steps;
    bool rescale_betas_zero_snr;
    bool has_solver_order;
    int solver_order; /* dpmpp_*, unipc: 1 or 2; others are refused */
    bool has_use_karras_sigmas, use_karras_sigmas;
    bool has_lambda_min; /* "lambda_min_clipped", other than -Infinity */
    double lambda_min;   /* dpmpp_*: must be below all there are */
    dr_error
        refused[DR_SAMPLERS]; /* why a sampler can't be built from this file; its status is DR_OK where it
                                      can.  [DEFAULT]: of a class that we lack */
} dr_sampler_config;

/* The latent starts as image_scale * (the image's latent) + init_scale * noise, the history as 0. */
typedef struct dr_step_table {
    int calls;         /* UNet calls */
    int steps;         /* as asked for */
    float init_scale;  /* of the noise */
    float image_scale; /* 0 where the run does not start from an image */
    dr_step step[];    /* [calls] */
} dr_step_table;

typedef struct dr_step_table_request {
    dr_sampler sampler;  /* DEFAULT: config->own */
    dr_task task;        /* diffusers' pipelines overrule some keys of the file, each its own */
    int steps;           /* 1 .. DR_STEPS_MAX */
    bool image_to_image; /* start from an image, even at strength 1 */
    double strength; /* (0, 1]: the part of the schedule that is then run, the last int(steps * strength) */
} dr_step_table_request;

/* Which sampler a job that asks for `wanted` gets: *out is never DEFAULT.  DR_EUNSUPPORTED or DR_EFORMAT where the
 * config does not go with it. */
dr_status dr_sampler_choose(dr_sampler *out, const dr_sampler_config *config, dr_sampler wanted,
                            dr_error *err);

/* On success *out is the caller's, ended with dr_step_table_free(); on failure NULL and err says
 * which key or value is not supported and what is allowed. */
dr_status dr_step_table_create(dr_step_table **out, const dr_sampler_config *config,
                               const dr_step_table_request *request, dr_error *err);
void dr_step_table_free(dr_step_table *table); /* NULL is allowed */

#endif

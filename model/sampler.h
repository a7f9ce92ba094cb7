/* sampler.h - a sampler as a step table: what to do with a sample at each of its calls.
 *
 * diffusers calls a sampler a scheduler.  Each sample has a step table, made once from the model's
 * scheduler config, as diffusers' `Scheduler.from_config` of that sampler's class would read it: a key
 * that the file has is kept, and a key that it does not have gets the default of the sampler's class, not
 * of the file's class.
 *
 * A step table has one dr_step (kernels/sampler_step.h) for each call of the UNet.  So running a sampler
 * means to apply small matrices, and a batch can mix samplers, numbers of steps and positions.
 *
 * Threads: any; nothing here has a state, and a step table does not change. */
#ifndef DR_MODEL_SAMPLER_H
#define DR_MODEL_SAMPLER_H

#include "base/error.h"
#include "kernels/sampler_step.h"

#include <darkroom/sampler.h>
#include <darkroom/task.h>

#include <stdbool.h>

typedef enum dr_prediction { DR_PREDICT_EPSILON, DR_PREDICT_V, DR_PREDICT_SAMPLE } dr_prediction;

/* What the scheduler_config.json of a model says; model/config.h reads it.  A key with a `has_` beside it
 * is set only where the file has it: its default depends on the class that reads the key. */
typedef struct dr_sampler_config {
    dr_sampler own;      /* the file's class; DEFAULT: a class that Darkroom lacks */
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
    int solver_order; /* dpmpp_*, unipc: 1 or 2; Darkroom refuses other orders */
    bool has_use_karras_sigmas, use_karras_sigmas;
    bool has_lambda_min; /* "lambda_min_clipped", other than -Infinity */
    double lambda_min;   /* dpmpp_*: must be below the lambda of every timestep */
    /* Why a sampler can't be built from this file; its status is DR_OK if the sampler can.  [DEFAULT]: why
     * a request that names no sampler can't be served. */
    dr_error refused[DR_SAMPLERS];
} dr_sampler_config;

/* The latent begins as image_scale * (the image's latent) + init_scale * noise.  The history begins as 0. */
typedef struct dr_step_table {
    int calls;         /* of the UNet */
    int steps;         /* of the request */
    float init_scale;  /* of the noise */
    float image_scale; /* of the image's latent; 0: the sample does not begin with an image */
    dr_step step[];    /* [calls] */
} dr_step_table;

typedef struct dr_step_table_request {
    dr_sampler sampler;  /* DEFAULT: config->own */
    dr_task task;        /* the pipeline of each task in diffusers overrules some keys of the file */
    int steps;           /* 1 to DR_STEPS_MAX */
    bool image_to_image; /* begin with an image, even at strength 1 */
    double strength;     /* in (0, 1]; with an image, only the last int(steps * strength) steps are run */
} dr_step_table_request;

/* Which sampler is used where a job says `wanted`.  On success *out is not DEFAULT.  Fails with
 * DR_EUNSUPPORTED or DR_EFORMAT where the config does not allow that sampler. */
dr_status dr_sampler_choose(dr_sampler *out, const dr_sampler_config *config, dr_sampler wanted,
                            dr_error *err);

/* Make the step table of a request.  On success the caller owns *out.  On failure *out is NULL:
 * DR_EUNSUPPORTED or DR_EFORMAT for the config, DR_EINVAL for the request; the text names the key or value
 * and what is allowed. */
dr_status dr_step_table_create(dr_step_table **out, const dr_sampler_config *config,
                               const dr_step_table_request *request, dr_error *err);
void dr_step_table_free(dr_step_table *table); /* NULL is allowed */

#endif

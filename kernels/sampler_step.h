/* sampler_step.h - one call of any sampler, for one value of one latent.
 *
 * Guidance is applied here.  Every call of every sampler can be written as a small matrix A.  The state
 * of a sample is its latent x and a few older values h[0..3].  A call also has the UNet's output after
 * guidance, e.  For some samplers it has fresh noise too:
 *
 *     e  = uncond + guidance (cond - uncond)
 *     m  = clamp(m_x x + m_e e, -clip, clip)              x0 or the derivative, as the sampler needs
 *
 *     [ x' ]         [ x  e  m  h0  h1  h2  h3  noise ]^T
 *     [ h0'..h3' ] = A *
 *
 * The host computes A in double, once for each sample (the step table, model/sampler.h).  The loop over
 * values does not know which sampler it runs.  The formula is written only here.  It says fmaf() so that
 * the compilers for host and GPU round alike. */
#ifndef DR_KERNELS_SAMPLER_STEP_H
#define DR_KERNELS_SAMPLER_STEP_H

#include "base/limits.h"
#include "kernels/host_device.h"

enum dr_step_term {
    DR_TERM_X,
    DR_TERM_E,
    DR_TERM_M,
    DR_TERM_H, /* h[0]; h[k] is DR_TERM_H + k */
    DR_TERM_NOISE = DR_TERM_H + DR_HISTORY_MAX,
    DR_TERMS
};

enum dr_step_state {
    DR_STATE_X,
    DR_STATE_H, /* h[0]; h[k] is DR_STATE_H + k */
    DR_STATES = DR_STATE_H + DR_HISTORY_MAX
};

/* One call of one sample.  The rows and columns of `to` that its sampler does not use are 0. */
typedef struct dr_step {
    float timestep;    /* for the time embedding; fractional for some samplers */
    float input_scale; /* the UNet sees x * input_scale */
    float m_x, m_e;
    float clip;                    /* FLT_MAX: none */
    int noise;                     /* 1: this call draws noise from the sample's stream */
    float to[DR_STATES][DR_TERMS]; /* A */
} dr_step;

/* Classifier-free guidance (Ho & Salimans 2022).  Its inputs are the outputs with the prompt and with the
 * negative prompt. */
static inline DR_HD float dr_apply_guidance(float cond, float uncond, float guidance)
{
    return fmaf(guidance, cond - uncond, uncond);
}

/* Advance one value.  state is { x, h[0..3] }, which is read and written. */
static inline DR_HD void dr_step_value(const dr_step *s, float state[DR_STATES], float e, float noise)
{
    float term[DR_TERMS];

    term[DR_TERM_X] = state[0];
    term[DR_TERM_E] = e;
    term[DR_TERM_M] = fminf(fmaxf(fmaf(s->m_x, state[0], s->m_e * e), -s->clip), s->clip);
    for (int k = 0; k < DR_HISTORY_MAX; k++)
        term[DR_TERM_H + k] = state[1 + k];
    term[DR_TERM_NOISE] = noise;
    for (int i = 0; i < DR_STATES; i++) {
        float sum = 0.0f;

        for (int j = 0; j < DR_TERMS; j++)
            sum = fmaf(s->to[i][j], term[j], sum);
        state[i] = sum;
    }
}

#endif

/* sampler.h - samplers by name.  diffusers calls a sampler a scheduler. */
#ifndef DARKROOM_SAMPLER_H
#define DARKROOM_SAMPLER_H

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum dr_sampler {
    DR_SAMPLER_DEFAULT, /* what the model's scheduler config names */
    DR_SAMPLER_DDPM,
    DR_SAMPLER_DDIM,
    DR_SAMPLER_PNDM,
    DR_SAMPLER_EULER,
    DR_SAMPLER_EULER_A,
    DR_SAMPLER_HEUN,
    DR_SAMPLER_DPMPP_2M,
    DR_SAMPLER_DPMPP_2M_KARRAS,
    DR_SAMPLER_DPMPP_SDE,
    DR_SAMPLER_UNIPC,
    DR_SAMPLER_LMS,
    DR_SAMPLER_LCM,
    DR_SAMPLERS /* their number */
} dr_sampler;

/* Any thread may call these three.  Texts are constant. */

/* The sampler of a name: "ddpm", "dpmpp_2m_karras", ...  NULL and "" mean DR_SAMPLER_DEFAULT.  False, and
 * *out is DR_SAMPLER_DEFAULT: no sampler has this name. */
bool dr_sampler_from_name(const char *name, dr_sampler *out);

/* The name of a sampler; "default" for DR_SAMPLER_DEFAULT. */
const char *dr_sampler_name(dr_sampler sampler);

/* All names, for messages: "ddpm, ddim, ...". */
const char *dr_sampler_names(void);

#ifdef __cplusplus
}
#endif

#endif

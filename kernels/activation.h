/* activation.h - the activations of Stable Diffusion, for one value. */
#ifndef DR_KERNELS_ACTIVATION_H
#define DR_KERNELS_ACTIVATION_H

#include "kernels/math.h"

/* x sigmoid(x) */
static inline DR_HD float dr_silu(float x)
{
    return x / (1.0f + dr_expf(-x));
}

/* x Phi(x), Phi the normal distribution's integral; as the reference does, by erf. */
static inline DR_HD float dr_gelu(float x)
{
    return 0.5f * x * (1.0f + dr_erff(x * 0.70710678f));
}

/* x sigmoid(1.702 x): CLIP ViT-L's stand-in for gelu */
static inline DR_HD float dr_quick_gelu(float x)
{
    return x / (1.0f + dr_expf(-1.702f * x));
}

#endif

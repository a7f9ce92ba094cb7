/* activation.h - the activations of Stable Diffusion, for one value. */
#ifndef DR_KERNELS_ACTIVATION_H
#define DR_KERNELS_ACTIVATION_H

#include "kernels/math.h"

typedef enum dr_activation {
    DR_ACT_NONE,
    DR_ACT_SILU,       /* x * sigmoid(x) */
    DR_ACT_GELU,       /* x * Phi(x), by erf */
    DR_ACT_QUICK_GELU, /* x * sigmoid(1.702 x) */
} dr_activation;

/* x sigmoid(x) */
static inline DR_HD float dr_silu(float x)
{
    return x / (1.0f + dr_exp(-x));
}

/* x Phi(x), where Phi is the normal distribution's integral.  This is the gelu that is defined by erf. */
static inline DR_HD float dr_gelu(float x)
{
    const float tail = dr_normal_tail(fabsf(x));

    return x * (x < 0.0f ? tail : 1.0f - tail);
}

/* x sigmoid(1.702 x): CLIP ViT-L has this in place of gelu */
static inline DR_HD float dr_quick_gelu(float x)
{
    return x / (1.0f + dr_exp(-1.702f * x));
}

static inline DR_HD float dr_activated(dr_activation activation, float x)
{
    switch (activation) {
    case DR_ACT_NONE:
        break;
    case DR_ACT_SILU:
        return dr_silu(x);
    case DR_ACT_GELU:
        return dr_gelu(x);
    case DR_ACT_QUICK_GELU:
        return dr_quick_gelu(x);
    }
    return x;
}

#endif

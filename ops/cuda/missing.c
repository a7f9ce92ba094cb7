/* missing.c - the operators that do not run on CUDA yet: a pass that needs one fails while it is planned.
 * The line of one that has come is taken out here. */
#include "ops/cuda/cuda.h"

#define MISSING_OPERATOR(op)                                                                      \
    dr_status cuda_##op(dr_pass *p, const dr_##op##_args *a)                                      \
    {                                                                                             \
        (void)a;                                                                                  \
        return dr_fail(&p->error, DR_EUNSUPPORTED, "%s: " #op " does not run on this device yet", \
                       cuda_of(p->device)->name);                                                 \
    }

MISSING_OPERATOR(linear)
MISSING_OPERATOR(conv2d)
MISSING_OPERATOR(group_norm)
MISSING_OPERATOR(layer_norm)
MISSING_OPERATOR(attention)
MISSING_OPERATOR(geglu)
MISSING_OPERATOR(activate)
MISSING_OPERATOR(scale)
MISSING_OPERATOR(upsample)
MISSING_OPERATOR(concat)
MISSING_OPERATOR(lookup)
MISSING_OPERATOR(timestep_embedding)
MISSING_OPERATOR(unet_input)
MISSING_OPERATOR(sampler_step)
MISSING_OPERATOR(to_rgb8)

dr_status cuda_linear_create(dr_linear **out, dr_device *device, const dr_linear_desc *desc, dr_error *err)
{
    *out = NULL;
    return dr_fail(err, DR_EUNSUPPORTED, "%s: %s: linear layers do not run on this device yet",
                   cuda_of(device)->name, desc->name);
}

void cuda_linear_free(dr_linear *linear)
{
    (void)linear; /* there is none */
}

dr_status cuda_conv_create(dr_conv **out, dr_device *device, const dr_conv_desc *desc, dr_error *err)
{
    *out = NULL;
    return dr_fail(err, DR_EUNSUPPORTED, "%s: %s: convolutions do not run on this device yet",
                   cuda_of(device)->name, desc->name);
}

void cuda_conv_free(dr_conv *conv)
{
    (void)conv; /* there is none */
}

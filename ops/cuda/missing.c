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

MISSING_OPERATOR(conv2d)

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

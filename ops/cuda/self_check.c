#include "ops/cuda/self_check.h"

#include "ops/cuda/self_check_bench.h"

#include <stdio.h>
#include <stdlib.h>

/* Of the kernels for sm_90a, or else for sm_80. */
static dr_status check_isa(cuda_device *d, bool wgmma, dr_error *err)
{
    self_check_bench b = { .d = d, .wgmma = wgmma, .storage = d->base.activation_dtype };
    void *memory = NULL;
    dr_status rc;

    b.host = malloc(SELF_CHECK_HOST_FLOATS * sizeof(*b.host));
    if (!b.host)
        return dr_fail(err, DR_ENOMEM, "no memory to check what the device computes");
    rc = cuda_alloc(&memory, &d->base, SELF_CHECK_DEVICE_BYTES, err);
    b.device = memory;
    if (!rc)
        rc = self_check_attention(&b, err);
    if (!rc)
        rc = self_check_convolutions(&b, err);
    dr_device_free(&d->base, memory);
    free(b.host);
    return rc ? rc : cuda_check_alive(d, err);
}

dr_status cuda_self_check(cuda_device *d, bool asked_for, dr_error *err)
{
    dr_status rc = check_isa(d, false, err);
    dr_error why;

    if (rc || !d->wgmma)
        return rc;
    rc = check_isa(d, true, &why);
    if (!rc)
        return DR_OK;
    if (cuda_check_alive(d, NULL))
        return dr_fail(err, rc, "%s; isa = sm_80 does without the kernels for sm_90a", why.text);
    if (asked_for || rc != DR_EDEVICE)
        return dr_fail(err, rc, "%s", why.text);
    d->wgmma = false;
    snprintf(d->base.note, sizeof(d->base.note), "%s; the kernels for sm_80 are right, and used", why.text);
    d->base.noted = true;
    return DR_OK;
}

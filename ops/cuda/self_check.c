#include "ops/cuda/self_check.h"

#include "ops/cuda/check.h"
#include "ops/cuda/memory.h"
#include "ops/cuda/self_check_rig.h"

#include <stdio.h>
#include <stdlib.h>

typedef dr_status check(self_check_rig *rig, dr_error *err);

/* Checks Hopper's kernels of one family.  If they are wrong and other kernels can take their place, *use
 * becomes false.  If no others can, this fails. */
static dr_status check_hopper(self_check_rig *rig, check *family, bool needed, bool *use, dr_error *err)
{
    cuda_device *d = rig->d;
    dr_error why;
    dr_status rc = family(rig, &why);

    if (!rc)
        return DR_OK;
    if (cuda_check_alive(d, NULL))
        return dr_fail(err, rc, "%s; isa = sm_80 does without the kernels for sm_90a", why.text);
    if (needed || rc != DR_EDEVICE)
        return dr_fail(err, rc, "%s", why.text);
    *use = false;
    snprintf(d->base.note, sizeof(d->base.note), "%s; the kernels for sm_80 are right, and used", why.text);
    d->base.noted = true;
    return DR_OK;
}

static dr_status check_all(self_check_rig *rig, bool asked_for, dr_error *err)
{
    cuda_device *d = rig->d;
    const bool hopper = d->wgmma_attention || d->wgmma_convs;
    dr_status rc = self_check_attention(rig, err);

    if (!rc)
        rc = self_check_convolutions(rig, err);
    rig->wgmma = true;
    if (!rc && hopper)
        rc = check_hopper(rig, self_check_attention, asked_for, &d->wgmma_attention, err);
    if (!rc && hopper)
        rc = check_hopper(rig, self_check_convolutions, asked_for || d->fp8_convs, &d->wgmma_convs, err);
    return rc ? rc : cuda_check_alive(d, err);
}

dr_status cuda_self_check(cuda_device *d, bool asked_for, dr_error *err)
{
    self_check_rig rig = { .d = d, .storage = d->base.activation_dtype };
    void *memory = NULL;
    dr_status rc;

    rig.host = malloc(SELF_CHECK_HOST_FLOATS * sizeof(*rig.host));
    if (!rig.host)
        return dr_fail(err, DR_ENOMEM, "no memory to check what the device computes");
    rc = cuda_alloc(&memory, &d->base, SELF_CHECK_DEVICE_BYTES, err);
    rig.device = memory;
    if (!rc)
        rc = check_all(&rig, asked_for, err);
    cuda_free(&d->base, memory);
    free(rig.host);
    return rc;
}

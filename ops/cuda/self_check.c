#include "ops/cuda/self_check.h"

#include "ops/cuda/self_check_bench.h"

#include <stdio.h>
#include <stdlib.h>

typedef dr_status check(self_check_bench *b, dr_error *err);

/* Whether Hopper's kernels of a family are wrong, and others can be used; else it fails. */
static dr_status check_hopper(self_check_bench *b, check *family, bool needed, bool *use, dr_error *err)
{
    cuda_device *d = b->d;
    dr_error why;
    dr_status rc = family(b, &why);

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

static dr_status check_all(self_check_bench *b, bool asked_for, dr_error *err)
{
    cuda_device *d = b->d;
    const bool hopper = d->wgmma_attention || d->wgmma_convs;
    dr_status rc = self_check_attention(b, err);

    if (!rc)
        rc = self_check_convolutions(b, err);
    b->wgmma = true;
    if (!rc && hopper)
        rc = check_hopper(b, self_check_attention, asked_for, &d->wgmma_attention, err);
    if (!rc && hopper)
        rc = check_hopper(b, self_check_convolutions, asked_for || d->fp8_convs, &d->wgmma_convs, err);
    return rc ? rc : cuda_check_alive(d, err);
}

dr_status cuda_self_check(cuda_device *d, bool asked_for, dr_error *err)
{
    self_check_bench b = { .d = d, .storage = d->base.activation_dtype };
    void *memory = NULL;
    dr_status rc;

    b.host = malloc(SELF_CHECK_HOST_FLOATS * sizeof(*b.host));
    if (!b.host)
        return dr_fail(err, DR_ENOMEM, "no memory to check what the device computes");
    rc = cuda_alloc(&memory, &d->base, SELF_CHECK_DEVICE_BYTES, err);
    b.device = memory;
    if (!rc)
        rc = check_all(&b, asked_for, err);
    dr_device_free(&d->base, memory);
    free(b.host);
    return rc;
}

#include "ops/cuda/check.h"

#include <stdio.h>

dr_status cuda_check_alive(const cuda_device *d, dr_error *err)
{
    if (d->lost.status && err)
        *err = d->lost;
    return d->lost.status;
}

dr_status cuda_check(cuda_device *d, cudaError_t code, const char *doing, dr_error *err)
{
    if (d->lost.status || code == cudaSuccess)
        return cuda_check_alive(d, err);
    cudaGetLastError(); /* if the error does not last, the next call does not see it */
    if (code == cudaErrorMemoryAllocation)
        return dr_fail(err, DR_ENOMEM, "%s: %s: no memory left on the device", d->name, doing);
    dr_fail(&d->lost, DR_EDEVICE, "%s is lost: %s: %s (%s)", d->name, doing, cudaGetErrorString(code),
            cudaGetErrorName(code));
    return cuda_check_alive(d, err);
}

dr_status cuda_launched(dr_pass *p, const char *what)
{
    cuda_device *d = cuda_of(p->device);
    char doing[64];

    if (p->planning)
        return DR_OK;
    snprintf(doing, sizeof(doing), "starting %s", what);
    return cuda_check(d, cudaPeekAtLastError(), doing, &p->error);
}

void cuda_note_plans(cuda_device *d, const dr_error *why)
{
    snprintf(d->base.note, sizeof(d->base.note), "%s: plan cache: %s; kernels are measured anew", d->name,
             why->text);
    d->base.noted = true;
}

/* self_check_rig.h - what the self-check's cases share: memory and made-up values on both sides.  Only self_check*.c include this.
 *
 *     host      values  ----- stored ---->  the same values     device
 *               loops                       a kernel
 *               compare  <--- stored -----  y                     one case after the other uses all of the memory */
#ifndef DR_OPS_CUDA_SELF_CHECK_RIG_H
#define DR_OPS_CUDA_SELF_CHECK_RIG_H

#include "kernels/cuda.h"
#include "ops/cuda/cuda.h"

enum {
    SELF_CHECK_DEVICE_BYTES = 4 << 20, /* for the largest case: 3 MiB */
    SELF_CHECK_HOST_FLOATS = 3 << 20,
};

typedef struct self_check_rig {
    cuda_device *d;
    bool wgmma; /* the kernels for sm_90a are tried, else those for sm_80 */
    dr_dtype storage;
    char *device;                  /* SELF_CHECK_DEVICE_BYTES */
    float *host;                   /* SELF_CHECK_HOST_FLOATS */
    size_t device_used, host_used; /* bytes, floats */
} self_check_rig;

/* Values on both sides. */
typedef struct made {
    float *host;
    void *device;
} made;

void *self_check_device_room(self_check_rig *rig, size_t bytes);
float *self_check_host_room(self_check_rig *rig, size_t floats);

/* Quarters from -1 to 1: exact in every storage.  Their products and any sum of a few thousand of these are exact in float32,
 * in whatever order. */
void self_check_make_up(float *to, size_t count, uint32_t seed);
dr_status self_check_made_up(self_check_rig *rig, made *m, size_t count, dr_dtype dtype, uint32_t seed,
                             dr_error *err);

float self_check_rounded(const self_check_rig *rig, float value); /* to the device's storage */

/* What a kernel, that was started just now, left at m->device. */
dr_status self_check_fetch(self_check_rig *rig, made *m, size_t count, const char *what, dr_error *err);

/* DR_EDEVICE: "cuda:0 computes wrongly: WHAT (sm_80): value 29 is 3, and should be 2.5". */
dr_status self_check_wrong(const self_check_rig *rig, const char *what, size_t index, float got, float wanted,
                           dr_error *err);

/* self_check_attention.c, self_check_conv.c: all cases. */
dr_status self_check_attention(self_check_rig *rig, dr_error *err);
dr_status self_check_convolutions(self_check_rig *rig, dr_error *err);

#endif

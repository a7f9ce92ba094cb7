/* self_check_rig.h - what the cases of the self-check share: memory and made-up values on the host and on
 * the device.
 *
 *     host      values  ----- stored ---->  the same values     device
 *               loops                       a kernel
 *               compare  <--- stored -----  y                     each case in turn uses all of the memory
 *
 * Only self_check*.c include this.  Only the thread that owns the device calls it. */
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
    bool wgmma; /* true: the kernels for sm_90a are tried; false: those for sm_80 */
    dr_dtype storage;
    char *device;                  /* SELF_CHECK_DEVICE_BYTES */
    float *host;                   /* SELF_CHECK_HOST_FLOATS */
    size_t device_used, host_used; /* bytes, floats */
} self_check_rig;

/* The same values on the host and on the device, in the rig's memory. */
typedef struct made {
    float *host;
    void *device;
} made;

/* Takes a piece of the rig's memory on the device, or on the host.  A case never needs more than there
 * is. */
void *self_check_device_room(self_check_rig *rig, size_t bytes);
float *self_check_host_room(self_check_rig *rig, size_t floats);

/* Draws quarters from -1 to 1, which are exact in every storage.  Their products, and sums of up to a few
 * thousand products in any order, are exact in float32. */
void self_check_make_up(float *to, size_t count, uint32_t seed);

/* Fills m with `count` such values, on the device as dtype. */
dr_status self_check_made_up(self_check_rig *rig, made *m, size_t count, dr_dtype dtype, uint32_t seed,
                             dr_error *err);

float self_check_rounded(const self_check_rig *rig, float value); /* to the device's storage */

/* Fetches a result from m->device to m->host, right after its kernel was started. what: for the text of
 * an error. */
dr_status self_check_fetch(self_check_rig *rig, made *m, size_t count, const char *what, dr_error *err);

/* Fails with DR_EDEVICE: "cuda:0 computes wrongly: WHAT (sm_80): value 29 is 3, and should be 2.5". */
dr_status self_check_wrong(const self_check_rig *rig, const char *what, size_t index, float got, float wanted,
                           dr_error *err);

/* self_check_attention.c, self_check_conv.c: run all cases.  DR_EDEVICE: a kernel is wrong, or the device
 * is lost. */
dr_status self_check_attention(self_check_rig *rig, dr_error *err);
dr_status self_check_convolutions(self_check_rig *rig, dr_error *err);

#endif

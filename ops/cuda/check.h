/* check.h - what becomes of an error of the CUDA runtime.
 *
 * Running out of memory is an answer like others.  Every other failure is taken as the end of the device,
 * because after most of them nothing in its memory can be had.  The first such failure is kept, and every
 * later call on the device fails with its text.
 *
 * All of this is for the thread that owns the device.  err may be NULL. */
#ifndef DR_OPS_CUDA_CHECK_H
#define DR_OPS_CUDA_CHECK_H

#include "ops/cuda/cuda.h"

/* DR_OK where this call and all before it went well; DR_ENOMEM; DR_EDEVICE.  To be asked about every call of
 * the CUDA runtime.  doing: for the text, "copying to the device". */
dr_status cuda_check(cuda_device *d, cudaError_t code, const char *doing, dr_error *err);

/* cuda_check() of a launch of one of our kernels, right after it.  what: "attention".  Fills p->error.  While
 * planning nothing was launched, and this is DR_OK. */
dr_status cuda_launched(dr_pass *p, const char *what);

/* DR_OK, or DR_EDEVICE once the device is lost.  Asks the runtime nothing. */
dr_status cuda_check_alive(const cuda_device *d, dr_error *err);

/* Leaves a note (dr_device_note()) that the plan cache could not be read or written, and why. */
void cuda_note_plans(cuda_device *d, const dr_error *why);

#endif

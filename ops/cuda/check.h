/* check.h - what happens after an error of the CUDA runtime.
 *
 * Running out of memory is an ordinary answer.  Every other failure counts as the end of the device,
 * because after most of them nothing in its memory can be read.  The first such failure is kept, and
 * every later call on the device fails with its text.
 *
 * Only the thread that owns the device calls these functions. err may be NULL. */
#ifndef DR_OPS_CUDA_CHECK_H
#define DR_OPS_CUDA_CHECK_H

#include "ops/cuda/cuda.h"

/* Must be called after every call of the CUDA runtime.  Returns DR_OK if that call and all before it went
 * well, DR_ENOMEM, or DR_EDEVICE. doing: for the text of the error, "copying to the device". */
dr_status cuda_check(cuda_device *d, cudaError_t code, const char *doing, dr_error *err);

/* cuda_check() for the launch of one of our kernels; call it right after the launch. what: "attention".
 * Fills p->error.  While planning nothing was launched, and this returns DR_OK. */
dr_status cuda_launched(dr_pass *p, const char *what);

/* DR_OK, or DR_EDEVICE once the device is lost.  Makes no call of the runtime. */
dr_status cuda_check_alive(const cuda_device *d, dr_error *err);

/* Leaves a note (dr_device_note()) that the plan cache could not be read or written, and why. */
void cuda_note_plans(cuda_device *d, const dr_error *why);

#endif

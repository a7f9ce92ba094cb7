/* self_check.h - whether our kernels on the tensor cores compute what they should, on this device, with this driver.
 *
 *     kernels for     attention            convolutions                                  group norm
 *     sm_80           mma.sync, wide       tiles of all sizes, phases of an upsampling    of the moments that one left
 *     sm_90a          wgmma                likewise, wgmma                                likewise
 *
 * and for sm_90a convolutions in 8 bits, on a device that was opened with such.  Each runs once on made-up values, and what comes
 * out is compared with plain loops on the host.  A device (or a driver, or a compiler) that computes wrongly must not draw
 * pictures: they would be wrong, and nobody would be told. */
#ifndef DR_OPS_CUDA_SELF_CHECK_H
#define DR_OPS_CUDA_SELF_CHECK_H

#include "base/error.h"

#include <stdbool.h>

typedef struct cuda_device cuda_device;

/* Where the kernels for sm_90a are wrong, of attention or of convolutions, and those for sm_80 right, the device goes on with
 * the latter, and a note (dr_device_note()) says so.  Where the former were `asked_for`, or it has convolutions in 8 bits, of
 * which there are no others, it fails.  Waits for the device, in 4 MiB of its memory that are given back.  DR_EDEVICE and a
 * line with the kernel, and what it got and should have got. */
dr_status cuda_self_check(cuda_device *d, bool asked_for, dr_error *err);

#endif

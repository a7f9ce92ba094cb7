/* self_check.h - checks on this device, with this driver, that our kernels on the tensor cores compute
 * what they should.
 *
 *     kernels for   attention         convolutions                                  group norm
 *     sm_80         mma.sync, wide    tiles of all sizes, phases of an upsampling   from given moments
 *     sm_90a        wgmma             the same, by wgmma                            the same
 *
 * If the device was opened with 8-bit convolutions, the check covers those for sm_90a too.  Each kernel
 * runs once on made-up values, and its result is compared with plain loops on the host.  A device (or a
 * driver, or a compiler) that computes wrongly must not draw pictures: they would be wrong, and nobody
 * would notice. */
#ifndef DR_OPS_CUDA_SELF_CHECK_H
#define DR_OPS_CUDA_SELF_CHECK_H

#include "base/error.h"

#include <stdbool.h>

typedef struct cuda_device cuda_device;

/* Checks all kernels that d may use.  If the kernels for sm_90a are wrong (for attention or for
 * convolutions) and those for sm_80 are right, the device uses the kernels for sm_80, and a note
 * (dr_device_note()) says so.  The check fails instead if the kernels for sm_90a were `asked_for`, or are
 * 8-bit convolutions, which exist only for sm_90a.
 *
 * DR_EDEVICE: the text names the kernel, the value that it computed and the value that is right.  Waits
 * for the device.  Takes 4 MiB of its memory and gives them back. */
dr_status cuda_self_check(cuda_device *d, bool asked_for, dr_error *err);

#endif

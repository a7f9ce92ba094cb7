/* host_device.h - DR_HD marks a body that the host and the device compile alike. */
#ifndef DR_KERNELS_HOST_DEVICE_H
#define DR_KERNELS_HOST_DEVICE_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __CUDACC__
#define DR_HD __host__ __device__
#else
#define DR_HD
#endif

#endif

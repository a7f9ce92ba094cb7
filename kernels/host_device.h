/* host_device.h - DR_HD marks a function that is compiled both for the host and for the GPU. */
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

/* timestep.h - the frequencies of a timestep's embedding. */
#ifndef DR_KERNELS_TIMESTEP_H
#define DR_KERNELS_TIMESTEP_H

#include "kernels/host_device.h"

/* Frequency i of `half`: exp(-ln(10000) i / (half - freq_shift)).  In float and in the reference's order: the
 * phase of timestep 999 amplifies a frequency's last bit a thousandfold, so a better frequency would be
 * a different embedding. */
static inline DR_HD float dr_timestep_frequency(int i, int half, float freq_shift)
{
    const float log_10000 = 9.2103403719761836f;

    return expf(-log_10000 * (float)i / ((float)half - freq_shift));
}

#endif

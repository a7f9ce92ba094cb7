/* timestep.h - the frequencies of a timestep's embedding. */
#ifndef DR_KERNELS_TIMESTEP_H
#define DR_KERNELS_TIMESTEP_H

#include "kernels/host_device.h"

/* Frequency i of `half`: exp(-ln(10000) i / (half - freq_shift)).  It is computed in float and in the
 * reference's order.  At timestep 999 the phase amplifies the last bit of a frequency a thousandfold, so
 * a more exact frequency would give another embedding. */
static inline DR_HD float dr_timestep_frequency(int i, int half, float freq_shift)
{
    const float log_10000 = 9.2103403719761836f;

    return expf(-log_10000 * (float)i / ((float)half - freq_shift));
}

#endif

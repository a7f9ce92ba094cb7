/* limits.h - the limits of libdarkroom that concern its callers.  base/limits.h has all others. */
#ifndef DARKROOM_LIMITS_H
#define DARKROOM_LIMITS_H

enum {
    DR_STEPS_MAX = 150,  /* denoising steps of a sample: no sampler gains from more */
    DR_SAMPLES_MAX = 64, /* samples in one run: with more, only the latency grows */
    DR_THREADS_MAX = 256 /* threads of the CPU: an operator has no more pieces that are worth a thread */
};

#define DR_GUIDANCE_MAX 100.0f /* guidance scale: far beyond use, and keeps the arithmetic finite */

#endif

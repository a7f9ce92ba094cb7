/* limits.h - the bounds of libdarkroom that a caller meets.  base/limits.h has those within. */
#ifndef DARKROOM_LIMITS_H
#define DARKROOM_LIMITS_H

enum {
    DR_STEPS_MAX = 150,  /* denoising steps of a sample: more than any sampler gains from */
    DR_SAMPLES_MAX = 64, /* samples in one run: beyond it only latency grows */
    DR_THREADS_MAX = 256 /* of the CPU: an operator has no more pieces that are worth a thread */
};

#define DR_GUIDANCE_MAX 100.0f /* guidance scale: far beyond use, and keeps the arithmetic finite */

#endif

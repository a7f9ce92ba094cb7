/* denoise.h - the denoise thread: it owns the engine, and gives it one batch after the other.
 *
 *     look after works ASIDE -> the next batch, from the scheduler -> run it -> ...
 *                                     none: take the pictures that are under way; none of those: wait */
#ifndef DR_WORKER_PIPELINE_DENOISE_H
#define DR_WORKER_PIPELINE_DENOISE_H

#include "worker/pipeline/work.h"

typedef struct dr_denoiser dr_denoiser;

/* Start the thread, and wait until it has opened the engine.  The thread borrows *w until
 * dr_denoiser_join(), which must be called after a failure too.  A failure is the engine's, or DR_ENOMEM. */
dr_status dr_denoiser_start(dr_denoiser **out, dr_works *w, dr_error *err);

/* Wait until the thread has ended, and free the handle.  Call dr_works_stop() first; the thread then ends
 * after one step of the device at most.  NULL is allowed. */
void dr_denoiser_join(dr_denoiser *d);

/* Since the start: how long there were works for the device, and how much of that time the device did
 * nothing.  The numbers are those of the end of the last batch.  Any thread may call, without the lock. */
dr_device_load dr_denoiser_load(dr_denoiser *d);

#endif

/* batch.h - one batch on the engine.
 *
 *     1. Prepare each work.  Those that the model refuses leave.
 *     2. Run their samples, at most as many at once as the engine holds: begin, add, step until done, begin
 *        the pictures.  Before every step, works that were canceled or are late leave, and pictures of the
 *        batch before are taken.
 *     3. Where a run fails as a whole, each of its works runs again, alone.  But where the device is lost,
 *        they and all that come after them fail at once, and their results say which works were on it. */
#ifndef DR_WORKER_PIPELINE_BATCH_H
#define DR_WORKER_PIPELINE_BATCH_H

#include "worker/pipeline/decode.h"

/* Run these works to their end.  They are RUNNING, have equal keys, and are 1 to DR_BATCH_JOBS_MAX.  Each
 * is FINISHING when its last picture is taken, which may be after this call.  number: the batch's, for the
 * log.  The denoise thread, without the lock. */
void dr_batch_run(dr_decoder *d, uint64_t number, dr_work *const *work, int count);

#endif

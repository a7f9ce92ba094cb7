/* batch.h - one batch on the engine.
 *
 *     1. Prepare each work.  Works that the model refuses leave the batch.
 *     2. Run their samples, at most as many at once as the engine holds: begin, add, step until done, begin
 *        the pictures.  Before every step, works that were canceled or are late leave, and pictures of the
 *        batch before are taken.
 *     3. If a run fails as a whole, each of its works runs again, alone.  But if the device is lost, these
 *        works and all later ones fail at once.  The results say which works were on the device. */
#ifndef DR_WORKER_PIPELINE_BATCH_H
#define DR_WORKER_PIPELINE_BATCH_H

#include "worker/pipeline/decode.h"

/* Run these works to their end.  There are 1 to DR_BATCH_JOBS_MAX of them; they are RUNNING and have equal
 * keys.  Each becomes FINISHING when its last picture is taken, which may be after this call.  number: the
 * batch's number, for the log.  On the denoise thread, without the lock. */
void dr_batch_run(dr_decoder *d, uint64_t number, dr_work *const *work, int count);

#endif

/* aside.h - jobs that are put aside: they cannot run now, and may later.
 *
 *     ENCODING, failed -> ASIDE -> WAITING: it runs again
 *                               -> FINISHING, failed: it has waited long enough, or it is canceled or late
 *
 * Two failures put a job aside: its model is not there, or memory is short.  Everything that fails passes a
 * finish thread, so it is decided there, and nowhere else.  The work keeps its error until it runs
 * again. */
#ifndef DR_WORKER_PIPELINE_ASIDE_H
#define DR_WORKER_PIPELINE_ASIDE_H

#include "worker/pipeline/work.h"

/* An ENCODING work has failed.  True: it is ASIDE from now on, and no longer the caller's.  False: its
 * failure is its answer.  On a finish thread, without the lock. */
bool dr_aside_put(dr_works *w, dr_work *work);

/* Cancels the works ASIDE that have this id and were sent until then: they are FINISHING now.  Under the
 * lock. */
void dr_aside_cancel(dr_works *w, const char *job_id, int64_t sent_until_ms);

/* Looks after the works ASIDE whose time has come: they become WAITING or FINISHING, or stay ASIDE.  On the
 * denoise thread, under the lock.  The lock is released while it looks for a model. */
void dr_aside_look(dr_works *w, dr_engine *engine);

/* When dr_aside_look() must be called again, in the time of dr_clock_ns(): at most a second from now.  Under
 * the lock. */
int64_t dr_aside_next_look_ns(const dr_works *w);

#endif

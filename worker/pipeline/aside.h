/* aside.h - jobs that are put aside: they cannot run now, and may later.
 *
 *     ENCODING, failed -> ASIDE -> WAITING: it runs again
 *                               -> FINISHING, failed: it has waited long enough, or it is canceled or late
 *
 * Two failures put a job aside: its model is not there, or memory is short.  Everything that fails passes a
 * finish thread, so that is the one place where it is decided.  The work keeps its error until it runs
 * again. */
#ifndef DR_WORKER_PIPELINE_ASIDE_H
#define DR_WORKER_PIPELINE_ASIDE_H

#include "worker/pipeline/work.h"

/* A work that is ENCODING has failed.  True: it is ASIDE from now on, and no longer the caller's.  False:
 * its failure is its answer.  A finish thread, without the lock. */
bool dr_aside_put(dr_works *w, dr_work *work);

/* The works ASIDE with that id that were sent until then are canceled: they are FINISHING.  Under the
 * lock. / */
void dr_aside_cancel(dr_works *w, const char *job_id, int64_t sent_until_ms);

/* Look after the works ASIDE whose time has come: they become WAITING or FINISHING, or they stay.  The
 * denoise thread, under the lock; it lets go of the lock while it looks for a model. */
void dr_aside_look(dr_works *w, dr_engine *engine);

/* When dr_aside_look() is to be called again, by dr_clock_ns(): in a second at most.  Under the lock. */
int64_t dr_aside_next_look_ns(const dr_works *w);

#endif

/* finish.h - the finish threads: a work's pixels become renditions, and its result is handed over.
 *
 * Some of the threads are encoders: they take a work as soon as one is FINISHING.  The others help when
 * more works are FINISHING than there are encoders.  So cores with nothing else to do help, and the
 * device's own threads are not disturbed while the encoders suffice. */
#ifndef DR_WORKER_PIPELINE_FINISH_H
#define DR_WORKER_PIPELINE_FINISH_H

#include "worker/pipeline/work.h"

typedef struct dr_finishers dr_finishers;

/* How many threads: options.finish_threads, or, if that is 0, a number that depends on the machine's cores.
 * Any thread may call. */
typedef struct dr_finish_counts {
    int encoders; /* at least 1 */
    int threads;  /* encoders, and the threads that help them */
} dr_finish_counts;
dr_finish_counts dr_finish_counts_of(int finish_threads);

/* Start w->finish_threads threads.  w->encoders of them are encoders.  They borrow *w until
 * dr_finishers_join(), which must be called after a failure (DR_ENOMEM) too. */
dr_status dr_finishers_start(dr_finishers **out, dr_works *w, dr_error *err);

/* Wait until the threads have ended, and free the handle.  Call dr_works_stop() first.  NULL is allowed. */
void dr_finishers_join(dr_finishers *f);

#endif

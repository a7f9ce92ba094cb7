/* ready.h - whether a worker is ready, and if not, why: from what its parts know.
 *
 * Ready is who can take jobs, draw them and commit their results.  What does not hold is said with its reason, all of it in one
 * line:
 *
 *     can't draw: models: No such file or directory; can't commit: results: Broker: Unknown topic or partition
 *
 * Threads: any. */
#ifndef DR_WORKER_SERVICE_READY_H
#define DR_WORKER_SERVICE_READY_H

#include "base/error.h"

/* An error whose status is DR_OK says nothing. */
typedef struct dr_ready_facts {
    bool draining;
    bool broker_up;
    dr_error broker; /* why none answers */
    bool leased;     /* has its partitions, or knows that there are none for it */
    dr_error group;  /* why it has none */
    dr_error models; /* why no model can be used */
    bool coordinator_up;
    dr_error commit; /* what keeps results or dead letters from being committed */
} dr_ready_facts;

bool dr_ready(const dr_ready_facts *facts, dr_error *why);

#endif

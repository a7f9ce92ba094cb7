/* ready.h - decides from what its parts know whether a worker is ready, and if not, why not.
 *
 * A worker is ready if it can take jobs, draw them and commit their results.  If it is not, one line says
 * all that is missing, each with its reason:
 *
 *     can't draw: models: No such file or directory; can't commit: results: Broker: Unknown topic or ...
 *
 * Threads: any. */
#ifndef DR_WORKER_SERVICE_READY_H
#define DR_WORKER_SERVICE_READY_H

#include "base/error.h"

/* In the errors, DR_OK means that nothing is wrong, or that the reason is not known. */
typedef struct dr_ready_facts {
    bool draining;
    bool broker_up;
    dr_error broker; /* why no broker answers */
    bool leased;     /* it has its partitions, or knows that there are none for it */
    dr_error group;  /* why it has none */
    dr_error models; /* why no model can be used */
    bool coordinator_up;
    dr_error commit; /* what keeps results or dead letters from being committed */
} dr_ready_facts;

/* True if the worker is ready; *why is then DR_OK.  Otherwise *why is the line that says what is missing. */
bool dr_ready(const dr_ready_facts *facts, dr_error *why);

#endif

#include "worker/service/ready.h"

#include <stdio.h>
#include <string.h>

/* Adds to *why: "can't take jobs: no broker answers: REASON".  what: what the worker can't do; text: what
 * is missing, or ""; reason: why it is missing, NULL or DR_OK where that is not known. */
static void add(dr_error *why, const char *what, const char *text, const dr_error *reason)
{
    const size_t used = why->status ? strlen(why->text) : 0;
    const bool known = reason && reason->status;

    snprintf(why->text + used, sizeof(why->text) - used, "%scan't %s: %s%s%s", used ? "; " : "", what, text,
             known && *text ? ": " : "", known ? reason->text : "");
    if (!why->status) {
        why->status = known ? reason->status : DR_EIO;
        why->retriable = true;
    }
}

bool dr_ready(const dr_ready_facts *facts, dr_error *why)
{
    *why = (dr_error){ .status = DR_OK };
    if (facts->draining) {
        dr_fail(why, DR_ECANCELED, "draining");
        return false;
    }
    if (!facts->broker_up)
        add(why, "take jobs", "no broker answers", &facts->broker);
    else if (!facts->leased)
        add(why, "take jobs", "waiting for partitions", &facts->group);
    if (facts->models.status)
        add(why, "draw", "", &facts->models);
    if (facts->broker_up && facts->commit.status)
        add(why, "commit", "", &facts->commit);
    else if (facts->broker_up && !facts->coordinator_up)
        add(why, "commit", "the transaction coordinator does not answer", NULL);
    return why->status == DR_OK;
}

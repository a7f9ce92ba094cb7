/* ledger.h - which jobs of one partition are settled, and what to commit for it.
 *
 * Kafka remembers one offset for a partition: everything below it is done.  The jobs of a batch are
 * neighbours in size and steps, not in the log, so jobs are settled out of order:
 *
 *     offset      40 41 42 43 44 45 46 47 48 49
 *                  S  S  r  S  r  S  S  .  .  .       S settled, r running, . not read yet
 *                        ^next             ^read
 *
 *     commit: offset 42, metadata "dr1:42:" + base64 of the bits 43 S, 44 -, 45 S, 46 S
 *
 * If a device is lost with a job, the job has no result, and the device's worker ends.  The ledger counts
 * these losses, since nobody else remembers them:
 *
 *     commit: offset 42, metadata "dr1:42:" + the same + ":" + bit 0 + ":" + bit 1 of the losses of 42, 43
 *
 * The next worker that gets the partition reads both back and runs 42, 44 and what follows.  The metadata
 * names the offset to which it belongs.  So no job is forgotten if a tool moves the group's offset and leaves
 * the metadata.
 *
 * At most DR_LEDGER_WINDOW offsets are held from `next` on.  So one slow job stops its partition there, and
 * the text stays far below the broker's 4096 bytes.
 *
 * A value without threads, clock or Kafka: the caller locks. */
#ifndef DR_WORKER_DELIVERY_LEDGER_H
#define DR_WORKER_DELIVERY_LEDGER_H

#include "base/error.h"
#include "base/limits.h"

#include <stdbool.h>
#include <stdint.h>

/* "dr1:" + offset + three times (":" + base64 of the window) + the final 0. */
enum { DR_LEDGER_TEXT_MAX = 4 + 20 + 3 * (1 + (DR_LEDGER_WINDOW / 8 + 2) / 3 * 4) + 1 };

typedef struct dr_ledger {
    int64_t next; /* every offset below is settled; this one is not */
    /* Every offset in next..read-1 is settled, running, dropped or lost.  After a rebalance, offsets
     * from `read` on may run as well: they are read again. */
    int64_t read;
    int running; /* offsets that run */
    /* One bit for an offset of next..next+WINDOW-1, at the offset modulo the window. */
    uint64_t settled_bits[DR_LEDGER_WINDOW / 64];
    uint64_t running_bits[DR_LEDGER_WINDOW / 64];
    uint64_t lost_bits[2][DR_LEDGER_WINDOW / 64]; /* bits 0 and 1 of the number of devices that were lost */
} dr_ledger;

typedef enum dr_ledger_answer {
    DR_LEDGER_ADMITTED, /* nobody has done the job: it runs now */
    DR_LEDGER_KNOWN,    /* the job is settled, or runs here already */
    DR_LEDGER_FULL,     /* too far above `next`: ask again when something is settled */
} dr_ledger_answer;

/* Begins at the committed offset `next`.  Nothing is known above it. */
void dr_ledger_reset(dr_ledger *l, int64_t next);

/* Does the same as dr_ledger_reset(), and adds what a commit's metadata says about the offsets above; NULL
 * or "" says nothing.  DR_EFORMAT: the text is not ours or belongs to another offset.  Then the ledger is as
 * after dr_ledger_reset(). */
dr_status dr_ledger_restore(dr_ledger *l, int64_t next, const char *text, dr_error *err);

/* A message has been read.  The offsets between the message that was read before it and this one hold no job
 * (transaction markers, aborted or compacted records).  They count as settled. */
dr_ledger_answer dr_ledger_admit(dr_ledger *l, int64_t offset);

/* The log ends before `end` for now.  Offsets below `end` that were not read hold no job. */
void dr_ledger_reach(dr_ledger *l, int64_t end);

/* The answer to a running job is committed, or, in a copy of the ledger, is about to be committed.  An
 * offset that does not run is ignored. */
void dr_ledger_settle(dr_ledger *l, int64_t offset);

/* A running job will have no result here.  It is not settled either: `next` stays at it until the partition
 * is assigned again, to any worker.  An offset that does not run is ignored. */
void dr_ledger_drop(dr_ledger *l, int64_t offset);

/* Does the same as dr_ledger_drop(), and counts that the device was lost with the job. */
void dr_ledger_lose(dr_ledger *l, int64_t offset);

/* A job that was dropped runs again: it has an answer after all.  An offset that runs, is settled or is
 * outside of the window is ignored. */
void dr_ledger_resume(dr_ledger *l, int64_t offset);

/* How often a device was lost with a job that is not settled; DR_DEVICE_LOSSES_MAX: that often or more. */
int dr_ledger_losses(const dr_ledger *l, int64_t offset);

/* The partition came back in a rebalance, and l was just restored.  Jobs that run under `old` go on under l,
 * unless somebody else has settled them meanwhile. */
void dr_ledger_adopt(dr_ledger *l, const dr_ledger *old);

/* Whether the job at that offset was admitted, and was not settled, dropped or lost since then. */
bool dr_ledger_is_running(const dr_ledger *l, int64_t offset);

/* Whether the offset holds no job, or a settled one. */
bool dr_ledger_is_settled(const dr_ledger *l, int64_t offset);

/* The metadata to commit beside l->next; "" if nothing above it is settled and no device was lost. */
void dr_ledger_text(const dr_ledger *l, char text[DR_LEDGER_TEXT_MAX]);

#endif

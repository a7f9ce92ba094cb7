/* ledger.h - which jobs of one partition are finished, and what to commit for it.
 *
 * Kafka remembers one offset a partition: everything below is done.  Jobs that share a batch are
 * neighbours in size and steps, not in the log, so they finish out of order:
 *
 *     offset      40 41 42 43 44 45 46 47 48 49
 *                  F  F  r  F  r  F  F  .  .  .       F finished, r running, . not read yet
 *                        ^next             ^read
 *
 *     commit: offset 42, metadata "dr1:42:" + base64 of the bits 43 F, 44 -, 45 F, 46 F
 *
 * A job that a device was lost with has no result, and the device's worker ends; that it happened is counted here, since
 * nobody else remembers:
 *
 *     commit: offset 42, metadata "dr1:42:" + the same + ":" + bit 0 + ":" + bit 1 of how often, of 42, 43, 44 ...
 *
 * Whoever gets the partition next reads both back and runs 42, 44 and what follows.  The
 * metadata names the offset it belongs to: a tool that moves the group's offset and leaves the metadata
 * must not make jobs vanish.
 *
 * At most DR_LEDGER_WINDOW offsets are held above `next`: one slow job stops its partition
 * there, and the text stays far below the broker's 4096 bytes.
 *
 * A value without threads, clock or Kafka: the caller locks. */
#ifndef DR_WORKER_DELIVERY_LEDGER_H
#define DR_WORKER_DELIVERY_LEDGER_H

#include "base/error.h"
#include "base/limits.h"

#include <stdint.h>

/* "dr1:" + offset + three times ":" + base64 of the window, and the final 0. */
enum { DR_LEDGER_TEXT_MAX = 4 + 20 + 3 * (1 + (DR_LEDGER_WINDOW / 8 + 2) / 3 * 4) + 1 };

typedef struct dr_ledger {
    int64_t next; /* every offset below is finished; this one is not */
    int64_t read; /* every offset in next..read-1 is finished, running or dropped */
    int running;
    /* One bit an offset of next..next+WINDOW-1, at the offset modulo the window. */
    uint64_t settled_bits[DR_LEDGER_WINDOW / 64];
    uint64_t running_bits[DR_LEDGER_WINDOW / 64];
    uint64_t lost_bits[2][DR_LEDGER_WINDOW / 64]; /* bits 0 and 1 of how many devices were lost with it */
} dr_ledger;

typedef enum dr_ledger_answer {
    DR_LEDGER_ADMITTED, /* nobody has done it: it is running now */
    DR_LEDGER_KNOWN,    /* finished, or already running here */
    DR_LEDGER_FULL,     /* too far above `next`: ask again when something has finished */
} dr_ledger_answer;

/* Nothing is known above the committed offset `next`. */
void dr_ledger_reset(dr_ledger *l, int64_t next);

/* As dr_ledger_reset(), with what a commit's metadata says of the offsets above.  DR_EFORMAT where the text is not ours
 * or belongs to another offset; the ledger is then as after dr_ledger_reset(). */
dr_status dr_ledger_restore(dr_ledger *l, int64_t next, const char *text, dr_error *err);

/* A record has been read.  Offsets between the last one read and this one hold no job
 * (transaction markers, aborted or compacted records) and count as finished. */
dr_ledger_answer dr_ledger_admit(dr_ledger *l, int64_t offset);

/* The log ends before `end` for now: what was not read below it holds no job. */
void dr_ledger_reach(dr_ledger *l, int64_t end);

/* A running job's result is committed (or is about to be, in a copy).  Others are ignored. */
void dr_ledger_settle(dr_ledger *l, int64_t offset);

/* A running job will have no result here.  It is not finished either: `next` stands at it until the
 * partition is assigned anew, to whomever. */
void dr_ledger_drop(dr_ledger *l, int64_t offset);

/* As dr_ledger_drop(), and counted: the device was lost with it. */
void dr_ledger_lose(dr_ledger *l, int64_t offset);

/* How often that has happened to a job that is not finished; DR_DEVICE_LOSSES_MAX: that often or more. */
int dr_ledger_losses(const dr_ledger *l, int64_t offset);

/* The partition came back in a rebalance: what is running under `old` and not finished by
 * somebody else meanwhile goes on under l, which was just restored. */
void dr_ledger_adopt(dr_ledger *l, const dr_ledger *old);

bool dr_ledger_is_running(const dr_ledger *l, int64_t offset);
bool dr_ledger_is_settled(const dr_ledger *l, int64_t offset);

/* The metadata to commit beside l->next; "" where nothing above it is finished and no device was lost. */
void dr_ledger_text(const dr_ledger *l, char text[DR_LEDGER_TEXT_MAX]);

#endif

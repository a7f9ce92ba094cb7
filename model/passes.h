/* passes.h - all forward passes of a run: their lanes, their memory and their recordings.
 *
 *     lane       passes        arena
 *     DENOISE    UNet, snapshot    [                    ]
 *     TEXT       text, time        [          ]              each lane has an arena of its own;
 *     DECODE     decode            [               ]         a device without lanes has one for all
 *
 * A pass is a function that calls operators on a dr_pass.  Each kind and size of pass goes through these,
 * in this order:
 *
 *     plan      once: play the function without memory.  It tells the peak, and the backend prepares
 *     reserve   make the lane's arena as large as the largest peak that was planned
 *     play      run it.  This allocates nothing
 *
 * A pass that failed has changed nothing here and may be played again.  docs/passes.md tells the whole
 * way.
 *
 * A device that can record (ops/device.h) records passes of the UNet.  The first pass of a size is played
 * as it is, the second is played into a recording, and all later ones are replayed as one launch.  There
 * are two reasons not to record the first: CUDA loads a kernel, Darkroom's or a library's, when it is
 * first launched, and may refuse to while it records; and a size that comes only once is not worth a
 * recording.
 *
 * Threads: the device's own. */
#ifndef DR_MODEL_PASSES_H
#define DR_MODEL_PASSES_H

#include "ops/ops.h"

enum { DR_PASS_ROWS_MAX = DR_CALLS_MAX }; /* the time table of the longest schedule */

typedef enum dr_pass_kind {
    DR_PASS_TEXT,
    DR_PASS_TIME,
    /* Recorded: for one size, its body must always call the same operators on the same memory. */
    DR_PASS_UNET,
    DR_PASS_SNAPSHOT,
    DR_PASS_DECODE,
    DR_PASS_KINDS
} dr_pass_kind;

/* The shapes of a pass depend on its kind and on these. */
typedef struct dr_pass_size {
    int rows;
    int samples; /* UNet: how many samples the rows are of (rows.h).  Other kinds: 0 */
} dr_pass_size;

/* Calls the operators of a pass.  Failures go to p->error. */
typedef void (*dr_pass_body)(dr_pass *p, void *arg, dr_pass_size size);

typedef struct dr_pass_recording {
    dr_pass_size size;
    dr_recording *recording;
} dr_pass_recording;

typedef struct dr_pass_arena {
    void *memory;
    size_t capacity; /* bytes of memory; 0: none */
    size_t needed;   /* bytes: the highest peak that was planned */
} dr_pass_arena;

/* Zeroed, but for the device. */
typedef struct dr_passes {
    dr_device *device; /* borrowed */
    dr_pass_arena arena[DR_LANES];
    dr_pass_recording recorded[DR_RECORDINGS_MAX]; /* [recordings], owned */
    int recordings;
    bool planned[DR_PASS_KINDS][DR_SAMPLES_MAX + 1][DR_PASS_ROWS_MAX + 1];
    bool played[DR_SAMPLES_MAX + 1][DR_PASS_ROWS_MAX + 1]; /* UNet: a pass of this size was played */
} dr_passes;

/* Plan a pass, unless that has been done.  Takes no memory.  Fails like the body's operators. */
dr_status dr_passes_plan(dr_passes *s, dr_pass_kind kind, dr_pass_size size, dr_pass_body body, void *arg,
                         dr_error *err);

/* Take the memory that all passes planned so far need, so that playing them can't fail for lack of
 * memory.  Fails with DR_ENOMEM. */
dr_status dr_passes_reserve(dr_passes *s, dr_error *err);

/* Plan the pass and reserve memory for it if that has not been done, then play it on its lane.  Fails like
 * the body's operators. */
dr_status dr_passes_play(dr_passes *s, dr_pass_kind kind, dr_pass_size size, dr_pass_body body, void *arg,
                         dr_error *err);

/* The lane on which a kind of pass is put.  What it reads must be written earlier on this lane, or this
 * lane must wait for the other (dr_lane_wait()). */
dr_lane dr_passes_lane(const dr_passes *s, dr_pass_kind kind);

/* Bytes of device memory that the passes planned so far need. */
size_t dr_passes_bytes(const dr_passes *s);

/* Free arenas and recordings.  The device must be done with them: dr_lanes_drain(). */
void dr_passes_free(dr_passes *s);

#endif

/* passes.h - all forward passes of a run, each on its lane; an arena for each lane, sized by playing them first.
 *
 *     lane       passes        arena
 *     DENOISE    UNet, snapshot    [                    ]
 *     TEXT       text, time        [          ]              beside each other, so each has its own;
 *     DECODE     decode            [               ]         one for all where the device has no lanes
 *
 * A pass is a function over a dr_pass.  Each (kind, size) is planned once, when it is first
 * needed: played without memory to learn its peak, and so that the backend prepares its shapes.  After
 * that, playing it allocates nothing.  A pass that failed has changed nothing here: it may be played
 * again.
 *
 * On a device that can record (ops/device.h), the UNet's pass is played as it is when a size comes first, recorded when it
 * comes again, and from then on replayed as one launch.  The first time loads kernels, ours and the libraries', which CUDA
 * does when one is launched first, and while recording may refuse to; and a size that comes once is not worth a recording. */
#ifndef DR_MODEL_PASSES_H
#define DR_MODEL_PASSES_H

#include "ops/ops.h"

enum { DR_PASS_ROWS_MAX = DR_CALLS_MAX }; /* the time table of the longest schedule */

typedef enum dr_pass_kind {
    DR_PASS_TEXT,
    DR_PASS_TIME,
    DR_PASS_UNET, /* its body must enqueue the same, over the same memory, at every call of the same size */
    DR_PASS_SNAPSHOT,
    DR_PASS_DECODE,
    DR_PASS_KINDS
} dr_pass_kind;

/* All that the shapes of a kind of pass depend on. */
typedef struct dr_pass_size {
    int rows;
    int samples; /* UNet: that these are rows of (rows.h); else 0 */
} dr_pass_size;

typedef void (*dr_pass_body)(dr_pass *p, void *arg, dr_pass_size size);

typedef struct dr_pass_recording {
    dr_pass_size size;
    dr_recording *recording;
} dr_pass_recording;

typedef struct dr_pass_arena {
    void *memory;
    size_t capacity; /* bytes of memory */
    size_t needed;   /* bytes: the highest peak that was planned */
} dr_pass_arena;

typedef struct dr_passes {
    dr_device *device;
    dr_pass_arena arena[DR_LANES];
    dr_pass_recording recorded[DR_RECORDINGS_MAX];
    int recordings;
    bool planned[DR_PASS_KINDS][DR_SAMPLES_MAX + 1][DR_PASS_ROWS_MAX + 1];
    bool played[DR_SAMPLES_MAX + 1][DR_PASS_ROWS_MAX + 1]; /* UNet: not for the first time now */
} dr_passes;

/* Learn what a pass of this size needs.  Takes no memory. */
dr_status dr_passes_plan(dr_passes *s, dr_pass_kind kind, dr_pass_size size, dr_pass_body body, void *arg,
                         dr_error *err);

/* Take the memory that all passes planned so far need, so that playing them can't fail for want of it. */
dr_status dr_passes_reserve(dr_passes *s, dr_error *err);

/* Plan it if that has not been done, reserve if that makes it necessary, then run it. */
dr_status dr_passes_play(dr_passes *s, dr_pass_kind kind, dr_pass_size size, dr_pass_body body, void *arg,
                         dr_error *err);

/* The lane that a kind of pass is put on: what it reads and writes is to be in that one's order. */
dr_lane dr_passes_lane(const dr_passes *s, dr_pass_kind kind);

size_t dr_passes_bytes(const dr_passes *s); /* that the passes planned so far need */

void dr_passes_free(dr_passes *s); /* when the device is done with them: dr_lanes_drain() */

#endif

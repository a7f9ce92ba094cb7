/* prompts.h - the different prompts of a run.  Each is encoded once.
 *
 * A sample asks for the entry of its token ids.  Samples with the same ids share an entry.  New entries
 * are encoded together before the next call: the text encoder gives embeddings, and from these come the
 * keys and values of every cross-attention layer, in the row of the UNet's context that has the entry's
 * number.
 *
 *     TEXT        [encode into entries 4, 5]
 *     DENOISE     [call reads entries 0 .. 3]  [call reads 4, 5]
 *
 * The text lane goes on beside earlier UNet calls.  Where one of those still reads the entry that is to be
 * overwritten, the text lane waits for the UNet's lane.  A device with lanes gets more entries than its
 * samples need, so that this happens seldom.
 *
 * Threads: the device's own. */
#ifndef DR_MODEL_PROMPTS_H
#define DR_MODEL_PROMPTS_H

#include "model/model.h"
#include "model/passes.h"

enum {
    /* A prompt and a negative prompt for each sample, and one more for the samples of the next batch. */
    DR_PROMPTS_MAX = 3 * DR_SAMPLES_MAX,
    DR_PROMPTS_PER_PASS = 8, /* with more, the arena grows and the pass is no faster */
};

typedef struct dr_prompts {
    const dr_model *model;   /* borrowed */
    dr_unet_context context; /* context.rows is the number of entries */
    int32_t *device_ids;     /* device, [DR_PROMPTS_PER_PASS, DR_TOKENS] */
    int pending;             /* entries in use that are not encoded */
    struct {
        int users;     /* references; 0: free, but the next sample with these ids finds it encoded */
        bool encoded;  /* its row of the context is written, or will be on the text lane */
        uint64_t read; /* number of the last UNet call that reads it, counted from 1; 0: none */
        int32_t ids[DR_TOKENS];
    } entry[DR_PROMPTS_MAX];
} dr_prompts;

/* How many entries a run of so many samples gets. */
int dr_prompts_entries(const dr_model *model, int samples);

/* Bytes of device memory that dr_prompts_init() takes. */
size_t dr_prompts_bytes(const dr_model *model, int entries);

/* Take memory for so many entries, 1 to DR_PROMPTS_MAX.  dr_prompts_free() ends *s, also after a failure. */
dr_status dr_prompts_init(dr_prompts *s, const dr_model *model, int entries, dr_error *err);
void dr_prompts_free(dr_prompts *s); /* a zeroed one is allowed */

/* Get a reference to the entry of these ids, until dr_prompts_release().  A sample has at most two
 * entries, and there are enough for all samples: this never fails. */
int dr_prompts_acquire(dr_prompts *s, const int32_t ids[DR_TOKENS]);
void dr_prompts_release(dr_prompts *s, int entry);

/* Plan the largest pass.  Takes no memory. */
dr_status dr_prompts_plan(dr_prompts *s, dr_passes *passes, dr_error *err);

/* How many references to entries there are. */
int dr_prompts_users(const dr_prompts *s);

/* Put the encoding of all pending entries on the text lane.  calls_done: how many UNet calls are known to
 * be done.  After a failure the rest is still pending. */
dr_status dr_prompts_encode(dr_prompts *s, dr_passes *passes, uint64_t calls_done, dr_error *err);

/* The UNet call of this number, counted from 1, is on its lane and reads the entry. */
static inline void dr_prompts_note_read(dr_prompts *s, int entry, uint64_t call)
{
    s->entry[entry].read = call;
}

#endif

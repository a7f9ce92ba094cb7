/* prompts.h - the distinct prompts of a run, each encoded once.
 *
 * A sample asks for the entry of its token ids; samples that ask for the same ids share it.  New
 * entries are encoded together before the next step: text encoder, then keys and values of every
 * cross-attention layer into row `entry` of the UNet's context.
 *
 *     TEXT        [encode into entries 4, 5]
 *     DENOISE     [call reads entries 0 .. 3]  [call reads 4, 5]
 *
 * That is on a lane of its own, so it may be done while earlier UNet calls are; a entry that one of them still reads is
 * waited for.  Where there are lanes there are more entries than samples need, so that new ones are seldom of that kind. */
#ifndef DR_MODEL_PROMPTS_H
#define DR_MODEL_PROMPTS_H

#include "model/model.h"
#include "model/passes.h"

enum {
    DR_PROMPTS_MAX =
        3 * DR_SAMPLES_MAX,  /* every sample its own prompt and negative prompt, and a batch's new ones */
    DR_PROMPTS_PER_PASS = 8, /* more would only enlarge the arena */
};

typedef struct dr_prompts {
    const dr_model *model;
    dr_unet_context context; /* context.rows entries */
    int32_t *device_ids;     /* [DR_PROMPTS_PER_PASS * DR_TOKENS] */
    int pending;             /* entries in use that are not encoded */
    struct {
        int users; /* 0: free, though its embedding may still be of use */
        bool encoded;
        uint64_t read; /* the number of UNet calls, the last that reads it among them */
        int32_t ids[DR_TOKENS];
    } entry[DR_PROMPTS_MAX];
} dr_prompts;

/* How many entries go with so many samples. */
int dr_prompts_entries(const dr_model *model, int samples);

size_t dr_prompts_bytes(const dr_model *model, int entries); /* of device memory */
dr_status dr_prompts_init(dr_prompts *s, const dr_model *model, int entries, dr_error *err);
void dr_prompts_free(dr_prompts *s); /* a zeroed one is allowed */

/* The entry of these ids.  There is one as long as at most `entries` are in use. */
int dr_prompts_acquire(dr_prompts *s, const int32_t ids[DR_TOKENS]);
void dr_prompts_release(dr_prompts *s, int entry);

dr_status dr_prompts_plan(dr_prompts *s, dr_passes *passes, dr_error *err);

/* References to all entries together. */
int dr_prompts_users(const dr_prompts *s);

/* All that are pending; calls_done: UNet calls that are known to be done. */
dr_status dr_prompts_encode(dr_prompts *s, dr_passes *passes, uint64_t calls_done, dr_error *err);

/* The call of that number, from 1, has been put on its lane and reads the entry. */
static inline void dr_prompts_note_read(dr_prompts *s, int entry, uint64_t call)
{
    s->entry[entry].read = call;
}

#endif

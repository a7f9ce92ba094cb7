/* prompts.h - the distinct prompts of a run, each encoded once.
 *
 * A sample asks for the slot of its token ids; samples that ask for the same ids share it.  New
 * slots are encoded together before the next step: text encoder, then keys and values of every
 * cross-attention layer into row `slot` of the UNet's context. */
#ifndef DR_MODEL_PROMPTS_H
#define DR_MODEL_PROMPTS_H

#include "model/model.h"
#include "model/passes.h"

enum {
    DR_PROMPTS_MAX = 2 * DR_SAMPLES_MAX, /* every sample its own prompt and negative prompt */
    DR_PROMPTS_PER_PASS = 8,             /* more would only enlarge the arena */
};

typedef struct dr_prompts {
    const dr_model *model;
    dr_unet_context context; /* context.rows slots */
    int32_t *device_ids;     /* [DR_PROMPTS_PER_PASS * DR_TOKENS] */
    int pending;             /* slots in use that are not encoded */
    struct {
        int users; /* 0: free, though its embedding may still be of use */
        bool encoded;
        int32_t ids[DR_TOKENS];
    } slot[DR_PROMPTS_MAX];
} dr_prompts;

size_t dr_prompts_bytes(const dr_model *model, int slots); /* of device memory */
dr_status dr_prompts_init(dr_prompts *s, const dr_model *model, int slots, dr_error *err);
void dr_prompts_free(dr_prompts *s); /* a zeroed one is allowed */

/* The slot of these ids.  There is one as long as at most `slots` are in use. */
int dr_prompts_acquire(dr_prompts *s, const int32_t ids[DR_TOKENS]);
void dr_prompts_release(dr_prompts *s, int slot);

dr_status dr_prompts_plan(dr_prompts *s, dr_passes *passes, dr_error *err);
dr_status dr_prompts_encode(dr_prompts *s, dr_passes *passes, dr_error *err);

#endif

/* timelines.h - what the timesteps of a schedule say to every resnet, computed once per schedule.
 *
 * A timeline is the list of timesteps of one schedule (and the class of a UNet that has class
 * embeddings).  Samples with equal timelines share one block of the time table, which has a row per UNet
 * call:
 *
 *     block b:   rows [b * DR_CALLS_MAX, b * DR_CALLS_MAX + calls)      of dr_unet_time_channels() floats
 *
 * New blocks are computed on the lane of prompts, and as with those (prompts.h) one that a UNet call still reads is
 * waited for. */
#ifndef DR_MODEL_TIMELINES_H
#define DR_MODEL_TIMELINES_H

#include "model/model.h"
#include "model/passes.h"

typedef struct dr_timelines {
    const dr_model *model;
    int blocks;
    float *table;            /* device, [blocks * DR_CALLS_MAX, channels] */
    float *device_timesteps; /* [DR_CALLS_MAX] */
    int32_t *device_classes; /* [DR_CALLS_MAX]; NULL for a UNet without class embeddings */
    struct {
        int users; /* 0: free, though its rows may still be of use */
        bool computed;
        uint64_t read; /* the number of UNet calls, the last that reads it among them */
        int calls;
        int32_t class_label;
        float timestep[DR_CALLS_MAX];
    } block[DR_SAMPLES_MAX];
} dr_timelines;

size_t dr_timelines_bytes(const dr_model *model, int blocks); /* of device memory */
dr_status dr_timelines_init(dr_timelines *s, const dr_model *model, int blocks, dr_error *err);
void dr_timelines_free(dr_timelines *s); /* a zeroed one is allowed */

/* The block of this schedule.  There is one as long as at most `blocks` samples use them. */
int dr_timelines_acquire(dr_timelines *s, const dr_schedule *schedule, int class_label);
void dr_timelines_release(dr_timelines *s, int block);
static inline int dr_timelines_row(int block, int call)
{
    return block * DR_CALLS_MAX + call;
}

dr_status dr_timelines_plan(dr_timelines *s, dr_passes *passes, dr_error *err);
bool dr_timelines_pending(const dr_timelines *s); /* there are some to be computed */
dr_status dr_timelines_compute(dr_timelines *s, dr_passes *passes, uint64_t calls_done, dr_error *err);
static inline void dr_timelines_note_read(dr_timelines *s, int block, uint64_t call)
{
    s->block[block].read = call;
}

#endif

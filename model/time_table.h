/* time_table.h - what the timesteps of a schedule say to every resnet, computed once per schedule.
 *
 * A block holds the list of timesteps of one schedule (and the class of a UNet that has class
 * embeddings).  Samples with equal timesteps share one block of the time table, which has a row per UNet
 * call:
 *
 *     block b:   rows [b * DR_CALLS_MAX, b * DR_CALLS_MAX + calls)      of dr_unet_time_channels() floats
 *
 * New blocks are computed on the lane of prompts, and as with those (prompts.h) one that a UNet call still reads is
 * waited for. */
#ifndef DR_MODEL_TIME_TABLE_H
#define DR_MODEL_TIME_TABLE_H

#include "model/model.h"
#include "model/passes.h"

typedef struct dr_time_table {
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
} dr_time_table;

size_t dr_time_table_bytes(const dr_model *model, int blocks); /* of device memory */
dr_status dr_time_table_init(dr_time_table *s, const dr_model *model, int blocks, dr_error *err);
void dr_time_table_free(dr_time_table *s); /* a zeroed one is allowed */

/* The block of this schedule.  There is one as long as at most `blocks` samples use them. */
int dr_time_table_acquire(dr_time_table *s, const dr_step_table *step_table, int class_label);
void dr_time_table_release(dr_time_table *s, int block);
int dr_time_table_users(const dr_time_table *s); /* references to all blocks together */
static inline int dr_time_table_row(int block, int call)
{
    return block * DR_CALLS_MAX + call;
}

dr_status dr_time_table_plan(dr_time_table *s, dr_passes *passes, dr_error *err);
bool dr_time_table_pending(const dr_time_table *s); /* there are some to be computed */
dr_status dr_time_table_compute(dr_time_table *s, dr_passes *passes, uint64_t calls_done, dr_error *err);
static inline void dr_time_table_note_read(dr_time_table *s, int block, uint64_t call)
{
    s->block[block].read = call;
}

#endif

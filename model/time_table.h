/* time_table.h - what every resnet of the UNet adds for a timestep.  Computed once for each list of
 * timesteps.
 *
 * A block of the table is for the timesteps of one sample's calls, and for its class where the UNet has
 * class embeddings.  Samples with the same timesteps and class share a block.  A block has a row for each
 * call:
 *
 *     block b:   rows [b * DR_CALLS_MAX, b * DR_CALLS_MAX + calls)      of dr_unet_time_channels() floats
 *
 * New blocks are computed on the text lane.  As in prompts.h, that lane waits for the UNet's where a call
 * still reads the block that is to be overwritten.
 *
 * Threads: the device's own. */
#ifndef DR_MODEL_TIME_TABLE_H
#define DR_MODEL_TIME_TABLE_H

#include "model/model.h"
#include "model/passes.h"

typedef struct dr_time_table {
    const dr_model *model; /* borrowed */
    int blocks;
    float *table;            /* device, [blocks * DR_CALLS_MAX, dr_unet_time_channels()] */
    float *device_timesteps; /* device, [DR_CALLS_MAX] */
    int32_t *device_classes; /* device, [DR_CALLS_MAX]; NULL for a UNet without class embeddings */
    struct {
        int users;     /* references; 0: free, but the next sample with these timesteps finds it computed */
        bool computed; /* its rows are written, or will be on the text lane */
        uint64_t read; /* number of the last UNet call that reads it, counted from 1; 0: none */
        int calls;
        int32_t class_label;
        float timestep[DR_CALLS_MAX]; /* [calls] */
    } block[DR_SAMPLES_MAX];
} dr_time_table;

/* Bytes of device memory that dr_time_table_init() takes. */
size_t dr_time_table_bytes(const dr_model *model, int blocks);

/* Take memory for so many blocks, 1 to DR_SAMPLES_MAX.  dr_time_table_free() ends *s, also after a
 * failure. */
dr_status dr_time_table_init(dr_time_table *s, const dr_model *model, int blocks, dr_error *err);
void dr_time_table_free(dr_time_table *s); /* a zeroed one is allowed */

/* Get a reference to the block of these timesteps, until dr_time_table_release().  At most `blocks`
 * samples may have one at a time, so there is always a free block. */
int dr_time_table_acquire(dr_time_table *s, const dr_step_table *step_table, int class_label);
void dr_time_table_release(dr_time_table *s, int block);

/* How many references to blocks there are. */
int dr_time_table_users(const dr_time_table *s);

/* The row of the table for a call of a block. */
static inline int dr_time_table_row(int block, int call)
{
    return block * DR_CALLS_MAX + call;
}

/* Plan the largest pass.  Takes no memory. */
dr_status dr_time_table_plan(dr_time_table *s, dr_passes *passes, dr_error *err);

/* True: a block in use is not computed. */
bool dr_time_table_pending(const dr_time_table *s);

/* Put the computation of all such blocks on the text lane.  calls_done: how many UNet calls are known to
 * be done.  After a failure the rest is still pending. */
dr_status dr_time_table_compute(dr_time_table *s, dr_passes *passes, uint64_t calls_done, dr_error *err);

/* The UNet call of this number, counted from 1, is on its lane and reads the block. */
static inline void dr_time_table_note_read(dr_time_table *s, int block, uint64_t call)
{
    s->block[block].read = call;
}

#endif

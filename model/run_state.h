/* run_state.h - what a run holds.  Only model/run.c, run_step.c and run_state.c use this.
 *
 * A sample has a place in `sample`, and with it the rows of that number in latent, history, noise and
 * streams.  It holds a reference to each entry of `prompts` and to the block of `time_table` that its
 * calls read, from dr_run_add() to dr_run_drop().  Threads: the device's own. */
#ifndef DR_MODEL_RUN_STATE_H
#define DR_MODEL_RUN_STATE_H

#include "model/decodes.h"
#include "model/model.h"
#include "model/passes.h"
#include "model/prompts.h"
#include "model/time_table.h"

enum { DR_RUN_ROWS_MAX = 2 * DR_SAMPLES_MAX };
_Static_assert((int)DR_RUN_ROWS_MAX <= (int)DR_PASS_ROWS_MAX,
               "a pass can be planned for every number of rows");

typedef struct dr_run_sample {
    bool used;                 /* false: the place is free, and all below is zero */
    dr_step_table *step_table; /* owned */
    int call;                  /* the next one, from 0; step_table->calls: the sample is done */
    int draws;                 /* how often its calls have drawn noise */
    float guidance_scale;
    bool guided;                 /* it has two rows: with its prompt, and with its negative prompt */
    int prompt, negative_prompt; /* entries of prompts; the same one where it is not guided */
    int time_block;              /* block of the time table */
} dr_run_sample;

/* What one call's pass reads about its active samples and their rows.  It goes to the device in one
 * upload. */
typedef struct dr_run_inputs {
    /* for each row */
    int32_t row_active[DR_RUN_ROWS_MAX]; /* which of the active samples it is of */
    int32_t row_prompt[DR_RUN_ROWS_MAX]; /* entry of prompts */
    int32_t row_time[DR_RUN_ROWS_MAX];   /* row of the time table */
    /* for each active sample */
    int32_t sample[DR_SAMPLES_MAX]; /* its place in the run */
    int32_t cond_row[DR_SAMPLES_MAX], uncond_row[DR_SAMPLES_MAX];
    int32_t stream_turn[DR_SAMPLES_MAX]; /* which of its two streams is read: see dr_noise_args */
    float input_scale[DR_SAMPLES_MAX], guidance[DR_SAMPLES_MAX];
    dr_step step[DR_SAMPLES_MAX];
} dr_run_inputs;

struct dr_run {
    dr_model *model;
    dr_run_options options;
    int h, w, c; /* of the latents */
    dr_passes passes;
    dr_prompts prompts;
    dr_time_table time_table;
    dr_decodes decodes;
    dr_tensor latent;                        /* device float32, [samples_max, h, w, c] */
    dr_tensor history;                       /* device float32, [samples_max * DR_HISTORY_MAX, h, w, c] */
    dr_tensor noise;                         /* device float32, [samples_max, h, w, c] */
    dr_rng *streams;                         /* device, [samples_max, 2]: see dr_noise_args */
    dr_run_inputs inputs;                    /* of the last call */
    dr_run_inputs *device_inputs;            /* device */
    int active, rows;                        /* of the last call: its samples, and their rows */
    uint64_t calls_begun;                    /* calls of the UNet that are on their lane */
    uint64_t calls_done;                     /* calls that are known to be done; the device may be further */
    dr_mark *called[DR_CALLS_AHEAD_MAX + 1]; /* behind call i, from 0: called[i % (DR_CALLS_AHEAD_MAX + 1)] */
    bool text_ahead; /* the text lane has work that the denoising lane has not been told to wait for */
    float *drawn;    /* host, two latents: one as drawn, [c, h, w], and one as stored, [h, w, c] */
    dr_run_sample sample[DR_SAMPLES_MAX]; /* [samples_max] */
};

/* Assert what holds between any two calls of a run: each sample holds one reference to each prompt and
 * block that it reads, and nobody else does; no sample is past its last call; the host is at most
 * DR_CALLS_AHEAD_MAX calls ahead. */
void dr_run_check(const dr_run *r);

#endif

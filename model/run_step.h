/* run_step.h - one call of the UNet for all samples of a run: dr_run_step().  Only model/run.c uses this. */
#ifndef DR_MODEL_RUN_STEP_H
#define DR_MODEL_RUN_STEP_H

#include "model/run_state.h"

/* Plan the passes of the largest call: new prompts, new timesteps, and the UNet over two rows of every
 * sample.  Takes no memory.  Fails as dr_passes_plan() does. */
dr_status dr_run_plan_step(dr_run *r, dr_error *err);

#endif

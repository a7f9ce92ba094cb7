/* run_step.c - one call of the UNet for all samples of a run.
 *
 *     1. encode the prompts and compute the timesteps that are new        prompts.h, time_table.h
 *     2. list the rows: one of each sample, then a second one of each sample with guidance
 *     3. noise, for samplers that draw it, each from its own stream       one pass: predict_and_step()
 *        latents -> UNet -> guidance and sampler step -> latents
 *
 * How a sample is computed does not depend on which other samples are there.
 *
 * On a device with lanes these calls only put work there: 1 on the text lane and 3 on the denoising lane,
 * which waits for the text lane only where there was something new.  The host stays at most
 * DR_CALLS_AHEAD_MAX calls ahead of the device and then waits for the oldest of them.  So the device
 * always has something to do, and dr_run_progress() is nearly true. */
#include "model/run_step.h"

static void add_active(dr_run *r, int sample)
{
    const dr_run_sample *s = &r->sample[sample];
    dr_run_inputs *in = &r->inputs;
    const int a = r->active++;

    in->sample[a] = sample;
    in->step[a] = s->step_table->step[s->call];
    in->input_scale[a] = in->step[a].input_scale;
    in->guidance[a] = s->guided ? s->guidance_scale : 1.0f;
    in->stream_turn[a] = s->draws % 2;
}

static int add_row(dr_run *r, int active, int prompt)
{
    const dr_run_sample *s = &r->sample[r->inputs.sample[active]];
    dr_run_inputs *in = &r->inputs;
    const int row = r->rows++;

    dr_assert(row < DR_RUN_ROWS_MAX && active < r->active);
    in->row_active[row] = active;
    in->row_prompt[row] = prompt;
    in->row_time[row] = dr_time_table_row(s->time_block, s->call);
    return row;
}

/* List the samples that have calls left, and their rows: first each sample with its prompt, then each
 * sample with guidance with its negative prompt. */
static void list_rows(dr_run *r)
{
    dr_run_inputs *in = &r->inputs;

    r->active = r->rows = 0;
    for (int i = 0; i < r->options.samples_max; i++)
        if (r->sample[i].used && r->sample[i].call < r->sample[i].step_table->calls)
            add_active(r, i);
    for (int a = 0; a < r->active; a++)
        in->cond_row[a] = in->uncond_row[a] = add_row(r, a, r->sample[in->sample[a]].prompt);
    for (int a = 0; a < r->active; a++)
        if (r->sample[in->sample[a]].guided)
            in->uncond_row[a] = add_row(r, a, r->sample[in->sample[a]].negative_prompt);
}

/* Noise, UNet, guidance and sampler step: the pass of one call.  Guidance is applied in the last operator
 * (dr_apply_guidance() in kernels/sampler_step.h), because it and the sampler's step read the UNet's
 * output once. */
static void predict_and_step(dr_pass *p, void *arg, dr_pass_size size)
{
    dr_run *r = arg;
    const dr_run_inputs *in = r->device_inputs;
    const dr_model *m = r->model;
    dr_tensor x, output;

    dr_noise(p, &(dr_noise_args){ .active = size.samples,
                                  .sample = in->sample,
                                  .turn = in->stream_turn,
                                  .step = in->step,
                                  .stream = r->streams,
                                  .y = r->noise });
    x = dr_take(p, size.samples, r->h, r->w, m->config.unet.in_channels);
    output = dr_take(p, size.rows, r->h, r->w, m->config.unet.out_channels);
    dr_unet_input(p, &(dr_unet_input_args){
                         .latent = r->latent, .sample = in->sample, .scale = in->input_scale, .y = x });
    dr_unet_forward(p, m->unet,
                    &(dr_unet_args){ .x = x,
                                     .out = output,
                                     .x_row = in->row_active,
                                     .context = &r->prompts.context,
                                     .context_row = in->row_prompt,
                                     .time_table = r->time_table.table,
                                     .time_row = in->row_time });
    dr_release(p, &x);
    dr_sampler_step(p, &(dr_sampler_step_args){ .output = output,
                                                .active = r->active,
                                                .sample = in->sample,
                                                .cond_row = in->cond_row,
                                                .uncond_row = in->uncond_row,
                                                .guidance = in->guidance,
                                                .step = in->step,
                                                .latent = r->latent,
                                                .history = r->history,
                                                .noise = r->noise });
    dr_release(p, &output);
}

/* Put on the text lane what the call reads of prompts and of the time table, if it is new. */
static dr_status prepare_text(dr_run *r, dr_error *err)
{
    dr_status rc;

    r->text_ahead |= r->prompts.pending > 0 || dr_time_table_pending(&r->time_table);
    if (!r->text_ahead)
        return DR_OK;
    rc = dr_prompts_encode(&r->prompts, &r->passes, r->calls_done, err);
    if (!rc)
        rc = dr_time_table_compute(&r->time_table, &r->passes, r->calls_done, err);
    if (!rc)
        rc = dr_lane_wait(r->model->device, dr_passes_lane(&r->passes, DR_PASS_UNET),
                          dr_passes_lane(&r->passes, DR_PASS_TEXT), err);
    r->text_ahead = rc != DR_OK;
    return rc;
}

/* The call is on its lane.  Note what it reads, and move its samples to their next calls. */
static void note_call(dr_run *r)
{
    r->calls_begun++;
    for (int i = 0; i < r->rows; i++)
        dr_prompts_note_read(&r->prompts, r->inputs.row_prompt[i], r->calls_begun);
    for (int a = 0; a < r->active; a++) {
        dr_run_sample *s = &r->sample[r->inputs.sample[a]];

        dr_time_table_note_read(&r->time_table, s->time_block, r->calls_begun);
        s->draws += s->step_table->step[s->call].noise;
        s->call++;
    }
}

/* Mark the call that was just put on its lane, and wait until the device is at most DR_CALLS_AHEAD_MAX
 * calls behind. */
static dr_status wait_for_oldest_call(dr_run *r, dr_error *err)
{
    enum { MARKS = DR_CALLS_AHEAD_MAX + 1 };
    dr_status rc = dr_mark_set(r->called[(r->calls_begun - 1) % MARKS], DR_LANE_DENOISE, err);

    for (; r->calls_begun - r->calls_done > DR_CALLS_AHEAD_MAX && !rc; r->calls_done += !rc)
        rc = dr_mark_wait(r->called[r->calls_done % MARKS], err);
    return rc;
}

dr_status dr_run_plan_step(dr_run *r, dr_error *err)
{
    const int samples = r->options.samples_max;
    const dr_pass_size most = { .rows = 2 * samples, .samples = samples };
    dr_status rc;

    rc = dr_prompts_plan(&r->prompts, &r->passes, err);
    if (!rc)
        rc = dr_time_table_plan(&r->time_table, &r->passes, err);
    return rc ? rc : dr_passes_plan(&r->passes, DR_PASS_UNET, most, predict_and_step, r, err);
}

dr_status dr_run_step(dr_run *r, dr_error *err)
{
    dr_status rc;

    list_rows(r);
    if (r->active == 0)
        return DR_OK;
    rc = prepare_text(r, err);
    if (rc)
        return rc;
    rc = dr_device_upload(r->model->device, r->device_inputs, &r->inputs, sizeof(r->inputs), err);
    if (rc)
        return rc;
    rc = dr_passes_play(&r->passes, DR_PASS_UNET, (dr_pass_size){ .rows = r->rows, .samples = r->active },
                        predict_and_step, r, err);
    if (rc)
        return rc;
    note_call(r);
    rc = wait_for_oldest_call(r, err);
    dr_run_check(r);
    return rc;
}

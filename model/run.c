/* run.c - samples of one size in development: who is in the batch, and one UNet call for all.
 *
 * Between two calls samples join and leave.  A call then does, for whoever is there,
 *
 *     1. encode prompts and timesteps that are new      (prompts.h, time_table.h)
 *     2. list the rows: one per sample, then a second one of those with guidance
 *     3. noise for samplers that want it, each from its own stream
 *        input -> UNet -> guidance and sampler step     (one pass)
 *
 * Nothing of a sample's arithmetic depends on who else is there.
 *
 * On a device with lanes all of it is only put there: 1 on the text lane, 3 on the denoising one, which waits
 * for the text only where there was some.  The host stays DR_CALLS_AHEAD_MAX calls ahead, and then waits for the
 * oldest of them: the device has always something to do, and what dr_run_progress() says is nearly true.  A picture goes
 * its own way from the latent on (decodes.h). */
#include "model/decodes.h"
#include "model/model.h"
#include "model/passes.h"
#include "model/prompts.h"
#include "model/time_table.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS_MAX = 2 * DR_SAMPLES_MAX };
_Static_assert((int)ROWS_MAX <= (int)DR_PASS_ROWS_MAX, "a pass can be planned for every number of rows");

typedef struct run_sample {
    bool used;
    dr_step_table *step_table;
    int call;  /* the next one */
    int draws; /* of noise that calls have made of its stream */
    float guidance_scale;
    bool guided;                 /* has a row without its prompt as well */
    int prompt, negative_prompt; /* entries; negative only where guided */
    int time_block;              /* block of the time table */
} run_sample;

/* What the pass needs to know of this call's active samples and their rows, in one upload. */
typedef struct step_inputs {
    int32_t row_active[ROWS_MAX], row_prompt[ROWS_MAX], row_time[ROWS_MAX];
    int32_t sample[DR_SAMPLES_MAX], cond_row[DR_SAMPLES_MAX], uncond_row[DR_SAMPLES_MAX];
    int32_t stream_turn[DR_SAMPLES_MAX];
    float input_scale[DR_SAMPLES_MAX], guidance[DR_SAMPLES_MAX];
    dr_step step[DR_SAMPLES_MAX];
} step_inputs;

struct dr_run {
    dr_model *model;
    dr_run_options options;
    int h, w, c; /* of the latents */
    dr_passes passes;
    dr_prompts prompts;
    dr_time_table time_table;
    dr_decodes decodes;
    dr_tensor latent, history, noise; /* device, float32 */
    dr_rng *streams;                  /* device, two of each sample: see dr_noise_args */
    step_inputs *device_inputs;       /* device */
    step_inputs inputs;
    int active, rows;                        /* of this call */
    uint64_t calls, calls_done;              /* of the UNet: put on its lane, and known to be done */
    dr_mark *called[DR_CALLS_AHEAD_MAX + 1]; /* behind call i, from 0: called[i % ...] */
    bool text_ahead; /* there is text that the denoising lane has not been told to wait for */
    float *drawn;    /* host, two latents: as drawn (channels first), as stored (channels last) */
    run_sample sample[DR_SAMPLES_MAX];
};

/* --- memory ------------------------------------------------------------------------ */

static dr_tensor tensor_of(dr_dtype dtype, int n, int h, int w, int c)
{
    return (dr_tensor){ .dtype = dtype, .n = n, .h = h, .w = w, .c = c, .ld = c };
}

static size_t tensor_bytes(const dr_tensor *t)
{
    return dr_tensor_pixels(t) * (size_t)t->c * dr_dtype_bytes(t->dtype);
}

static size_t streams_bytes(const dr_run *r)
{
    return 2 * (size_t)r->options.samples_max * sizeof(*r->streams);
}

static dr_status check_options(const dr_model *m, const dr_run_options *o, dr_error *err)
{
    const int multiple = m->info.side_multiple;
    const int sides[2] = { o->width, o->height };

    if (m->info.task != DR_TASK_TEXT_TO_IMAGE)
        return dr_fail(err, DR_EUNSUPPORTED,
                       "the model's UNet takes %d channels: it is not made for text to image",
                       m->config.unet.in_channels);
    for (int i = 0; i < 2; i++)
        if (sides[i] < multiple || sides[i] > DR_SIDE_MAX || sides[i] % multiple != 0)
            return dr_fail(err, DR_EINVAL, "%s %d: must be a multiple of %d from %d to %d",
                           i ? "height" : "width", sides[i], multiple, multiple, DR_SIDE_MAX);
    if (o->samples_max < 1 || o->samples_max > DR_SAMPLES_MAX)
        return dr_fail(err, DR_EINVAL, "samples_max %d: must be from 1 to %d", o->samples_max,
                       DR_SAMPLES_MAX);
    return DR_OK;
}

/* Everything that is known from the options alone; no memory is taken. */
static void shape_run(dr_run *r, dr_model *m, const dr_run_options *o)
{
    const int factor = dr_vae_factor(m->vae), samples = o->samples_max;

    r->model = m;
    r->options = *o;
    r->h = o->height / factor;
    r->w = o->width / factor;
    r->c = m->config.vae.latent_channels;
    r->passes.device = m->device;
    r->latent = tensor_of(DR_F32, samples, r->h, r->w, r->c);
    r->history = tensor_of(DR_F32, samples * DR_HISTORY_MAX, r->h, r->w, r->c);
    r->noise = tensor_of(DR_F32, samples, r->h, r->w, r->c);
    r->decodes = dr_decodes_shape(m, r->latent);
}

static void unet_body(dr_pass *p, void *arg, dr_pass_size size);

/* Play the largest pass of every kind. */
static dr_status plan(dr_run *r, dr_error *err)
{
    const int samples = r->options.samples_max;
    dr_status rc;

    rc = dr_prompts_plan(&r->prompts, &r->passes, err);
    if (!rc)
        rc = dr_time_table_plan(&r->time_table, &r->passes, err);
    if (!rc)
        rc = dr_passes_plan(&r->passes, DR_PASS_UNET,
                            (dr_pass_size){ .rows = 2 * samples, .samples = samples }, unet_body, r, err);
    if (!rc)
        rc = dr_decodes_plan(&r->decodes, &r->passes, err);
    return rc;
}

static dr_status allocate(dr_run *r, dr_error *err)
{
    dr_tensor *const tensors[] = { &r->latent, &r->history, &r->noise };
    dr_device *device = r->model->device;
    dr_status rc = DR_OK;
    void *inputs = NULL, *streams = NULL;

    for (size_t i = 0; i < sizeof(tensors) / sizeof(tensors[0]) && !rc; i++)
        rc = dr_device_alloc(&tensors[i]->data, device, tensor_bytes(tensors[i]), err);
    if (!rc)
        rc = dr_device_alloc(&streams, device, streams_bytes(r), err);
    r->streams = streams;
    if (!rc)
        rc = dr_device_alloc(&inputs, device, sizeof(*r->device_inputs), err);
    r->device_inputs = inputs;
    for (int i = 0; i <= DR_CALLS_AHEAD_MAX && !rc; i++)
        rc = dr_mark_create(&r->called[i], device, err);
    if (rc)
        return rc;
    r->drawn = malloc(2 * (size_t)r->h * (size_t)r->w * (size_t)r->c * sizeof(float));
    if (!r->drawn)
        return dr_fail(err, DR_ENOMEM, "no host memory for a latent");
    return DR_OK;
}

/* A run that has taken nothing yet. */
static dr_status create(dr_run **out, dr_model *model, const dr_run_options *options, dr_error *err)
{
    const dr_status rc = check_options(model, options, err);

    *out = NULL;
    if (rc)
        return rc;
    *out = calloc(1, sizeof(**out));
    if (!*out)
        return dr_fail(err, DR_ENOMEM, "no memory for the run");
    shape_run(*out, model, options);
    return DR_OK;
}

dr_status dr_run_open(dr_run **out, dr_model *model, const dr_run_options *options, dr_error *err)
{
    dr_run *r;
    dr_status rc;

    *out = NULL;
    rc = create(&r, model, options, err);
    if (rc)
        return rc;
    rc = dr_prompts_init(&r->prompts, model, dr_prompts_entries(model, options->samples_max), err);
    if (rc)
        goto out;
    rc = dr_time_table_init(&r->time_table, model, options->samples_max, err);
    if (rc)
        goto out;
    rc = dr_decodes_init(&r->decodes, err);
    if (rc)
        goto out;
    rc = allocate(r, err);
    if (rc)
        goto out;
    rc = plan(r, err);
    if (!rc)
        rc = dr_passes_reserve(&r->passes, err);
    if (rc)
        goto out;
    *out = r;
    r = NULL; /* handed over */
out:
    dr_run_close(r);
    return rc;
}

void dr_run_close(dr_run *r)
{
    dr_device *device;

    if (!r)
        return;
    device = r->model->device;
    dr_lanes_drain(device, NULL); /* one that is lost has nothing left to do */
    for (int i = 0; i < DR_SAMPLES_MAX; i++)
        dr_step_table_free(r->sample[i].step_table);
    dr_prompts_free(&r->prompts);
    dr_time_table_free(&r->time_table);
    dr_decodes_free(&r->decodes);
    dr_passes_free(&r->passes);
    dr_device_free(device, r->latent.data);
    dr_device_free(device, r->history.data);
    dr_device_free(device, r->noise.data);
    dr_device_free(device, r->streams);
    dr_device_free(device, r->device_inputs);
    for (int i = 0; i <= DR_CALLS_AHEAD_MAX; i++)
        dr_mark_free(r->called[i]);
    free(r->drawn);
    free(r);
}

dr_status dr_run_bytes(dr_model *model, const dr_run_options *options, size_t *bytes, dr_error *err)
{
    const int entries = dr_prompts_entries(model, options->samples_max);
    dr_run *r;
    dr_status rc;

    *bytes = 0;
    rc = create(&r, model, options, err);
    if (rc)
        return rc;
    r->device_inputs = &r->inputs; /* planning reads nothing, but what it names must be somewhere */
    r->prompts.model = r->time_table.model = model;
    r->prompts.context.rows = entries;
    r->time_table.blocks = options->samples_max;
    rc = plan(r, err);
    *bytes = rc ? 0
                : dr_passes_bytes(&r->passes) + dr_prompts_bytes(model, entries) +
                      dr_time_table_bytes(model, options->samples_max) + dr_decodes_bytes(&r->decodes) +
                      tensor_bytes(&r->latent) + tensor_bytes(&r->history) + tensor_bytes(&r->noise) +
                      streams_bytes(r) + sizeof(step_inputs);
    free(r);
    return rc;
}

/* --- joining and leaving ----------------------------------------------------------- */

static dr_status check_request(const dr_text_to_image *q, dr_error *err)
{
    if (q->steps < 1 || q->steps > DR_STEPS_MAX)
        return dr_fail(err, DR_EINVAL, "steps %d: must be from 1 to %d", q->steps, DR_STEPS_MAX);
    if (!(q->guidance_scale >= 0.0f && q->guidance_scale <= DR_GUIDANCE_MAX))
        return dr_fail(err, DR_EINVAL, "guidance_scale %g: must be from 0 to %g", (double)q->guidance_scale,
                       (double)DR_GUIDANCE_MAX);
    if ((unsigned)q->sampler >= DR_SAMPLERS)
        return dr_fail(err, DR_EINVAL, "sampler %d: must be one of dr_sampler", (int)q->sampler);
    return DR_OK;
}

/* The latent that a sample starts with: the first draw of its stream, times scale; and what the stream is then.
 * torch draws (1, c, h, w); we keep channels last. */
static dr_status start_latent(dr_run *r, int sample, uint64_t seed, float scale, dr_error *err)
{
    const size_t pixels = (size_t)r->h * (size_t)r->w, channels = (size_t)r->c;
    float *const first = r->drawn, *const last = r->drawn + pixels * channels;
    dr_device *device = r->model->device;
    dr_rng rng;
    dr_status rc;

    dr_rng_seed(&rng, seed);
    dr_rng_randn(&rng, first, pixels * channels);
    for (size_t c = 0; c < channels; c++)
        for (size_t i = 0; i < pixels; i++)
            last[i * channels + c] = scale * first[c * pixels + i];
    rc = dr_device_upload(device, dr_tensor_rows(r->latent, sample, 1).data, last,
                          pixels * channels * sizeof(float), err);
    return rc ? rc : dr_device_upload(device, &r->streams[2 * sample], &rng, sizeof(rng), err);
}

static dr_status clear_history(dr_run *r, int sample, dr_error *err)
{
    const dr_tensor rows = dr_tensor_rows(r->history, sample * DR_HISTORY_MAX, DR_HISTORY_MAX);

    return dr_device_zero(r->model->device, rows.data, tensor_bytes(&rows), err);
}

static int free_place(const dr_run *r)
{
    for (int i = 0; i < r->options.samples_max; i++)
        if (!r->sample[i].used)
            return i;
    return -1;
}

dr_status dr_run_add(dr_run *r, const dr_text_to_image *q, int *sample, dr_error *err)
{
    const bool guided = q->guidance_scale > 1.0f;
    int32_t ids[DR_TOKENS], negative_ids[DR_TOKENS];
    dr_step_table *step_table = NULL;
    run_sample *s;
    dr_status rc;
    int at;

    rc = check_request(q, err);
    if (rc)
        return rc;
    at = free_place(r);
    if (at < 0)
        return dr_fail(err, DR_ENOMEM, "%d samples are in the run, which is all it has room for",
                       r->options.samples_max);
    rc = dr_tokenizer_encode(r->model->tokenizer, q->prompt, q->prompt_bytes, ids, NULL, err);
    if (!rc && guided)
        rc = dr_tokenizer_encode(r->model->tokenizer, q->negative_prompt, q->negative_prompt_bytes,
                                 negative_ids, NULL, err);
    if (!rc)
        rc = dr_step_table_create(&step_table, &r->model->config.sampler,
                                  &(dr_step_table_request){
                                      .sampler = q->sampler, .steps = q->steps, .strength = 1.0f },
                                  err);
    if (rc)
        return rc;

    s = &r->sample[at];
    *s = (run_sample){ .step_table = step_table, .guided = guided, .guidance_scale = q->guidance_scale };
    rc = start_latent(r, at, q->seed, step_table->init_scale, err);
    if (!rc)
        rc = clear_history(r, at, err);
    if (rc) {
        dr_step_table_free(step_table);
        *s = (run_sample){ .used = false };
        return rc;
    }
    s->used = true;
    s->prompt = dr_prompts_acquire(&r->prompts, ids);
    s->negative_prompt = guided ? dr_prompts_acquire(&r->prompts, negative_ids) : s->prompt;
    s->time_block = dr_time_table_acquire(&r->time_table, step_table, 0);
    *sample = at;
    return DR_OK;
}

static const run_sample *used_sample(const dr_run *r, int sample)
{
    dr_assert(sample >= 0 && sample < r->options.samples_max && r->sample[sample].used);
    return &r->sample[sample];
}

void dr_run_drop(dr_run *r, int sample)
{
    const run_sample *s = used_sample(r, sample);

    dr_prompts_release(&r->prompts, s->prompt);
    if (s->guided)
        dr_prompts_release(&r->prompts, s->negative_prompt);
    dr_time_table_release(&r->time_table, s->time_block);
    dr_step_table_free(s->step_table);
    r->sample[sample] = (run_sample){ .used = false };
}

dr_progress dr_run_progress(const dr_run *r, int sample)
{
    const run_sample *s = used_sample(r, sample);
    const int calls = s->step_table->calls, steps = s->step_table->steps;

    return (dr_progress){
        .calls_done = s->call, .calls = calls, .step = s->call * steps / calls, .steps = steps
    };
}

/* --- a step -------------------------------------------------------------------------- */

static void add_active(dr_run *r, int sample)
{
    const run_sample *s = &r->sample[sample];
    step_inputs *in = &r->inputs;
    const int a = r->active++;

    in->sample[a] = sample;
    in->step[a] = s->step_table->step[s->call];
    in->input_scale[a] = in->step[a].input_scale;
    in->guidance[a] = s->guided ? s->guidance_scale : 1.0f;
    in->stream_turn[a] = s->draws % 2;
}

static int add_row(dr_run *r, int active, int prompt)
{
    const run_sample *s = &r->sample[r->inputs.sample[active]];
    step_inputs *in = &r->inputs;
    const int row = r->rows++;

    in->row_active[row] = active;
    in->row_prompt[row] = prompt;
    in->row_time[row] = dr_time_table_row(s->time_block, s->call);
    return row;
}

/* Rows of every sample that is not done: all with their prompts, then the guided ones without. */
static void list_rows(dr_run *r)
{
    step_inputs *in = &r->inputs;

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

static void unet_body(dr_pass *p, void *arg, dr_pass_size size)
{
    dr_run *r = arg;
    const step_inputs *in = r->device_inputs;
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

/* What the call reads of prompts and of the time table, on the text lane. */
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

/* The call is on its lane: what it reads is in use until it is done, and its samples go on from there. */
static void note_call(dr_run *r)
{
    r->calls++;
    for (int i = 0; i < r->rows; i++)
        dr_prompts_note_read(&r->prompts, r->inputs.row_prompt[i], r->calls);
    for (int a = 0; a < r->active; a++) {
        run_sample *s = &r->sample[r->inputs.sample[a]];

        dr_time_table_note_read(&r->time_table, s->time_block, r->calls);
        s->draws += s->step_table->step[s->call].noise;
        s->call++;
    }
}

static dr_status stay_near(dr_run *r, dr_error *err)
{
    enum { MARKS = DR_CALLS_AHEAD_MAX + 1 };
    dr_status rc = dr_mark_set(r->called[(r->calls - 1) % MARKS], DR_LANE_DENOISE, err);

    for (; r->calls - r->calls_done > DR_CALLS_AHEAD_MAX && !rc; r->calls_done += !rc)
        rc = dr_mark_wait(r->called[r->calls_done % MARKS], err);
    return rc;
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
                        unet_body, r, err);
    if (rc)
        return rc;
    note_call(r);
    return stay_near(r, err);
}

/* --- pictures ------------------------------------------------------------------------ */

dr_status dr_run_begin_picture(dr_run *r, int sample, int *picture, dr_error *err)
{
    used_sample(r, sample);
    return dr_decodes_begin(&r->decodes, &r->passes, dr_tensor_rows(r->latent, sample, 1), picture, err);
}

bool dr_run_picture_ready(const dr_run *r, int picture)
{
    return dr_decodes_ready(&r->decodes, picture);
}

dr_status dr_run_end_picture(dr_run *r, int picture, uint8_t *rgb, dr_error *err)
{
    return dr_decodes_end(&r->decodes, picture, rgb, err);
}

dr_status dr_run_picture(dr_run *r, int sample, uint8_t *rgb, dr_error *err)
{
    int picture;
    const dr_status rc = dr_run_begin_picture(r, sample, &picture, err);

    return rc ? rc : dr_run_end_picture(r, picture, rgb, err);
}

dr_status dr_run_picture_and_drop(dr_run *r, int sample, uint8_t *rgb, dr_error *err)
{
    const dr_status rc = dr_run_picture(r, sample, rgb, err);

    if (!rc)
        dr_run_drop(r, sample);
    return rc;
}

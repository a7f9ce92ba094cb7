/* run.c - a run from its opening to its end: its memory, samples that join and leave, and their pictures.
 *
 * Between two calls samples join and leave.  run_step.c makes the calls of the UNet.  From its latent on,
 * a picture goes its own way (decodes.h). */
#include "model/run_state.h"
#include "model/run_step.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

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
                       "the model is not made for text to image: its UNet has %d input channels",
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

/* Set the shapes, which follow from the options.  Takes no memory. */
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

/* Plan the largest pass of every kind. */
static dr_status plan(dr_run *r, dr_error *err)
{
    const dr_status rc = dr_run_plan_step(r, err);

    return rc ? rc : dr_decodes_plan(&r->decodes, &r->passes, err);
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

/* A run with its shapes and without device memory. */
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
    dr_lanes_drain(device, NULL); /* a device that is lost has nothing left to do */
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
    r->device_inputs = &r->inputs; /* a plan needs an address, and does not read from it */
    r->prompts.model = r->time_table.model = model;
    r->prompts.context.rows = entries;
    r->time_table.blocks = options->samples_max;
    rc = plan(r, err);
    *bytes = rc ? 0
                : dr_passes_bytes(&r->passes) + dr_prompts_bytes(model, entries) +
                      dr_time_table_bytes(model, options->samples_max) + dr_decodes_bytes(&r->decodes) +
                      tensor_bytes(&r->latent) + tensor_bytes(&r->history) + tensor_bytes(&r->noise) +
                      streams_bytes(r) + sizeof(dr_run_inputs);
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

/* Write the latent that a sample begins with, which is the first draw of its stream times scale, and the
 * stream after that draw.  torch draws [1, c, h, w]; Darkroom keeps channels last. */
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
    dr_run_sample *s;
    dr_status rc;
    int at;

    rc = check_request(q, err);
    if (rc)
        return rc;
    at = free_place(r);
    if (at < 0)
        return dr_fail(err, DR_ENOMEM, "the run is full: it has %d samples", r->options.samples_max);
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
    *s = (dr_run_sample){ .step_table = step_table, .guided = guided, .guidance_scale = q->guidance_scale };
    rc = start_latent(r, at, q->seed, step_table->init_scale, err);
    if (!rc)
        rc = clear_history(r, at, err);
    if (rc) {
        dr_step_table_free(step_table);
        *s = (dr_run_sample){ .used = false };
        return rc;
    }
    s->used = true;
    s->prompt = dr_prompts_acquire(&r->prompts, ids);
    s->negative_prompt = guided ? dr_prompts_acquire(&r->prompts, negative_ids) : s->prompt;
    s->time_block = dr_time_table_acquire(&r->time_table, step_table, 0);
    dr_run_check(r);
    *sample = at;
    return DR_OK;
}

static const dr_run_sample *used_sample(const dr_run *r, int sample)
{
    dr_assert(sample >= 0 && sample < r->options.samples_max && r->sample[sample].used);
    return &r->sample[sample];
}

void dr_run_drop(dr_run *r, int sample)
{
    const dr_run_sample *s = used_sample(r, sample);

    dr_prompts_release(&r->prompts, s->prompt);
    if (s->guided)
        dr_prompts_release(&r->prompts, s->negative_prompt);
    dr_time_table_release(&r->time_table, s->time_block);
    dr_step_table_free(s->step_table);
    r->sample[sample] = (dr_run_sample){ .used = false };
    dr_run_check(r);
}

dr_progress dr_run_progress(const dr_run *r, int sample)
{
    const dr_run_sample *s = used_sample(r, sample);
    const int calls = s->step_table->calls, steps = s->step_table->steps;

    return (dr_progress){
        .calls_done = s->call, .calls = calls, .step = s->call * steps / calls, .steps = steps
    };
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

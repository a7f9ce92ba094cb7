/* model_engine.c - libdarkroom as an engine: one run at a time.
 *
 *     loaded models -> run -> pictures under way
 *
 * The run has the model and the size of the last batch, and is kept for the next batch.  When a run is
 * closed, pictures may still be under way: the engine waits for them and keeps them until they are taken. */
#include "worker/engine/engine_kind.h"
#include "worker/engine/host_memory.h"
#include "worker/engine/loaded_models.h"
#include "worker/engine/model_folders.h"
#include "worker/jobs/job_fields.h"
#include "worker/support/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A picture under way.  The run has it, or, since that run was closed, it is kept here. */
typedef struct picture {
    bool used;
    int of_run;      /* its name there; -1: it is kept here */
    uint8_t *pixels; /* kept here, owned; NULL: that failed, with this error: */
    dr_error error;
    size_t bytes;
} picture;

enum { PICTURES_MAX = 2 * DR_SAMPLES_MAX }; /* of the batch that ends, and of the batch before */

typedef struct model_engine {
    dr_device *device;
    dr_loaded_models *models;
    int batch_max;
    size_t memory_max; /* bytes of a run in the host's memory */

    dr_run *run; /* NULL: none */
    size_t run_bytes;
    const dr_model *run_model; /* NULL: none */
    dr_run_options run_options;
    bool live[DR_SAMPLES_MAX]; /* samples in the run */
    picture picture[PICTURES_MAX];
} model_engine;

/* Logs the device's warning for the user, if there is one.  Nothing fails because of it. */
static void log_note(model_engine *e)
{
    const char *note = dr_device_note(e->device);

    if (note)
        dr_log_warn("engine", "%s", note);
}

/* The model of a prepared job. */
static dr_model *model_of(model_engine *e, const dr_job *job)
{
    dr_model *model = dr_loaded_models_find(e->models, job->model);

    dr_assert(model);
    return model;
}

/* --- how much fits --------------------------------------------------------------------------- */

/* How many bytes a new run may have.  The present run counts as free: it is closed before another one is
 * opened. */
static size_t run_bytes_max(const model_engine *e)
{
    const size_t left = dr_device_memory_left(e->device);

    return left == SIZE_MAX ? e->memory_max : left + e->run_bytes;
}

/* While a model is not loaded, nobody knows what fits.  A batch that is too large for it takes several
 * runs then. */
static int model_batch_max(void *self, const dr_job *job)
{
    model_engine *e = self;
    dr_model *model = dr_loaded_models_find(e->models, job->model);
    int samples = e->batch_max;
    const size_t bytes_max = run_bytes_max(e);
    size_t bytes;

    while (model && job->width && job->height && samples > 1) {
        const dr_run_options options = { .width = job->width, .height = job->height, .samples_max = samples };
        if (dr_run_bytes(model, &options, &bytes, NULL) == DR_OK && bytes <= bytes_max)
            break;
        samples /= 2;
    }
    return samples;
}

/* --- the run, and the pictures of a closed run ------------------------------------------------ */

/* Wait for a picture that the run has, and keep it. */
static void keep_picture(model_engine *e, picture *p)
{
    p->pixels = malloc(p->bytes);
    if (!p->pixels)
        dr_fail(&p->error, DR_ENOMEM, "no memory for a picture's %zu bytes", p->bytes);
    else if (dr_run_end_picture(e->run, p->of_run, p->pixels, &p->error)) {
        free(p->pixels);
        p->pixels = NULL;
    }
    p->of_run = -1;
}

static void close_run(model_engine *e)
{
    for (int i = 0; i < PICTURES_MAX; i++)
        if (e->picture[i].used && e->picture[i].of_run >= 0)
            keep_picture(e, &e->picture[i]);
    for (int i = 0; i < DR_SAMPLES_MAX; i++)
        dr_assert(!e->live[i]); /* it is closed between batches only */
    dr_run_close(e->run);
    e->run = NULL;
    e->run_bytes = 0;
    e->run_model = NULL;
}

static void close_run_of(void *self, const dr_model *model)
{
    model_engine *e = self;

    if (e->run_model == model)
        close_run(e);
}

/* --- preparing a job --------------------------------------------------------------------------- */

static dr_status refuse(dr_refusal *refusal, dr_error *err, dr_status status, const char *field,
                        const char *text)
{
    *refusal = (dr_refusal){ .field = "" };
    snprintf(refusal->field, sizeof(refusal->field), "%s", field);
    return dr_fail(err, status, "%s: %s", field, text);
}

/* A side that the job names must fit the model's latents.  A side that it does not name (0) is the model's
 * own. */
static dr_status settle_side(int *side, int otherwise, const char *field, const dr_model_info *info,
                             dr_refusal *refusal, dr_error *err)
{
    if (*side == 0)
        *side = otherwise;
    if (*side % info->side_multiple == 0)
        return DR_OK;
    *refusal = (dr_refusal){ .field = "" };
    snprintf(refusal->field, sizeof(refusal->field), "%s", field);
    snprintf(refusal->allowed, sizeof(refusal->allowed), "a multiple of %d", info->side_multiple);
    return dr_fail(err, DR_EINVAL, "%s: %d; allowed for this model: %s", field, *side, refusal->allowed);
}

static dr_status settle_sampler(dr_sampler *sampler, const dr_model *model, dr_refusal *refusal,
                                dr_error *err)
{
    const dr_status rc = dr_model_choose_sampler(model, *sampler, sampler, err);

    if (rc) {
        *refusal = (dr_refusal){ .field = "sampler" };
        snprintf(refusal->allowed, sizeof(refusal->allowed), "%s", dr_sampler_names());
    }
    return rc;
}

static dr_status model_prepare(void *self, dr_job *job, dr_refusal *refusal, dr_error *err)
{
    model_engine *e = self;
    const dr_model_info *info;
    dr_model *model;
    dr_status rc = dr_loaded_models_get(e->models, job->model, &model, refusal, err);

    if (rc)
        return rc;
    info = dr_model_info_of(model);
    if (info->task != job->task)
        return refuse(refusal, err, DR_EUNSUPPORTED, "model", "it is made for another task than the job's");
    rc = settle_side(&job->width, info->default_width, "width", info, refusal, err);
    if (!rc)
        rc = settle_side(&job->height, info->default_height, "height", info, refusal, err);
    if (!rc)
        rc = settle_sampler(&job->sampler, model, refusal, err);
    return rc;
}

static const char *model_fingerprint(void *self, const dr_job *job)
{
    return dr_model_info_of(model_of(self, job))->fingerprint;
}

static int model_count_tokens(void *self, const dr_job *job, const char *text, size_t bytes)
{
    int tokens = 0;

    return dr_model_count_tokens(model_of(self, job), text, bytes, &tokens, NULL) ? 0 : tokens;
}

static const char *model_arithmetic(void *self)
{
    return dr_device_arithmetic(((model_engine *)self)->device);
}

/* --- a batch -------------------------------------------------------------------------------------- */

/* The next power of two.  Otherwise growing batches would open a new run each time. */
static int run_size(const model_engine *e, const dr_job *job, int samples)
{
    const int most = model_batch_max((void *)(uintptr_t)e, job);
    int size = 1;

    while (size < samples)
        size *= 2;
    return size < most ? size : samples > most ? samples : most;
}

static dr_status model_begin(void *self, const dr_job *first, int samples, dr_error *err)
{
    model_engine *e = self;
    dr_model *model = model_of(e, first);

    dr_assert(samples >= 1 && samples <= DR_SAMPLES_MAX);
    if (e->run && (e->run_model != model || e->run_options.width != first->width ||
                   e->run_options.height != first->height || e->run_options.samples_max < samples))
        close_run(e);
    if (e->run)
        return DR_OK;
    e->run_options = (dr_run_options){ .width = first->width,
                                       .height = first->height,
                                       .samples_max = run_size(e, first, samples) };
    dr_status rc = dr_run_bytes(model, &e->run_options, &e->run_bytes, err);
    if (!rc)
        rc = dr_run_open(&e->run, model, &e->run_options, err);
    if (rc == DR_ENOMEM && dr_loaded_models_make_room(e->models, model, first->model, err))
        rc = dr_run_open(&e->run, model, &e->run_options, err);
    if (!rc)
        e->run_model = model;
    else
        e->run_bytes = 0;
    log_note(e);
    return rc;
}

static dr_status model_add(void *self, const dr_job *job, int image, int *sample, dr_error *err)
{
    model_engine *e = self;
    dr_text_to_image request;

    dr_job_request(&request, job, image);
    const dr_status rc = dr_run_add(e->run, &request, sample, err);
    if (!rc) {
        dr_assert(*sample >= 0 && *sample < DR_SAMPLES_MAX && !e->live[*sample]);
        e->live[*sample] = true;
    }
    return rc;
}

static dr_progress model_progress(void *self, int sample)
{
    return dr_run_progress(((model_engine *)self)->run, sample);
}

static dr_status model_step(void *self, bool *more, dr_error *err)
{
    model_engine *e = self;
    dr_assert(e->run);
    const dr_status rc = dr_run_step(e->run, err);

    *more = false;
    for (int i = 0; !rc && i < DR_SAMPLES_MAX; i++) {
        if (!e->live[i])
            continue;
        const dr_progress progress = model_progress(e, i);
        *more = *more || progress.calls_done < progress.calls;
    }
    return rc;
}

static void model_drop(void *self, int sample)
{
    model_engine *e = self;

    dr_assert(e->live[sample]);
    e->live[sample] = false;
    dr_run_drop(e->run, sample);
}

static dr_status model_begin_picture(void *self, int sample, int *name, dr_error *err)
{
    model_engine *e = self;
    int i = 0, of_run;
    dr_status rc;

    dr_assert(e->run && e->live[sample]);
    while (i < PICTURES_MAX && e->picture[i].used)
        i++;
    dr_assert(i < PICTURES_MAX);
    rc = dr_run_begin_picture(e->run, sample, &of_run, err);
    if (rc)
        return rc;
    e->picture[i] = (picture){ .used = true,
                               .of_run = of_run,
                               .bytes = (size_t)e->run_options.width * (size_t)e->run_options.height * 3 };
    model_drop(e, sample);
    *name = i;
    return DR_OK;
}

static bool model_picture_ready(void *self, int name)
{
    model_engine *e = self;
    const picture *p = &e->picture[name];

    dr_assert(name >= 0 && name < PICTURES_MAX && p->used);
    return p->of_run < 0 || dr_run_picture_ready(e->run, p->of_run);
}

static dr_status model_end_picture(void *self, int name, uint8_t *rgb, dr_error *err)
{
    model_engine *e = self;
    picture *p = &e->picture[name];
    dr_status rc;

    dr_assert(name >= 0 && name < PICTURES_MAX && p->used);
    p->used = false;
    if (p->of_run >= 0)
        return dr_run_end_picture(e->run, p->of_run, rgb, err);
    rc = p->pixels ? DR_OK : p->error.status;
    if (rc && err)
        *err = p->error;
    if (!rc && rgb)
        memcpy(rgb, p->pixels, p->bytes);
    free(p->pixels);
    return rc;
}

static void model_end(void *self)
{
    model_engine *e = self;

    for (int i = 0; i < DR_SAMPLES_MAX; i++)
        if (e->live[i])
            model_drop(e, i);
}

static dr_device_load model_load(void *self)
{
    return dr_device_load_of(((model_engine *)self)->device);
}

static void model_pause(void *self)
{
    dr_device_pause(((model_engine *)self)->device);
}

/* --- open and close ---------------------------------------------------------------------------------- */

static void model_close(void *self)
{
    model_engine *e = self;

    if (!e)
        return;
    for (int i = 0; i < PICTURES_MAX; i++) /* nobody wants them any more */
        if (e->picture[i].used)
            model_end_picture(e, i, NULL, NULL);
    close_run(e);
    dr_loaded_models_free(e->models);
    dr_device_close(e->device);
    free(e);
}

/* The folder of the plan cache, from the setting.  If the setting is "off", there is no cache, and the
 * result is NULL.  If it is empty, the folder is the user's own, or NULL if the user has none. */
static const char *plan_cache(const char *setting, char *path, size_t path_bytes)
{
    const char *caches = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");

    if (setting && *setting)
        return strcmp(setting, "off") == 0 ? NULL : setting;
    if (caches && *caches == '/') /* the XDG specification says to ignore a relative path */
        snprintf(path, path_bytes, "%s/darkroom", caches);
    else if (home && *home)
        snprintf(path, path_bytes, "%s/.cache/darkroom", home);
    else
        return NULL;
    return path;
}

/* Opens the device.  If this machine or this build does not have the device, the setting is wrong, and
 * trying again does not help. */
static dr_status open_device(dr_device **out, const dr_device_options *options, dr_error *err)
{
    dr_error why;
    const dr_status rc = dr_device_open(out, options, &why);

    if (rc == DR_ENOTFOUND || rc == DR_EUNSUPPORTED)
        return dr_fail(err, DR_EINVAL, "device %s: %s%s", options->name, why.text,
                       strncmp(options->name, "cuda", 4) == 0 ? "; auto, cpu and null need no GPU" : "");
    if (rc)
        *err = why;
    return rc;
}

static dr_status model_check_device(const dr_engine_options *options, dr_error *err)
{
    dr_device_options quick = options->device;
    dr_device *device;
    dr_status rc;

    quick.unchecked = true;
    quick.plan_cache = NULL;
    rc = open_device(&device, &quick, err);
    dr_device_close(device);
    return rc;
}

static dr_status model_open(void **self, const dr_engine_options *options, dr_error *err)
{
    model_engine *e = calloc(1, sizeof(*e));
    dr_device_options device = options->device;
    char path[4096];
    dr_status rc;

    *self = NULL;
    if (!e)
        return dr_fail(err, DR_ENOMEM, "no memory for the engine");
    e->batch_max = options->batch_max;
    e->memory_max =
        dr_host_memory_bytes() / 2; /* the other half is for weights, and for pictures on their way */
    device.plan_cache = plan_cache(options->device.plan_cache, path, sizeof(path));
    rc = open_device(&e->device, &device, err);
    if (!rc)
        rc = dr_loaded_models_create(&e->models, e->device, options->models_dir, options->models_max,
                                     close_run_of, e, err);
    if (rc) {
        model_close(e);
        return rc;
    }
    dr_log_info("engine", "device %s (%s)", dr_device_description(e->device), dr_device_why(e->device));
    log_note(e);
    *self = e;
    return DR_OK;
}

static dr_status model_models(const dr_engine_options *options, dr_error *err)
{
    dr_model_names names;
    const dr_status rc = dr_model_names_read(&names, options->models_dir, err);

    if (rc)
        return rc;
    const bool any = names.count > 0;
    dr_model_names_free(&names);
    return any ? DR_OK
               : dr_fail(err, DR_ENOTFOUND, "%s: no folder in it has a model_index.json",
                         options->models_dir);
}

static bool model_has_model(void *self, const char *name)
{
    return dr_loaded_models_has(((model_engine *)self)->models, name);
}

const dr_engine_kind dr_engine_model = {
    .check_device = model_check_device,
    .models = model_models,
    .has_model = model_has_model,
    .open = model_open,
    .close = model_close,
    .batch_max = model_batch_max,
    .prepare = model_prepare,
    .begin = model_begin,
    .add = model_add,
    .step = model_step,
    .progress = model_progress,
    .drop = model_drop,
    .begin_picture = model_begin_picture,
    .picture_ready = model_picture_ready,
    .end_picture = model_end_picture,
    .end = model_end,
    .load = model_load,
    .pause = model_pause,
    .fingerprint = model_fingerprint,
    .count_tokens = model_count_tokens,
    .arithmetic = model_arithmetic,
};

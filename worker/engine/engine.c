#include "worker/engine/engine.h"

#include "worker/engine/engine_kind.h"

#include <stdlib.h>
#include <string.h>

struct dr_engine {
    const dr_engine_kind *kind;
    void *self;
};

static const dr_engine_kind *kind_of(const dr_engine_options *options)
{
    return strcmp(options->device.name, "null") == 0 ? &dr_engine_null : &dr_engine_model;
}

dr_status dr_engine_check_device(const dr_engine_options *options, dr_error *err)
{
    return kind_of(options)->check_device(options, err);
}

dr_status dr_engine_models(const dr_engine_options *options, dr_error *err)
{
    return kind_of(options)->models(options, err);
}

bool dr_engine_has_model(dr_engine *e, const char *name)
{
    return e->kind->has_model(e->self, name);
}

dr_status dr_engine_open(dr_engine **out, const dr_engine_options *options, dr_error *err)
{
    dr_engine *e = calloc(1, sizeof(*e));
    dr_status rc;

    *out = NULL;
    dr_assert(options->batch_max >= 1 && options->batch_max <= DR_SAMPLES_MAX && options->models_max >= 1);
    if (!e)
        return dr_fail(err, DR_ENOMEM, "no memory for the engine");
    e->kind = kind_of(options);
    rc = e->kind->open(&e->self, options, err);
    if (rc) {
        free(e);
        return rc;
    }
    *out = e;
    return DR_OK;
}

void dr_engine_close(dr_engine *e)
{
    if (!e)
        return;
    e->kind->close(e->self);
    free(e);
}

int dr_engine_batch_max(dr_engine *e, const dr_job *job)
{
    return e->kind->batch_max(e->self, job);
}

dr_status dr_engine_prepare(dr_engine *e, dr_job *job, dr_refusal *refusal, dr_error *err)
{
    dr_assert(job->complete);
    return e->kind->prepare(e->self, job, refusal, err);
}

dr_status dr_engine_begin(dr_engine *e, const dr_job *first, int samples, dr_error *err)
{
    return e->kind->begin(e->self, first, samples, err);
}

dr_status dr_engine_add(dr_engine *e, const dr_job *job, int image, int *sample, dr_error *err)
{
    dr_assert(image >= 0 && image < job->images);
    return e->kind->add(e->self, job, image, sample, err);
}

dr_status dr_engine_step(dr_engine *e, bool *more, dr_error *err)
{
    return e->kind->step(e->self, more, err);
}

dr_progress dr_engine_progress(dr_engine *e, int sample)
{
    return e->kind->progress(e->self, sample);
}

void dr_engine_drop(dr_engine *e, int sample)
{
    e->kind->drop(e->self, sample);
}

dr_status dr_engine_begin_picture(dr_engine *e, int sample, int *picture, dr_error *err)
{
    return e->kind->begin_picture(e->self, sample, picture, err);
}

bool dr_engine_picture_ready(dr_engine *e, int picture)
{
    return e->kind->picture_ready(e->self, picture);
}

dr_status dr_engine_end_picture(dr_engine *e, int picture, uint8_t *rgb, dr_error *err)
{
    return e->kind->end_picture(e->self, picture, rgb, err);
}

void dr_engine_end(dr_engine *e)
{
    e->kind->end(e->self);
}

int dr_engine_count_tokens(dr_engine *e, const dr_job *job, const char *text, size_t bytes)
{
    return e->kind->count_tokens(e->self, job, text, bytes);
}

const char *dr_engine_arithmetic(dr_engine *e)
{
    return e->kind->arithmetic(e->self);
}

dr_device_load dr_engine_load(dr_engine *e)
{
    return e->kind->load(e->self);
}

void dr_engine_pause(dr_engine *e)
{
    e->kind->pause(e->self);
}

const char *dr_engine_model_fingerprint(dr_engine *e, const dr_job *job)
{
    return e->kind->fingerprint(e->self, job);
}

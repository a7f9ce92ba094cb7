/* null_engine.c - an engine that takes the time, and gives a picture derived from the job.
 *
 * The picture is soft light.  Its colours and directions come from a hash of everything that makes a
 * picture, so equal jobs have equal pictures, and different jobs have different pictures.  Any model name
 * will do.  A picture is ready after the next step of any run, or when somebody waits for it.
 *
 * To see what happens around a failure, a prompt can ask for one:
 *
 *     !fail prepare, !fail add, !fail begin, !fail end     that call fails for the job
 *     !fail step                                           the whole run fails
 *     !missing                                             its model is not there
 *     !short once, !short                                  memory is short: for the first such job, or always
 *     !lose device, !lose picture                          the device is lost at its step, or at its picture
 */
#include "worker/engine/engine_kind.h"
#include "worker/jobs/job_digest.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { NULL_SIDE = 256 }; /* pixels of a side, for jobs that leave the size to the model */

typedef struct sample {
    const dr_job *job; /* NULL: a free place */
    int image, done;
} sample;

typedef struct picture {
    uint8_t *rgb; /* NULL: a free place */
    size_t bytes;
    uint64_t steps; /* steps that the engine had done when the picture was begun */
    bool fails, loses;
} picture;

enum { PICTURES_MAX = 2 * DR_SAMPLES_MAX };

typedef struct null_engine {
    int batch_max, step_us, samples_max;
    bool lost, was_short;
    uint64_t steps; /* done so far */
    sample sample[DR_SAMPLES_MAX];
    picture picture[PICTURES_MAX];
} null_engine;

static bool asks_for(const dr_job *job, const char *failure)
{
    return strcmp(job->prompt, failure) == 0;
}

static dr_status null_check_device(const dr_engine_options *options, dr_error *err)
{
    (void)options;
    (void)err;
    return DR_OK;
}

static dr_status null_models(const dr_engine_options *options, dr_error *err)
{
    (void)options, (void)err;
    return DR_OK;
}

static bool null_has_model(void *self, const char *name)
{
    (void)self, (void)name;
    return true;
}

static dr_status null_open(void **self, const dr_engine_options *options, dr_error *err)
{
    null_engine *e = calloc(1, sizeof(*e));

    if (!e)
        return dr_fail(err, DR_ENOMEM, "no memory for the null device");
    e->batch_max = options->batch_max;
    e->step_us = options->null_step_us;
    *self = e;
    return DR_OK;
}

static void null_close(void *self)
{
    null_engine *e = self;

    for (int i = 0; i < PICTURES_MAX; i++)
        free(e->picture[i].rgb);
    free(e);
}

static int null_batch_max(void *self, const dr_job *job)
{
    (void)job;
    return ((null_engine *)self)->batch_max;
}

static dr_status say_lost(dr_error *err)
{
    return dr_fail(err, DR_EDEVICE, "the null device is lost, as asked");
}

static dr_status null_prepare(void *self, dr_job *job, dr_refusal *refusal, dr_error *err)
{
    null_engine *e = self;

    if (e->lost)
        return say_lost(err);
    if (asks_for(job, "!missing")) {
        *refusal = (dr_refusal){ .field = "model" };
        return dr_fail(err, DR_ENOTFOUND, "model %s: not found", job->model);
    }
    if (asks_for(job, "!short") || (asks_for(job, "!short once") && !e->was_short)) {
        e->was_short = true;
        return dr_fail(err, DR_ENOMEM, "model %s: no memory, as asked", job->model);
    }
    if (asks_for(job, "!fail prepare"))
        return dr_fail(err, DR_EIO, "model %s: failed as asked", job->model);
    if (job->width == 0)
        job->width = NULL_SIDE;
    if (job->height == 0)
        job->height = NULL_SIDE;
    if (job->sampler == DR_SAMPLER_DEFAULT)
        job->sampler = DR_SAMPLER_DDIM;
    return DR_OK;
}

static dr_status null_begin(void *self, const dr_job *first, int samples, dr_error *err)
{
    null_engine *e = self;

    (void)first, (void)err;
    dr_assert(samples >= 1 && samples <= e->batch_max && e->samples_max == 0);
    e->samples_max = samples;
    memset(e->sample, 0, sizeof(e->sample));
    return DR_OK;
}

static dr_status null_add(void *self, const dr_job *job, int image, int *out, dr_error *err)
{
    null_engine *e = self;
    int free_place = 0;

    if (asks_for(job, "!fail add"))
        return dr_fail(err, DR_EINVAL, "failed as asked");
    while (free_place < e->samples_max && e->sample[free_place].job)
        free_place++;
    dr_assert(free_place < e->samples_max);
    e->sample[free_place] = (sample){ .job = job, .image = image };
    *out = free_place;
    return DR_OK;
}

static void take_time(long us)
{
    if (us > 0) /* a sleep of nothing takes 50 us */
        nanosleep(&(struct timespec){ us / 1000000, us % 1000000 * 1000 }, NULL);
}

static dr_status null_step(void *self, bool *more, dr_error *err)
{
    null_engine *e = self;
    long us = 0;

    *more = false;
    for (int i = 0; i < e->samples_max; i++) {
        sample *s = &e->sample[i];
        if (!s->job || s->done == s->job->steps)
            continue;
        if (asks_for(s->job, "!fail step"))
            return dr_fail(err, DR_EIO, "failed as asked");
        e->lost = e->lost || asks_for(s->job, "!lose device");
        if (e->lost)
            return say_lost(err);
        s->done++;
        us += e->step_us;
        *more = *more || s->done < s->job->steps;
    }
    take_time(us);
    e->steps++;
    return DR_OK;
}

static dr_progress null_progress(void *self, int i)
{
    const sample *s = &((null_engine *)self)->sample[i];
    return (dr_progress){ s->done, s->job->steps, s->done, s->job->steps };
}

static void null_drop(void *self, int i)
{
    null_engine *e = self;

    dr_assert(i >= 0 && i < e->samples_max && e->sample[i].job);
    e->sample[i].job = NULL;
}

/* Three lights, one for each channel.  Each has its own place and reach. */
static void draw_lights(uint8_t *rgb, const sample *s)
{
    const int width = s->job->width, height = s->job->height;
    const dr_job_digest digest = dr_job_picture_digest(s->job, s->image);
    const unsigned char *hash = digest.bytes;

    for (int y = 0; y < height; y++, rgb += 3 * width)
        for (int c = 0; c < 3; c++) {
            const float at = (float)hash[4 * c] / 255;
            const float dy = (float)y / (float)height - (float)hash[4 * c + 1] / 255;
            const float reach = 1 + (float)hash[4 * c + 2] / 64;
            const float strength = (float)(128 + hash[4 * c + 3] / 2);
            uint8_t line[DR_SIDE_MAX];
#pragma omp simd
            for (int x = 0; x < width; x++) {
                const float dx = (float)x / (float)width - at;
                line[x] = (uint8_t)(int)(strength * (1 / (1 + reach * (dx * dx + dy * dy))));
            }
            for (int x = 0; x < width; x++)
                rgb[3 * x + c] = line[x];
        }
}

static dr_status null_begin_picture(void *self, int i, int *name, dr_error *err)
{
    null_engine *e = self;
    const sample *s = &e->sample[i];
    picture *p = e->picture;

    dr_assert(i >= 0 && i < e->samples_max && s->job);
    dr_assert(s->done == s->job->steps);
    if (asks_for(s->job, "!fail begin"))
        return dr_fail(err, DR_EIO, "failed as asked");
    while (p < e->picture + PICTURES_MAX && p->rgb)
        p++;
    dr_assert(p < e->picture + PICTURES_MAX);
    *p = (picture){ .bytes = (size_t)s->job->width * (size_t)s->job->height * 3,
                    .steps = e->steps,
                    .fails = asks_for(s->job, "!fail end"),
                    .loses = asks_for(s->job, "!lose picture") };
    p->rgb = malloc(p->bytes);
    if (!p->rgb)
        return dr_fail(err, DR_ENOMEM, "no memory for a picture's %zu bytes", p->bytes);
    draw_lights(p->rgb, s);
    null_drop(self, i);
    *name = (int)(p - e->picture);
    return DR_OK;
}

static bool null_picture_ready(void *self, int name)
{
    const null_engine *e = self;

    return e->lost || e->steps > e->picture[name].steps;
}

static dr_status null_end_picture(void *self, int name, uint8_t *rgb, dr_error *err)
{
    null_engine *e = self;
    picture *p = &e->picture[name];

    dr_assert(p->rgb);
    if (!null_picture_ready(self, name))
        take_time(e->step_us);
    e->lost = e->lost || p->loses;
    if (rgb)
        memcpy(rgb, p->rgb, p->bytes);
    free(p->rgb);
    p->rgb = NULL;
    if (e->lost)
        return say_lost(err);
    return p->fails ? dr_fail(err, DR_EIO, "failed as asked") : DR_OK;
}

static void null_end(void *self)
{
    ((null_engine *)self)->samples_max = 0;
}

static dr_device_load null_load(void *self)
{
    (void)self;
    return (dr_device_load){ 0.0, 0.0 };
}

static void null_pause(void *self)
{
    (void)self;
}

static const char *null_fingerprint(void *self, const dr_job *job)
{
    (void)self, (void)job;
    return "null";
}

static int null_count_tokens(void *self, const dr_job *job, const char *text, size_t bytes)
{
    int words = 0;

    (void)self, (void)job;
    for (size_t i = 0; i < bytes; i++)
        words += text[i] != ' ' && (i == 0 || text[i - 1] == ' ');
    return words;
}

static const char *null_arithmetic(void *self)
{
    (void)self;
    return "null";
}

const dr_engine_kind dr_engine_null = {
    .check_device = null_check_device,
    .models = null_models,
    .has_model = null_has_model,
    .open = null_open,
    .close = null_close,
    .batch_max = null_batch_max,
    .prepare = null_prepare,
    .begin = null_begin,
    .add = null_add,
    .step = null_step,
    .progress = null_progress,
    .drop = null_drop,
    .begin_picture = null_begin_picture,
    .picture_ready = null_picture_ready,
    .end_picture = null_end_picture,
    .end = null_end,
    .load = null_load,
    .pause = null_pause,
    .fingerprint = null_fingerprint,
    .count_tokens = null_count_tokens,
    .arithmetic = null_arithmetic,
};

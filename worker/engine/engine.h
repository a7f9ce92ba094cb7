/* engine.h - what the pipeline needs of something that makes pictures.
 *
 * Two stand behind it: libdarkroom (engine_model.c), and one that only takes the time and gives a
 * picture derived from the job (engine_null.c), so that everything around the
 * engine can be loaded and broken at full rate on a small machine.  All calls from one thread,
 * the one that owns the device. */
#ifndef DR_WORKER_ENGINE_ENGINE_H
#define DR_WORKER_ENGINE_ENGINE_H

#include "worker/jobs/job.h"

typedef struct dr_engine dr_engine;

typedef struct dr_engine_options {
    /* What draws.  The name may also be "null".  A plan_cache that is NULL or "" is the user's, "off" is none. */
    dr_device_options device;
    const char *models_dir; /* folder of the models' folders; not looked at by the null device */
    int batch_max;          /* samples in one pass, 1 .. DR_SAMPLES_MAX */
    int models_max;         /* models kept loaded, at least 1: the least recently used one goes */
    int null_step_us;       /* null device: time of one step of one sample */
} dr_engine_options;

/* Strings in options are borrowed for as long as the engine is open.
 *
 * Any call may fail with DR_EDEVICE: then the device is lost, and every later call fails likewise. */
dr_status dr_engine_open(dr_engine **out, const dr_engine_options *options, dr_error *err);
void dr_engine_close(dr_engine *e); /* NULL is allowed */

/* DR_OK where models_dir has a model, or the device needs none; else why not.  For any thread, and before an engine is
 * opened: it looks at the folder. */
dr_status dr_engine_models(const dr_engine_options *options, dr_error *err);

/* A model of that name is loaded, or its folder is there: whether it can be loaded, dr_engine_prepare() tells. */
bool dr_engine_has_model(dr_engine *e, const char *name);

/* The most samples of this job's kind that one pass may hold. */
int dr_engine_batch_max(dr_engine *e, const dr_job *job);

/* Load the job's model if it is not loaded (where the device's memory is too small for it, all others are unloaded, and
 * it is tried once more), check what only the model can tell (DR_EINVAL or
 * DR_ENOTFOUND with *refusal: unknown model, a size it can't do, a task it is not made for), and fill in
 * what only it knows: the size of a job that names none, and the sampler. Not during a batch. */
dr_status dr_engine_prepare(dr_engine *e, dr_job *job, dr_refusal *refusal, dr_error *err);

/* A batch: add every sample of every job, step until done, begin the pictures, and take them when they are there.
 *
 *     begin -> add ... add -> step ... step (while *more) -> finish each -> end
 *                                                                |
 *                             begin, prepare, steps of others    +-> take, now or later
 *
 * All jobs of a batch are prepared and have the model and size of `first`.  A sample is named by what
 * add gave, until it is finished or dropped.  end() drops what is left, and follows every successful begin. */
dr_status dr_engine_begin(dr_engine *e, const dr_job *first, int samples, dr_error *err);
dr_status dr_engine_add(dr_engine *e, const dr_job *job, int image, int *sample, dr_error *err);
dr_status dr_engine_step(dr_engine *e, bool *more, dr_error *err);
dr_progress dr_engine_progress(dr_engine *e, int sample);
void dr_engine_drop(dr_engine *e, int sample);

/* The sample leaves, and its picture is under way: *picture names it until it is taken, whatever is begun, prepared or ended
 * meanwhile.  (On a GPU it is decoded beside what is then done.)  Those of earlier batches have been taken.  After a
 * failure the sample is still there. */
dr_status dr_engine_decode(dr_engine *e, int sample, int *picture, dr_error *err);
bool dr_engine_ready(dr_engine *e, int picture); /* taking it would not wait */
/* rgb: height * width * 3 bytes, or NULL where nobody wants it any more.  It is gone then, also after a failure. */
dr_status dr_engine_take(dr_engine *e, int picture, uint8_t *rgb, dr_error *err);
void dr_engine_end(dr_engine *e);

/* The device's time under load, and of it idle (dr_device_load_of); and that nobody wants anything of it until the next
 * batch. */
dr_device_load dr_engine_load(dr_engine *e);
void dr_engine_pause(dr_engine *e);

/* What its pictures' bits depend on, beside job and model: dr_device_arithmetic(). */
const char *dr_engine_arithmetic(dr_engine *e);

/* How many tokens a text has for the model of a prepared job; the null device counts words.  0: nobody can say. */
int dr_engine_count_tokens(dr_engine *e, const dr_job *job, const char *text, size_t bytes);

/* Of the model of a prepared job; lives as long as the model is loaded. */
const char *dr_engine_model_fingerprint(dr_engine *e, const dr_job *job);

#endif

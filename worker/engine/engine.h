/* engine.h - what the pipeline needs of something that makes pictures.
 *
 * There are two engines.  One is libdarkroom (model_engine.c).  The other only takes the time, and derives
 * its pictures from the jobs (null_engine.c).  With it, a small machine can test everything around the engine
 * under full load and with failures.
 *
 * Threads: dr_engine_models() may be called from any thread.  All other calls are made by one thread, which
 * owns the device. */
#ifndef DR_WORKER_ENGINE_ENGINE_H
#define DR_WORKER_ENGINE_ENGINE_H

#include "worker/jobs/job.h"

typedef struct dr_engine dr_engine;

typedef struct dr_engine_options {
    /* The device that draws.  Its name may also be "null".  If plan_cache is NULL or "", it is the user's own
     * folder; "off" means none. */
    dr_device_options device;
    const char *models_dir; /* folder of the models' folders; the null device ignores it */
    int batch_max;          /* samples in one run, 1 .. DR_SAMPLES_MAX */
    int models_max;         /* models kept loaded, at least 1; the least recently used is unloaded */
    int null_step_us;       /* null device: time of one step of one sample */
} dr_engine_options;

/* DR_OK: the device of the options exists and can be used.  Otherwise the error is the one of
 * dr_engine_open().  The device is opened and closed; the tests of its kernels are not run. */
dr_status dr_engine_check_device(const dr_engine_options *options, dr_error *err);

/* Open the engine; the strings in options are borrowed until it is closed.  On failure *out is NULL.
 *
 * Every later call that can fail may fail with DR_EDEVICE: then the device is lost, and all calls after it
 * fail so. */
dr_status dr_engine_open(dr_engine **out, const dr_engine_options *options, dr_error *err);

/* Close the engine.  Pictures under way are thrown away.  NULL is allowed. */
void dr_engine_close(dr_engine *e);

/* DR_OK: models_dir has a model, or the device needs no model.  The call looks at the folder only.  Any
 * thread may call, also before an engine is opened. */
dr_status dr_engine_models(const dr_engine_options *options, dr_error *err);

/* Whether a model of that name is loaded, or a folder of that name exists.  Only dr_engine_prepare() finds
 * out whether the folder can be loaded. */
bool dr_engine_has_model(dr_engine *e, const char *name);

/* How many samples of this job's kind a run may hold; at least 1. */
int dr_engine_batch_max(dr_engine *e, const dr_job *job);

/* Make ready for a job.  Load its model if it is not loaded, and check what only the model can tell.  Fill
 * in what only the model knows: the size, if the job names none, and the sampler.  Not between begin and
 * end.  On DR_EINVAL, DR_ENOTFOUND and DR_EUNSUPPORTED *refusal names the field: an unknown model, a size
 * that the model cannot do, or a task that it is not made for.  If memory is too small for the model, all
 * others are unloaded, and it is tried once more before the call fails with DR_ENOMEM. */
dr_status dr_engine_prepare(dr_engine *e, dr_job *job, dr_refusal *refusal, dr_error *err);

/* --- a run ----------------------------------------------------------------------------
 *
 *     begin -> add ... add -> step ... step (while *more) -> begin_picture of each -> end
 *                                                                 |
 *                                    begin, prepare, steps of     +-> end_picture, now or later
 *                                    other runs meanwhile
 */

/* Begin a run of so many samples.  All its jobs must be prepared, and must have the model and the size of
 * *first.  After every begin that succeeded, dr_engine_end() must be called. */
dr_status dr_engine_begin(dr_engine *e, const dr_job *first, int samples, dr_error *err);

/* Add a sample: image number `image` of a job, which is borrowed until the sample leaves.  *sample names
 * it until then.  On failure the run goes on without it. */
dr_status dr_engine_add(dr_engine *e, const dr_job *job, int image, int *sample, dr_error *err);

/* Make one step of every sample.  *more: some samples have steps left.  On failure the run has failed as a
 * whole. */
dr_status dr_engine_step(dr_engine *e, bool *more, dr_error *err);

/* How far a sample is. */
dr_progress dr_engine_progress(dr_engine *e, int sample);

/* The sample leaves the run, without a picture. */
void dr_engine_drop(dr_engine *e, int sample);

/* The sample leaves the run, and its picture is under way.  *picture names the picture until
 * dr_engine_end_picture(), whatever is begun, prepared or ended meanwhile.  A GPU decodes the picture while
 * it does other work.  All pictures of runs before the last one must have been ended.  After a failure the
 * sample is still in the run. */
dr_status dr_engine_begin_picture(dr_engine *e, int sample, int *picture, dr_error *err);

/* Whether dr_engine_end_picture() would return without waiting. */
bool dr_engine_picture_ready(dr_engine *e, int picture);

/* Wait for a picture and copy its pixels into rgb, which has height * width * 3 bytes.  rgb is NULL if
 * nobody wants the picture any more.  After the call the picture is gone, also after a failure. */
dr_status dr_engine_end_picture(dr_engine *e, int picture, uint8_t *rgb, dr_error *err);

/* End the run.  Samples that are still in it are dropped. */
void dr_engine_end(dr_engine *e);

/* --- what it says about itself ---------------------------------------------------------- */

/* How long the device had work, and how much of that time it was idle: dr_device_load_of(). */
dr_device_load dr_engine_load(dr_engine *e);

/* Until the next batch there is no work for the device.  That time does not count as load. */
void dr_engine_pause(dr_engine *e);

/* Everything, beside job and model, on which the bits of its pictures depend: dr_device_arithmetic().  Lives
 * as long as the engine. */
const char *dr_engine_arithmetic(dr_engine *e);

/* How many tokens a text has for the model of a prepared job.  The null device counts words.  0: the number
 * is not known. */
int dr_engine_count_tokens(dr_engine *e, const dr_job *job, const char *text, size_t bytes);

/* The fingerprint of the model of a prepared job.  Lives as long as the model is loaded. */
const char *dr_engine_model_fingerprint(dr_engine *e, const dr_job *job);

#endif

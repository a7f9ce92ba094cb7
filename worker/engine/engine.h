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

/* What weights and activations are stored as on a GPU: as dr_device_options has them. */
enum { DR_STORAGE_F16, DR_STORAGE_BF16, DR_STORAGES };
const char *dr_storage_name(int storage); /* "f16" */

/* Whose kernels do something on a GPU, likewise. */
enum { DR_FAMILY_OWN, DR_FAMILY_CUDNN, DR_FAMILIES };
const char *dr_family_name(int family); /* "own" */

typedef enum dr_fp8 { DR_FP8_OFF, DR_FP8_CONVOLUTIONS, DR_FP8_ALL, DR_FP8 } dr_fp8;
const char *dr_fp8_name(int fp8); /* "off" */

typedef struct dr_engine_options {
    const char *device;       /* "null", else as dr_device_options has it: "cpu", "cuda:0", "auto" */
    size_t device_memory;     /* CUDA: bytes of the device's memory for us; 0: all that is free */
    const char *storage;      /* CUDA: dr_storage_name() */
    const char *convolutions; /* CUDA: dr_family_name() */
    const char *attention;    /* CUDA: likewise */
    const char *fp8;          /* CUDA: dr_fp8_name() */
    const char *cuda_libs;    /* CUDA: folders with cuBLASLt and cuDNN, "/a:/b" */
    const char *plan_cache;   /* CUDA: folder for measured kernels; NULL or "": the user's; "off": none */
    bool fast;                /* CUDA: see dr_device_options */
    const char *models_dir;   /* folders of models; not looked at by the null device */
    int threads;              /* 0: dr_cores() */
    const char *isa;          /* as dr_device_options has it; NULL or "": the widest there is */
    int batch_max;            /* samples in one pass, 1 .. DR_SAMPLES_MAX */
    int models_max;           /* models kept loaded, at least 1: the least recently used one goes */
    int null_step_us;         /* null device: time of one step of one sample */
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
dr_status dr_engine_finish(dr_engine *e, int sample, int *picture, dr_error *err);
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

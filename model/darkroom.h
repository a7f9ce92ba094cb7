/* darkroom.h - libdarkroom: Stable Diffusion in batches, without Kafka.
 *
 *     dr_device   where it runs                       one thread
 *     dr_model    a folder of weights, loaded         never changes once open
 *     dr_run      samples of one size in development  mutable
 *
 *     dr_run_add()   dr_run_step()  dr_run_step() ... dr_run_decode(), dr_run_drop()  dr_run_step() ... dr_run_take()
 *     a sample joins      all samples, one UNet call     its picture is begun, and it leaves; others go on; the picture
 *
 * Every sample has its own timestep, coefficients, history, guidance and random
 * stream, so samples may join and leave between any two steps and still come out with the
 * very bits that they would have alone.
 *
 * Threads: everything made from a device belongs to the thread that owns the device. */
#ifndef DR_MODEL_DARKROOM_H
#define DR_MODEL_DARKROOM_H

#include "base/error.h"
#include "model/sampler.h"
#include "model/task.h"
#include "ops/device.h"

#include <stdint.h>

/* --- model ----------------------------------------------------------------------- */

typedef struct dr_model dr_model;

typedef struct dr_model_info {
    dr_task task;         /* what its UNet's channels are made for; TEXT_TO_IMAGE also does IMAGE_TO_IMAGE */
    int default_side;     /* pixels: the size it was trained at */
    int side_multiple;    /* width and height must be multiples of it */
    dr_sampler sampler;   /* what its own scheduler config asks for */
    size_t weight_bytes;  /* packed, on the device */
    char fingerprint[65]; /* 64 hex digits that name the model in results: model/fingerprint.h */
} dr_model_info;

/* A folder in the diffusers layout.  Weights are packed for the device; the files are no longer
 * needed afterwards. */
dr_status dr_model_open(dr_model **out, dr_device *device, const char *folder, dr_error *err);
void dr_model_close(dr_model *model); /* NULL is allowed; all its runs must be closed */
const dr_model_info *dr_model_info_of(const dr_model *model);

/* Configs from a folder (no weight files needed), weights drawn from a seed: for benchmarks and
 * tests of the real shapes. */
dr_status dr_model_open_random(dr_model **out, dr_device *device, const char *folder, uint64_t seed,
                               dr_error *err);

/* --- run -------------------------------------------------------------------------- */

typedef struct dr_run dr_run;

typedef struct dr_run_options {
    int width, height; /* pixels */
    int samples_max;   /* how many may be in development at once; 1 .. DR_SAMPLES_MAX */
} dr_run_options;

/* Text to image: what one sample is made of.  Strings are UTF-8, borrowed for the call, and
 * may hold any byte but need no terminator. */
typedef struct dr_text_to_image {
    const char *prompt;
    size_t prompt_bytes;
    const char *negative_prompt;
    size_t negative_prompt_bytes;
    int steps;            /* 1 .. DR_STEPS_MAX */
    float guidance_scale; /* 0 .. DR_GUIDANCE_MAX; <= 1: no guidance, one row instead of two */
    dr_sampler sampler;   /* DR_SAMPLER_DEFAULT: the model's own */
    uint64_t seed;        /* as torch.Generator("cpu").manual_seed() takes it */
} dr_text_to_image;

typedef struct dr_progress {
    int calls_done, calls; /* UNet calls: steps, or more for heun and pndm */
    int step, steps;       /* the same in the user's steps */
} dr_progress;

/* Plans and takes all memory that the largest batch needs. */
dr_status dr_run_open(dr_run **out, dr_model *model, const dr_run_options *options, dr_error *err);
void dr_run_close(dr_run *run); /* NULL is allowed; pictures under way are lost */

/* A sample joins; *sample names it until it is finished or dropped.  Fails with DR_EINVAL where the
 * values are out of range, DR_EUNSUPPORTED where the model's scheduler config does not go with the sampler,
 * and DR_ENOMEM (retriable) where the run is full. */
dr_status dr_run_add(dr_run *run, const dr_text_to_image *request, int *sample, dr_error *err);

/* One UNet call for every sample that is not done; on a GPU it is begun, not done.  With nothing to do it returns DR_OK.  After a
 * failure every sample is where it was before: the call may be repeated, to the same bits, or
 * samples dropped.  (After DR_EDEVICE all that is left is to close everything.) */
dr_status dr_run_step(dr_run *run, dr_error *err);

dr_progress dr_run_progress(const dr_run *run, int sample);

/* Begin the picture of a sample as it is now, finished or not; *picture names it until it is taken.  The sample may step or
 * be dropped meanwhile, and others take its place: on a GPU it is decoded beside them.  At most samples_max pictures
 * may be under way.  After a failure there is none. */
dr_status dr_run_decode(dr_run *run, int sample, int *picture, dr_error *err);

/* Wait for a picture, and for nothing else: height * width * 3 bytes of host memory, or NULL where nobody wants it any more.
 * It is gone afterwards, also after a failure: DR_EDEVICE; DR_EUNSUPPORTED where its values are no finite
 * numbers. */
dr_status dr_run_take(dr_run *run, int picture, uint8_t *rgb, dr_error *err);
bool dr_run_ready(const dr_run *run, int picture); /* taking it would not wait */

/* Decode and take at once.  Finish: then the sample leaves; after a failure it is still there. */
dr_status dr_run_finish(dr_run *run, int sample, uint8_t *rgb, dr_error *err);
dr_status dr_run_preview(dr_run *run, int sample, uint8_t *rgb, dr_error *err);
void dr_run_drop(dr_run *run, int sample);

/* Bytes of device memory that a run with these options takes, weights not counted. */
dr_status dr_run_bytes(dr_model *model, const dr_run_options *options, size_t *bytes, dr_error *err);

#endif

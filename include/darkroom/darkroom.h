/* darkroom.h - libdarkroom: Stable Diffusion in batches.
 *
 *     dr_device   where it runs                       one thread
 *     dr_model    a folder of weights, loaded         never changes once open
 *     dr_run      samples of one size in development  mutable
 *
 *     dr_run_add()            a sample joins
 *     dr_run_step()           one call of the UNet for all samples
 *     ...                     others join, others leave
 *     dr_run_begin_picture()  the device begins to decode the picture of a sample
 *     dr_run_drop()           the sample leaves; its picture and the other samples go on
 *     dr_run_end_picture()    waits for the picture and copies its pixels
 *
 * Every sample has its own timestep, coefficients, history, guidance and random stream.  So samples may
 * join and leave between any two steps, and each comes out with the bits that it would have alone.
 *
 * Threads: everything that is made from a device belongs to the thread that owns the device.
 *
 * docs/embed/ has a program that draws a picture with this library. */
#ifndef DARKROOM_DARKROOM_H
#define DARKROOM_DARKROOM_H

#include <darkroom/device.h>
#include <darkroom/error.h>
#include <darkroom/limits.h>
#include <darkroom/sampler.h>
#include <darkroom/task.h>
#include <darkroom/version.h>

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* --- model ----------------------------------------------------------------------- */

typedef struct dr_model dr_model;

typedef struct dr_model_info {
    dr_task task;      /* what its UNet's channels are made for; TEXT_TO_IMAGE also does IMAGE_TO_IMAGE */
    int default_width; /* pixels: the size that it was trained at */
    int default_height;
    int side_multiple;    /* width and height must be multiples of it */
    dr_sampler sampler;   /* what its own scheduler config asks for; DEFAULT: nothing that we have */
    size_t weight_bytes;  /* of packed weights, on the device */
    char fingerprint[65]; /* 64 hex digits that name the model in results */
} dr_model_info;

/* Load a folder in the diffusers layout and pack its weights for the device.  The files are no longer needed
 * afterwards.  On success *out is the caller's, who ends it with dr_model_close() after all its runs.  On failure
 * *out is NULL. */
dr_status dr_model_open(dr_model **out, dr_device *device, const char *folder, dr_error *err);
void dr_model_close(dr_model *model);                         /* NULL is allowed */
const dr_model_info *dr_model_info_of(const dr_model *model); /* lives as long as the model */

/* Which sampler a sample that asks for `wanted` gets: *out is never DR_SAMPLER_DEFAULT.  Fails with DR_EUNSUPPORTED
 * or DR_EFORMAT where the model's scheduler config does not go with that sampler. */
dr_status dr_model_choose_sampler(const dr_model *model, dr_sampler wanted, dr_sampler *out, dr_error *err);

/* How many tokens a prompt has.  The model reads the first 75 of them.  Fails with DR_EINVAL where the text is not UTF-8 or
 * too long. */
dr_status dr_model_count_tokens(const dr_model *model, const char *text, size_t bytes, int *tokens,
                                dr_error *err);

/* --- run -------------------------------------------------------------------------- */

typedef struct dr_run dr_run;

typedef struct dr_run_options {
    int width, height; /* pixels */
    int samples_max;   /* how many may be in development at once: 1 to DR_SAMPLES_MAX */
} dr_run_options;

/* Text to image: what one sample is made of.  Strings are UTF-8 and borrowed for the call.  They may hold any byte and need
 * no terminator. */
typedef struct dr_text_to_image {
    const char *prompt;
    size_t prompt_bytes;
    const char *negative_prompt;
    size_t negative_prompt_bytes;
    int steps;            /* 1 to DR_STEPS_MAX */
    float guidance_scale; /* 0 to DR_GUIDANCE_MAX; 1 and below: no guidance, one row instead of two */
    dr_sampler sampler;   /* DR_SAMPLER_DEFAULT: the model's own */
    uint64_t seed;        /* as torch.Generator("cpu").manual_seed() takes it */
} dr_text_to_image;

typedef struct dr_progress {
    int calls_done, calls; /* calls of the UNet: steps, or more for heun and pndm */
    int step, steps;       /* the same in the user's steps */
} dr_progress;

/* Plan and take all memory that the largest batch needs.  On success *out is the caller's, who ends it with
 * dr_run_close().  On failure *out is NULL. */
dr_status dr_run_open(dr_run **out, dr_model *model, const dr_run_options *options, dr_error *err);
void dr_run_close(dr_run *run); /* NULL is allowed; pictures that are under way are lost */

/* Bytes of device memory that a run with these options takes, without the weights. */
dr_status dr_run_bytes(dr_model *model, const dr_run_options *options, size_t *bytes, dr_error *err);

/* A sample joins.  *sample names it until it is dropped.  Fails with DR_EINVAL where a value is out of
 * range, with DR_EUNSUPPORTED where the model's scheduler config does not go with the sampler, and with DR_ENOMEM
 * (retriable) where the run is full. */
dr_status dr_run_add(dr_run *run, const dr_text_to_image *request, int *sample, dr_error *err);

/* One call of the UNet for every sample that is not done.  On a GPU the call is begun, not done.  With nothing to do it
 * returns DR_OK.  After a failure every sample is where it was before: the call may be repeated, to the same bits, or
 * samples dropped.  After DR_EDEVICE all that is left is to close everything. */
dr_status dr_run_step(dr_run *run, dr_error *err);

dr_progress dr_run_progress(const dr_run *run, int sample);

/* Begin to decode the picture of a sample as it is now, after its last step or before.  *picture names
 * the picture until dr_run_end_picture().  Meanwhile the sample may step or be dropped, and another
 * sample may join in its place: a GPU decodes beside these steps.  At most samples_max pictures may be
 * begun and not ended.  After a failure no picture is begun. */
dr_status dr_run_begin_picture(dr_run *run, int sample, int *picture, dr_error *err);

/* True: dr_run_end_picture() would not wait. */
bool dr_run_picture_ready(const dr_run *run, int picture);

/* Wait for this one picture, copy its pixels and end it, also on a failure.  rgb: height * width * 3 bytes
 * of host memory, or NULL where nobody wants the pixels any more.  Fails with DR_EDEVICE, and with
 * DR_EUNSUPPORTED where the picture's values are infinite or not a number. */
dr_status dr_run_end_picture(dr_run *run, int picture, uint8_t *rgb, dr_error *err);

/* Begin and end a picture in one call.  The sample stays as it is. */
dr_status dr_run_picture(dr_run *run, int sample, uint8_t *rgb, dr_error *err);

/* The same, and then drop the sample.  After a failure the sample is still in the run. */
dr_status dr_run_picture_and_drop(dr_run *run, int sample, uint8_t *rgb, dr_error *err);

/* The sample leaves the run.  A picture of it that was begun is still to be ended. */
void dr_run_drop(dr_run *run, int sample);

#ifdef __cplusplus
}
#endif

#endif

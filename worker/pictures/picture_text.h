/* picture_text.h - what a picture's file says of how it was made. */
#ifndef DR_WORKER_PICTURES_PICTURE_TEXT_H
#define DR_WORKER_PICTURES_PICTURE_TEXT_H

#include "worker/jobs/job.h"

/* The texts, UTF-8 and owned.
 *
 *     parameters   the text that AUTOMATIC1111's web UI writes and many programs read:
 *
 *                  a red fox
 *                  Negative prompt: blurry
 *                  Steps: 20, Sampler: Euler a, CFG scale: 7.5, Seed: 17, Size: 512x512, ...
 *
 *     json         the fields of the job that draw, with the seed of this image: a job that draws it again.
 *                  The column `draws` of worker/jobs/job_fields.c says which fields
 *     xmp          that JSON as darkroom:job */
typedef struct dr_picture_texts {
    char *parameters, *json, *xmp;
} dr_picture_texts;

/* Make the texts for image number `image` of a prepared job.  *texts is to be ended with
 * dr_picture_texts_free(), also after a failure (DR_ENOMEM).  Any thread. */
dr_status dr_picture_texts_make(dr_picture_texts *texts, const dr_job *job, int image,
                                const char *model_fingerprint, dr_error *err);
/* Frees the texts, and not the struct. */
void dr_picture_texts_free(dr_picture_texts *texts);

#endif

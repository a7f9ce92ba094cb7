/* picture_text.h - how a picture was made, in the words that go into its file. */
#ifndef DR_WORKER_PICTURES_PICTURE_TEXT_H
#define DR_WORKER_PICTURES_PICTURE_TEXT_H

#include "worker/jobs/job.h"

/* The text that AUTOMATIC1111's web UI writes and many programs read:
 *
 *     a red fox
 *     Negative prompt: blurry
 *     Steps: 20, Sampler: Euler a, CFG scale: 7.5, Seed: 17, Size: 512x512, Model: sd15, Model hash: 6ce0161689
 *
 * malloc'ed; NULL without memory. */
char *dr_picture_parameters(const dr_job *job, int image, const char *model_fingerprint);

/* The fields of a job that would give this picture again, as one JSON object.  malloc'ed; NULL without memory. */
char *dr_picture_json(const dr_job *job, int image, const char *model_fingerprint);

/* XMP with that JSON as darkroom:job.  malloc'ed; NULL without memory. */
char *dr_picture_xmp(const char *json);

#endif

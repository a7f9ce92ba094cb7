/* vips_encode.h - pixels to JPEG and WebP, with libvips. */
#ifndef DR_WORKER_PICTURES_VIPS_ENCODE_H
#define DR_WORKER_PICTURES_VIPS_ENCODE_H

#include "worker/jobs/job.h"

/* A file without texts, in the format, size and quality of the job: DR_JPEG or DR_WEBP.  rgb: [height,
 * width, 3]. *bytes is the caller's, to be ended with dr_vips_free(), also after a failure (DR_ENOMEM).
 * Any thread. */
dr_status dr_vips_encode(void **bytes, size_t *size, const dr_job *job, const uint8_t *rgb, dr_error *err);
/* NULL is allowed. */
void dr_vips_free(void *bytes);

#endif

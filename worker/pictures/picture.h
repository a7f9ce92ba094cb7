/* picture.h - pixels to renditions: PNG with libpng, JPEG and WebP with libvips.
 *
 * The file says how it was made: as the text `parameters`, which most Stable Diffusion programs write and
 * read, and as a JSON object with the fields of the job that draw.
 *
 *     PNG          text chunks `parameters` and `darkroom`
 *     JPEG, WebP   EXIF UserComment, in any script; XMP, darkroom:job
 *
 * The job's id, the time and the machine are not in the file: equal pictures of equal jobs are equal
 * files. */
#ifndef DR_WORKER_PICTURES_PICTURE_H
#define DR_WORKER_PICTURES_PICTURE_H

#include "worker/jobs/result.h"

/* Start libvips: once, by main, before there are other threads.  Loaders that are not made for untrusted
 * files are blocked, and each call works with one thread, because several threads encode at once.
 * DR_EUNSUPPORTED. */
dr_status dr_pictures_start(dr_error *err);
/* End libvips: by main, when no other thread uses it any more. */
void dr_pictures_stop(void);
/* A thread that has encoded pictures calls this before it ends. */
void dr_pictures_thread_done(void);

/* Encode image number `image` of a prepared job into the file that the job asks for.
 * rgb: [height, width, 3], borrowed.  model_fingerprint: of the model that drew it, for the file's texts.
 * On success out->bytes are the caller's, to be ended with free().  DR_ENOMEM.  Any thread. */
dr_status dr_rendition_encode(dr_rendition *out, const dr_job *job, int image, const char *model_fingerprint,
                              const uint8_t *rgb, dr_error *err);

/* The SHA-256 of the bytes in hex, with a 0.  Any thread. */
void dr_sha256_hex(char hex[65], const void *bytes, size_t size);

#endif

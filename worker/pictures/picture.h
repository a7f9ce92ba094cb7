/* picture.h - pixels to files, with libvips, and PNG with libpng.
 *
 * The file says how it was made: as the `parameters` text that most Stable Diffusion programs write
 * and read, and as a JSON object `darkroom` with the fields of the job.
 *
 *     PNG          text chunks `parameters` and `darkroom`
 *     JPEG, WebP   EXIF UserComment, in any script; XMP, darkroom:job
 *
 * Nothing of the job's id, the time or the machine gets into it: equal pictures of equal jobs are
 * equal files.  Threads: any, each picture by one; a thread that has used it calls
 * dr_pictures_thread_done() before it ends. */
#ifndef DR_WORKER_PICTURES_PICTURE_H
#define DR_WORKER_PICTURES_PICTURE_H

#include "worker/jobs/result.h"

/* Once, by main, before there are threads; and at the end.  Loaders that are not for untrusted files
 * are blocked, and each call works with one thread: there are several finishing. */
dr_status dr_pictures_start(dr_error *err);
void dr_pictures_stop(void);
void dr_pictures_thread_done(void);

/* rgb [height, width, 3] of image number `image` of the job, borrowed, to a file in memory as the job
 * wants it.  fills *out, whose bytes are the caller's. */
dr_status dr_picture_encode(dr_picture *out, const dr_job *job, int image, const char *model_fingerprint,
                            const uint8_t *rgb, dr_error *err);

/* Hex SHA-256, 0-terminated. */
void dr_sha256_hex(char hex[65], const void *bytes, size_t size);

#endif

/* webp_text.h - texts into a WebP file, in place of the texts that it has.
 *
 *     RIFF, WEBP | VP8X: size, flags | VP8 (as it was) | EXIF: UserComment | XMP */
#ifndef DR_WORKER_PICTURES_WEBP_TEXT_H
#define DR_WORKER_PICTURES_WEBP_TEXT_H

#include "worker/pictures/picture_text.h"

/* A copy of the file with texts->parameters as EXIF UserComment, and texts->xmp.  webp: as
 * dr_vips_encode() makes it, of width x height pixels.  *out is malloc'ed and the caller's.  DR_ENOMEM.
 * Any thread. */
dr_status dr_webp_with_texts(void **out, size_t *out_size, const void *webp, size_t size, int width,
                             int height, const dr_picture_texts *texts, dr_error *err);

#endif

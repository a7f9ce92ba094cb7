/* webp_text.h - texts in a WebP file, in place of those it has.
 *
 *     RIFF, WEBP | VP8X: size, flags | VP8 (as it was) | EXIF: UserComment | XMP */
#ifndef DR_WORKER_PICTURES_WEBP_TEXT_H
#define DR_WORKER_PICTURES_WEBP_TEXT_H

#include "base/error.h"

#include <stddef.h>

/* *out is malloc'ed.  width, height: the picture's. */
dr_status dr_webp_with_texts(void **out, size_t *out_size, const void *webp, size_t size, int width,
                             int height, const char *parameters, const char *xmp, dr_error *err);

#endif

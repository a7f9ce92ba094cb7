/* jpeg_text.h - texts in a JPEG file that was made without.
 *
 *     SOI, APP0 JFIF | APP1 EXIF: UserComment | APP1 XMP | ... */
#ifndef DR_WORKER_PICTURES_JPEG_TEXT_H
#define DR_WORKER_PICTURES_JPEG_TEXT_H

#include "base/error.h"

#include <stddef.h>

/* *out is malloc'ed.  A segment has 65533 bytes: a longer text is cut, a longer XMP left out. */
dr_status dr_jpeg_with_texts(void **out, size_t *out_size, const void *jpeg, size_t size,
                             const char *parameters, const char *xmp, dr_error *err);

#endif

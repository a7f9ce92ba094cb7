/* jpeg_text.h - texts into a JPEG file that has none.
 *
 *     SOI, APP0 JFIF | APP1 EXIF: UserComment | APP1 XMP | ... */
#ifndef DR_WORKER_PICTURES_JPEG_TEXT_H
#define DR_WORKER_PICTURES_JPEG_TEXT_H

#include "worker/pictures/picture_text.h"

/* A copy of the file with texts->parameters as EXIF UserComment, and texts->xmp.  A segment of JPEG has
 * at most 65533 bytes: a longer UserComment is cut, a longer XMP is left out.  jpeg: as dr_vips_encode()
 * makes it. *out is malloc'ed and the caller's.  DR_ENOMEM.  Any thread. */
dr_status dr_jpeg_with_texts(void **out, size_t *out_size, const void *jpeg, size_t size,
                             const dr_picture_texts *texts, dr_error *err);

#endif

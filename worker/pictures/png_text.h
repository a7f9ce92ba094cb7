/* png_text.h - texts into a PNG file that has none.
 *
 *     signature, IHDR | tEXt parameters, tEXt darkroom | ... IDAT ... IEND
 *
 * An ASCII text becomes a tEXt chunk, any other text an iTXt chunk. */
#ifndef DR_WORKER_PICTURES_PNG_TEXT_H
#define DR_WORKER_PICTURES_PNG_TEXT_H

#include "worker/pictures/picture_text.h"

/* A copy of the file with texts->parameters, and texts->json under the key `darkroom`.  png: as
 * dr_png_encode() makes it. *out is malloc'ed and the caller's.  DR_ENOMEM.  Any thread. */
dr_status dr_png_with_texts(void **out, size_t *out_size, const void *png, size_t size,
                            const dr_picture_texts *texts, dr_error *err);

#endif

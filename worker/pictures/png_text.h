/* png_text.h - texts in a PNG file that was made without.
 *
 *     signature, IHDR | tEXt parameters, tEXt darkroom | ... IDAT ... IEND
 *
 * An ASCII text becomes tEXt, every other one iTXt. */
#ifndef DR_WORKER_PICTURES_PNG_TEXT_H
#define DR_WORKER_PICTURES_PNG_TEXT_H

#include "base/error.h"

#include <stddef.h>

/* *out is malloc'ed. */
dr_status dr_png_with_texts(void **out, size_t *out_size, const void *png, size_t size,
                            const char *parameters, const char *darkroom, dr_error *err);

#endif

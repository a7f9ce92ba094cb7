/* png_encode.h - pixels to PNG, with libpng.
 *
 * libvips writes the same bytes, but by a thread that makes lines and one that writes them: for a small picture that is more
 * work than the picture. */
#ifndef DR_WORKER_PICTURES_PNG_ENCODE_H
#define DR_WORKER_PICTURES_PNG_ENCODE_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

/* rgb: [height, width, 3].  *out is malloc'ed. */
dr_status dr_png_encode(void **out, size_t *out_size, const uint8_t *rgb, int width, int height,
                        dr_error *err);

#endif

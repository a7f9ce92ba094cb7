/* png_encode.h - pixels to PNG, with libpng.
 *
 * libvips writes the same bytes.  But it has one thread make lines and another write them, which is more
 * work than a small picture itself. */
#ifndef DR_WORKER_PICTURES_PNG_ENCODE_H
#define DR_WORKER_PICTURES_PNG_ENCODE_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

/* A file without texts.  rgb: [height, width, 3].  *out is malloc'ed and the caller's.  DR_ENOMEM.  Any
 * thread. */
dr_status dr_png_encode(void **out, size_t *out_size, const uint8_t *rgb, int width, int height,
                        dr_error *err);

#endif

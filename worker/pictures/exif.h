/* exif.h - a text as EXIF UserComment, as the usual programs read and write it.
 *
 *     "MM" TIFF | IFD0: ExifIFDPointer | Exif IFD: ExifVersion, UserComment | "UNICODE\0" UTF-16BE
 *
 * libvips would write ASCII alone. */
#ifndef DR_WORKER_PICTURES_EXIF_H
#define DR_WORKER_PICTURES_EXIF_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

/* *out is malloc'ed: the TIFF, without what a file format puts before it.  text: UTF-8; it is cut before the character
 * with which the whole would be more than size_max. */
dr_status dr_exif_make(uint8_t **out, size_t *size, const char *text, size_t size_max, dr_error *err);

#endif

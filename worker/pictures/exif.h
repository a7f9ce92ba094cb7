/* exif.h - a text as EXIF UserComment, in the form that the usual programs read and write.
 *
 *     "MM" TIFF | IFD0: ExifIFDPointer | Exif IFD: ExifVersion, UserComment | "UNICODE\0" UTF-16BE
 *
 * libvips itself writes ASCII only. */
#ifndef DR_WORKER_PICTURES_EXIF_H
#define DR_WORKER_PICTURES_EXIF_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

/* The TIFF, without the head that a file format puts before it.  text: UTF-8; where all would be more
 * than size_max bytes, it is cut after a whole character.  *out is malloc'ed and the caller's.
 * DR_ENOMEM.  Any thread. */
dr_status dr_exif_make(uint8_t **out, size_t *size, const char *text, size_t size_max, dr_error *err);

#endif

/* mapped_file.h - a regular file, mapped read-only.
 *
 * The pages are the kernel's: nothing is read before it is touched, and it can be dropped
 * again.  The file must not become shorter while it is mapped; touching what was cut
 * off ends the process with SIGBUS. */
#ifndef DR_BASE_MAPPED_FILE_H
#define DR_BASE_MAPPED_FILE_H

#include "base/error.h"

#include <stddef.h>

typedef struct dr_mapped_file {
    const unsigned char *data;
    size_t bytes; /* at least 1: an empty file is refused */
} dr_mapped_file;

/* Missing: DR_ENOTFOUND; a directory, device or pipe, empty, or more than bytes_max: DR_EFORMAT;
 * unreadable: DR_EIO.  On failure *out is zeroed. */
dr_status dr_mapped_file_open(dr_mapped_file *out, const char *path, size_t bytes_max, dr_error *err);
void dr_mapped_file_close(dr_mapped_file *file); /* a zeroed one is allowed */

/* Take the pages out of our resident memory; touching them reads them again. */
void dr_mapped_file_forget_pages(const dr_mapped_file *file);

#endif

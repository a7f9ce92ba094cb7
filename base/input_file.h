/* input_file.h - reads a regular file that may change meanwhile.
 *
 * Files are not mapped: if a mapped file becomes shorter, reading the part that is gone ends the process
 * with SIGBUS.  Here the read fails with an error.
 *
 * Threads: any number may read from one handle; it is opened and closed by one. */
#ifndef DR_BASE_INPUT_FILE_H
#define DR_BASE_INPUT_FILE_H

#include "base/error.h"

#include <stddef.h>
#include <time.h>

typedef struct dr_input_file {
    char *path;              /* owned; for messages */
    int fd;                  /* valid where path is not NULL */
    size_t bytes;            /* when it was opened; at least 1 */
    struct timespec changed; /* when it was opened: the time of its last change */
} dr_input_file;

/* Open a file.  DR_ENOTFOUND: it is missing.  DR_EFORMAT: it is a directory, device or pipe, is empty, or
 * has more than bytes_max bytes.  DR_EIO: it can't be read.  On failure *out is zeroed. */
dr_status dr_input_file_open(dr_input_file *out, const char *path, size_t bytes_max, dr_error *err);
void dr_input_file_close(dr_input_file *file); /* a zeroed one is allowed */

/* Read so many bytes from offset on, all of which must be within file->bytes.  Fails with DR_EIO
 * (retriable), also if the file has become shorter. */
dr_status dr_input_file_read(const dr_input_file *file, size_t offset, void *to, size_t bytes, dr_error *err);

/* Fails with DR_EIO (retriable) if the file's size or time of change is not the same as when the file was
 * opened.  Then the bytes that were read may be a mix of two versions. */
dr_status dr_input_file_check_unchanged(const dr_input_file *file, dr_error *err);

/* A whole file in memory. */
typedef struct dr_input_content {
    unsigned char *data;
    size_t bytes;
} dr_input_content;

/* Read a whole file.  dr_input_content_free() frees *out.  Fails like dr_input_file_open() and
 * dr_input_file_read(), and with DR_ENOMEM.  On failure *out is zeroed. */
dr_status dr_input_content_read(dr_input_content *out, const char *path, size_t bytes_max, dr_error *err);
void dr_input_content_free(dr_input_content *content); /* a zeroed one is allowed */

#endif

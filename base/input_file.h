/* input_file.h - a regular file that is read, and not trusted to stay as it is.
 *
 * Nothing is mapped: where a mapped file becomes shorter, touching what was cut off ends the process with SIGBUS.
 * Here it is an error of the read.  A handle belongs to one thread at a time. */
#ifndef DR_BASE_INPUT_FILE_H
#define DR_BASE_INPUT_FILE_H

#include "base/error.h"

#include <stddef.h>
#include <time.h>

typedef struct dr_input_file {
    char *path;   /* for messages */
    int fd;       /* valid where path is not NULL */
    size_t bytes; /* as it was opened; at least 1: an empty file is refused */
    struct timespec changed;
} dr_input_file;

/* Missing: DR_ENOTFOUND; a directory, device or pipe, empty, or more than bytes_max: DR_EFORMAT;
 * unreadable: DR_EIO.  On failure *out is zeroed. */
dr_status dr_input_file_open(dr_input_file *out, const char *path, size_t bytes_max, dr_error *err);
void dr_input_file_close(dr_input_file *file); /* a zeroed one is allowed */

/* Read the bytes from offset on; all of them are within file->bytes.  DR_EIO, which is retriable, also where the file has
 * become shorter. */
dr_status dr_input_file_read(const dr_input_file *file, size_t offset, void *to, size_t bytes, dr_error *err);

/* DR_EIO (retriable) where the file's size or time of change is not what it was on opening: what was read may be of
 * two versions. */
dr_status dr_input_file_check_unchanged(const dr_input_file *file, dr_error *err);

/* A whole file in memory. */
typedef struct dr_input_content {
    unsigned char *data;
    size_t bytes;
} dr_input_content;

/* Fails as dr_input_file_open() and dr_input_file_read() do, and with DR_ENOMEM.  On failure *out is zeroed. */
dr_status dr_input_content_read(dr_input_content *out, const char *path, size_t bytes_max, dr_error *err);
void dr_input_content_free(dr_input_content *content); /* a zeroed one is allowed */

#endif

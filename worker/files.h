/* files.h - files that are whole or not there.
 *
 * A file is written beside its name and renamed; a line is appended in one write.  Both are on the disk when
 * the call returns, so what a results file says is there, is. */
#ifndef DR_WORKER_FILES_H
#define DR_WORKER_FILES_H

#include "base/error.h"

#include <stddef.h>

/* A folder and those above it; no error where it is there. */
dr_status dr_folder_make(const char *path, dr_error *err);
bool dr_folder_exists(const char *path);

dr_status dr_file_write(const char *path, const void *bytes, size_t size, dr_error *err);

/* The whole file, malloc'ed.  DR_EINVAL where it is larger than size_max. */
dr_status dr_file_read(const char *path, size_t size_max, void **bytes, size_t *size, dr_error *err);

/* For lines to be appended.  What a crash left of a line at the end is taken away. */
dr_status dr_lines_open(int *fd, const char *path, dr_error *err);
/* line has no newline; path is for messages. */
dr_status dr_lines_append(int fd, const char *path, const char *line, dr_error *err);

#endif

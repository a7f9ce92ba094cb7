/* files.h - files that are whole or not there.
 *
 * A file is written beside its name and renamed, and is on the disk when the call returns.  Nothing here follows a
 * symbolic link, opens a pipe or a device, or writes into a file that was there: a folder may be one that others write
 * into, too. */
#ifndef DR_WORKER_SUPPORT_FILES_H
#define DR_WORKER_SUPPORT_FILES_H

#include "base/error.h"

#include <stddef.h>

/* A folder and those above it; no error where it is there. */
dr_status dr_folder_make(const char *path, dr_error *err);
bool dr_folder_exists(const char *path);

/* What is at path is replaced, and not written into. */
dr_status dr_file_write(const char *path, const void *bytes, size_t size, dr_error *err);

/* open() of a regular file and of nothing else; flags: open()'s.  *fd is the caller's, -1 after a failure. */
dr_status dr_file_open(int *fd, const char *path, int flags, dr_error *err);
/* All of it, to the disk; path is for messages. */
dr_status dr_fd_write(int fd, const void *bytes, size_t size, const char *path, dr_error *err);

/* The whole file, malloc'ed.  DR_EINVAL where it is larger than size_max. */
dr_status dr_file_read(const char *path, size_t size_max, void **bytes, size_t *size, dr_error *err);

#endif

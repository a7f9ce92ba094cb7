/* files.h - writes files so that each is whole or does not exist, and reads files.
 *
 * A file is written beside its name, and then renamed.  It is on the disk when the call returns.  Nothing
 * here follows a symbolic link, opens a pipe or a device, or writes into a file that was there before,
 * because other users may write into the folder, too.
 *
 * Threads: any.  A failure is DR_EIO or what errno means (dr_fail_errno()), and the error names the path. */
#ifndef DR_WORKER_SUPPORT_FILES_H
#define DR_WORKER_SUPPORT_FILES_H

#include "base/error.h"

#include <stddef.h>

/* Makes a folder, and those above it that are missing.  It is no error if the folder exists. */
dr_status dr_folder_make(const char *path, dr_error *err);

/* Whether there is a folder at path. */
bool dr_folder_exists(const char *path);

/* Writes a new file, and puts it in the place of what is at path. */
dr_status dr_file_write(const char *path, const void *bytes, size_t size, dr_error *err);

/* Opens a regular file, and nothing else.  flags: those of open().  *fd is the caller's; it is -1 after a
 * failure. */
dr_status dr_file_open(int *fd, const char *path, int flags, dr_error *err);

/* Writes all the bytes to fd.  path is for messages. */
dr_status dr_fd_write(int fd, const void *bytes, size_t size, const char *path, dr_error *err);

/* Reads the whole file.  *bytes is malloc'ed and the caller's.  DR_EINVAL: the file is larger than size_max.
 */
dr_status dr_file_read(const char *path, size_t size_max, void **bytes, size_t *size, dr_error *err);

#endif

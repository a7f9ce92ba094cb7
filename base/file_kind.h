/* file_kind.h - what a file really is, if its name is wrong about it.
 *
 * A download may leave something else under the name of a model's file.  An error that says what the
 * file is helps people more than an error that only says that the file can't be read. */
#ifndef DR_BASE_FILE_KIND_H
#define DR_BASE_FILE_KIND_H

#include <stddef.h>

enum { DR_FILE_KIND_BYTES = 64 }; /* dr_file_kind() needs no more bytes */

/* What a file is, by its first bytes, and what to do about it: "a git-lfs pointer in place of the file:
 * ...".  The text is constant.  NULL: the file is of no kind that is known here.  Any thread may call. */
const char *dr_file_kind(const void *first, size_t bytes);

#endif

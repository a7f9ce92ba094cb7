/* file_kind.h - what a file really is, if it is not what its name says.
 *
 * A download may leave something else under the name of a model's file.  An error that says what it is
 * helps people more than one that says that it can't be read. */
#ifndef DR_BASE_FILE_KIND_H
#define DR_BASE_FILE_KIND_H

#include <stddef.h>

enum { DR_FILE_KIND_BYTES = 64 }; /* so many bytes are enough for dr_file_kind() */

/* What a file is, by its first bytes, and what to do about it: "a git-lfs pointer in place of the file:
 * ...".  The text is constant.  NULL: the file is of no kind that is known here.  Any thread may call. */
const char *dr_file_kind(const void *first, size_t bytes);

#endif

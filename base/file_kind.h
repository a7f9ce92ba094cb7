/* file_kind.h - what a file is that is not what its name says.
 *
 * A download may leave something else under the name of a model's file.  What it is tells people what to do. */
#ifndef DR_BASE_FILE_KIND_H
#define DR_BASE_FILE_KIND_H

#include <stddef.h>

enum { DR_FILE_KIND_BYTES = 64 }; /* that are enough to tell */

/* By a file's first bytes: "a git-lfs pointer ...", with what to do about it; NULL where nothing is known of it.  Any
 * thread may call. */
const char *dr_file_kind(const void *first, size_t bytes);

#endif

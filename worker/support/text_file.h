/* text_file.h - reads a text file as other programs write it, byte by byte, as UTF-8.
 *
 *     EF BB BF, bytes                  the bytes as they are, without the mark
 *     FF FE or FE FF, UTF-16           as UTF-8, without the mark
 *     UTF-16 without a mark            the same: one byte of each of its first two units is 0
 *
 * Half a surrogate pair, or half a unit at the end, is no character in UTF-16.  It is given as the byte FF,
 * which is in no valid text.  So the check of the text refuses it, and nothing gets lost unseen.  One
 * thread uses a file.
 */
#ifndef DR_WORKER_SUPPORT_TEXT_FILE_H
#define DR_WORKER_SUPPORT_TEXT_FILE_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct dr_text_file dr_text_file;

/* Opens the file and reads its first bytes.  path is borrowed; "-" is standard input.  On success *out is
 * the caller's, to be ended with dr_text_file_close().  DR_ENOTFOUND, DR_EIO; DR_EINVAL: it is a folder;
 * DR_EFORMAT: it is UTF-32. */
dr_status dr_text_file_open(dr_text_file **out, const char *path, dr_error *err);

/* NULL is allowed. */
void dr_text_file_close(dr_text_file *file);

/* The next byte; -1 at the end, or after a failure: dr_text_file_status() tells which. */
int dr_text_file_next(dr_text_file *file);

/* Does the same as dr_text_file_next(), and the byte stays the next one. */
int dr_text_file_peek(dr_text_file *file);

/* DR_OK, or why no more bytes could be read. */
dr_status dr_text_file_status(const dr_text_file *file, dr_error *err);

/* Skips a byte-order mark that stands here.  There are marks in the middle of a file that was made by
 * joining files. */
void dr_text_file_skip_mark(dr_text_file *file);

/* Goes back to the first byte.  False: the file can be read only once (a pipe). */
bool dr_text_file_rewind(dr_text_file *file);

/* Reads one line without its end (LF, CR LF or CR), 0-terminated.  *size is the size of the whole line;
 * bytes beyond room - 1 are read and not kept.  False at the end of the file. */
bool dr_text_file_line(dr_text_file *file, char *text, size_t room, size_t *size);

#endif

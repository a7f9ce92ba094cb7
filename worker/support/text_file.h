/* text_file.h - a text file as others write it, read byte by byte as UTF-8.
 *
 *     EF BB BF, bytes                  the bytes as they are, without the mark
 *     FF FE or FE FF, UTF-16           as UTF-8, without the mark
 *     UTF-16 without a mark            the same: one byte of each of its first two units is 0
 *
 * What UTF-16 has no character for (half a surrogate pair, half a unit at the end) is given as the byte FF, which is in
 * no text: whoever checks the text refuses it, and nothing gets lost.  One thread. */
#ifndef DR_WORKER_SUPPORT_TEXT_FILE_H
#define DR_WORKER_SUPPORT_TEXT_FILE_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct dr_text_file dr_text_file;

/* path "-": standard input; it is borrowed.  Reads the first bytes: DR_ENOTFOUND, DR_EIO, DR_EINVAL of
 * a folder, DR_EFORMAT of UTF-32. */
dr_status dr_text_file_open(dr_text_file **out, const char *path, dr_error *err);
void dr_text_file_close(dr_text_file *file); /* NULL is allowed */

/* The next byte; -1 at the end, or where no more can be read: dr_text_file_status() tells which. */
int dr_text_file_next(dr_text_file *file);
int dr_text_file_peek(dr_text_file *file); /* the same, and it stays */
dr_status dr_text_file_status(const dr_text_file *file, dr_error *err);

/* Past a byte-order mark that stands here, and not at the file's beginning: files were put one after the other. */
void dr_text_file_skip_mark(dr_text_file *file);

/* Back to the first byte.  False: this one can be read once (a pipe). */
bool dr_text_file_rewind(dr_text_file *file);

/* One line without its end (LF, CR LF or CR), 0-terminated.  *size is the line's, and what is beyond room - 1 is read
 * and not kept.  False at the end. */
bool dr_text_file_line(dr_text_file *file, char *text, size_t room, size_t *size);

#endif

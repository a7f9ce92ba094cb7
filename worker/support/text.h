/* text.h - strings from outside: checked, cut and copied without breaking a character.  Threads: any. */
#ifndef DR_WORKER_SUPPORT_TEXT_H
#define DR_WORKER_SUPPORT_TEXT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Whether it is valid UTF-8 without a NUL. */
bool dr_text_valid(const char *text, size_t size);

/* Copies into a buffer of `room` bytes.  The copy is 0-terminated, and cut before a character that does not
 * fit.  A byte that is not UTF-8 becomes '?'.  A character that a terminal or an editor would obey instead
 * of showing it becomes a space: controls, also those of 0x80 to 0x9f, those of the writing direction, and
 * ends of lines. */
void dr_text_copy(char *to, size_t room, const char *text, size_t size);

/* Prints a line for a person: formatted, made safe as by dr_text_copy(), with a newline at the end. */
void dr_text_print(FILE *to, const char *format, ...) __attribute__((format(printf, 2, 3)));
void dr_text_vprint(FILE *to, const char *format, va_list ap);

/* Reads a whole number in any decimal spelling: 64, 64.0, 2e0, 6.4e1, -3.  False: it is no whole number, or
 * it has more than 64 bits. */
bool dr_text_whole(const char *text, bool *negative, uint64_t *magnitude);

/* Whether it has 1..DR_NAME_BYTES_MAX characters of A-Z a-z 0-9 . _ : - and does not start with a dot or a
 * dash.  Such a name can be part of a file name and of a command line, and as a path it never leaves its
 * folder. */
bool dr_name_valid(const char *name, size_t size);
extern const char dr_name_rule[]; /* the same in words */

/* Whether it can be the name of a model's folder, in a job and on the disk: 1..DR_FOLDER_NAME_BYTES_MAX
 * bytes of UTF-8 that don't begin with a dot, and contain neither a slash nor a character that would be
 * obeyed instead of shown.  So it always names a folder below the models folder. */
bool dr_folder_name_valid(const char *name, size_t size);
extern const char dr_folder_name_rule[]; /* the same in words */

#endif

/* text.h - strings from outside: checked, cut and copied without breaking a character. */
#ifndef DR_WORKER_SUPPORT_TEXT_H
#define DR_WORKER_SUPPORT_TEXT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Valid UTF-8, and no NUL in it. */
bool dr_text_valid(const char *text, size_t size);

/* Copy into a buffer of `room` bytes, cut before a character that does not fit, 0-terminated.
 * What is not UTF-8 becomes '?', and what a terminal or an editor would obey instead of showing (controls, also those of
 * 0x80 to 0x9f and of the writing direction, ends of lines) becomes a space. */
void dr_text_copy(char *to, size_t room, const char *text, size_t size);

/* A line for a person: formatted, then as dr_text_copy() has it, and a newline. */
void dr_text_print(FILE *to, const char *format, ...) __attribute__((format(printf, 2, 3)));
void dr_text_vprint(FILE *to, const char *format, va_list ap);

/* A whole number in decimals, however it is spelled: 64, 64.0, 2e0, 6.4e1, -3.  False: not one, or beyond 64 bits. */
bool dr_text_whole(const char *text, bool *negative, uint64_t *magnitude);

/* 1..DR_NAME_BYTES_MAX characters of A-Z a-z 0-9 . _ : - not starting with a dot or dash: such a name can be
 * part of a file name, and of a command line, and never leaves its folder. */
bool dr_name_valid(const char *name, size_t size);
extern const char dr_name_rule[]; /* the same in words */

/* What the name of a model's folder may be, in a job and on the disk: 1..DR_FOLDER_NAME_BYTES_MAX bytes of UTF-8 that don't begin
 * with a dot, and have no slash in them and nothing that is obeyed instead of shown.  So it is one folder below another,
 * and never that one or the one above. */
bool dr_folder_name_valid(const char *name, size_t size);
extern const char dr_folder_name_rule[]; /* the same in words */

#endif

/* unicode_text.h - UTF-8 as CLIP's tokenizer reads it.
 *
 * The tables are utf8proc's, of the Unicode version that it was built for.  A text may contain any code
 * point, NUL too, and needs no terminator.  Threads: any; nothing here has a state. */
#ifndef DR_MODEL_UNICODE_TEXT_H
#define DR_MODEL_UNICODE_TEXT_H

#include "base/error.h"

#include <stddef.h>

/* The offset of the first byte that does not belong to valid UTF-8; `bytes` if all of it is valid. */
size_t dr_utf8_valid_bytes(const char *text, size_t bytes);

/* Normalize a text as CLIP does before it looks for words: to NFC; every run of white space to one space;
 * to lower case, each code point by itself ("Σ" at the end of a word becomes "σ") and without composing
 * again.  The text must be valid UTF-8.  The caller frees *out; it has no terminator.  Fails with
 * DR_ENOMEM. */
dr_status dr_text_normalize(char **out, size_t *out_bytes, const char *text, size_t bytes, dr_error *err);

typedef enum dr_text_class { DR_TEXT_SPACE, DR_TEXT_LETTER, DR_TEXT_NUMBER, DR_TEXT_OTHER } dr_text_class;

/* The class of the first code point of a valid text of at least one byte.  *length becomes the code
 * point's bytes. */
dr_text_class dr_text_class_at(const char *text, size_t bytes, size_t *length);

#endif

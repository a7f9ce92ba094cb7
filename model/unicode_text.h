/* unicode_text.h - UTF-8 as CLIP's tokenizer looks at it.
 *
 * Unicode's tables are utf8proc's, those of the Unicode version that it was built for.  Text may
 * hold any code point, NUL too, and needs no terminator. */
#ifndef DR_MODEL_UNICODE_TEXT_H
#define DR_MODEL_UNICODE_TEXT_H

#include "base/error.h"

#include <stddef.h>

/* The offset of the first byte that does not belong to valid UTF-8; `bytes` where all do. */
size_t dr_utf8_valid_bytes(const char *text, size_t bytes);

/* What CLIP makes of a text before it looks for words: NFC; every run of white space one space; lower case,
 * each code point by itself ("Σ" at the end of a word is "σ") and not composed again.  The text
 * must be valid; *out is the caller's, to be freed. */
dr_status dr_text_normalize(char **out, size_t *out_bytes, const char *text, size_t bytes, dr_error *err);

typedef enum dr_text_class { DR_TEXT_SPACE, DR_TEXT_LETTER, DR_TEXT_NUMBER, DR_TEXT_OTHER } dr_text_class;

/* Class of the code point at the beginning of valid text, bytes > 0; *length gets its bytes. */
dr_text_class dr_text_class_at(const char *text, size_t bytes, size_t *length);

#endif

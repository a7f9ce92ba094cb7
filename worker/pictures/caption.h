/* caption.h - the text under a picture of a contact sheet, drawn in black on white.
 *
 *     a red fox in the snow, at        label: two lines at most, the second ends in an ellipsis where
 *     dawn, by a painter of the...     there is more
 *     fox, seed 42                     name: smaller and gray, never cut
 *
 * Pango lays out the text.  A caption is as high as its lines, so no line is cut through. */
#ifndef DR_WORKER_PICTURES_CAPTION_H
#define DR_WORKER_PICTURES_CAPTION_H

#include "base/error.h"

#include <stdint.h>

enum { DR_CAPTION_LABEL_LINES_MAX = 2 };

typedef struct dr_caption {
    int width, height; /* pixels */
    uint8_t *rgb;      /* height * width * 3; owned */
    int label_lines;
    bool shortened;   /* the label ends in an ellipsis */
    uint32_t missing; /* the first character that no font here has; 0: none */
} dr_caption;

/* Draw a caption that is width pixels wide.  label and name are UTF-8.  On success *out is to be ended with
 * dr_caption_free(); on failure (DR_ENOMEM) it is zeroed.  Any thread. */
dr_status dr_caption_draw(dr_caption *out, const char *label, const char *name, int width, dr_error *err);
/* Frees the pixels, and zeroes the struct; a zeroed one is allowed. */
void dr_caption_free(dr_caption *caption);

#endif

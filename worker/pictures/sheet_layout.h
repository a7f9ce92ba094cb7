/* sheet_layout.h - where pictures and their captions stand on a page of a contact sheet.
 *
 *     +--------+   +----+   +--------+
 *     |        |   |    |   +--------+     pictures of a row stand on one line ...
 *     +--------+   +----+   +--------+
 *     caption      caption  caption        ... their captions right below it,
 *                                          and a gap that is wider than the one above captions */
#ifndef DR_WORKER_PICTURES_SHEET_LAYOUT_H
#define DR_WORKER_PICTURES_SHEET_LAYOUT_H

typedef struct dr_sheet_item {
    int width, height,
        caption_height;  /* pixels, given: the picture as it is shown, at most a cell wide and high */
    int x, y, caption_y; /* found: of upper left corners; the caption's x is the picture's */
} dr_sheet_item;

/* count > 0; cell: the width that captions have. */
void dr_sheet_layout(dr_sheet_item *item, int count, int cell, int *page_width, int *page_height);

#endif

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
    int width, height, caption_height; /* given, in pixels: the small picture fits into a cell */
    int x, y, caption_y;               /* found: the upper left corners; the caption has the picture's x */
} dr_sheet_item;

/* Find places for count > 0 items and the size of the page, in pixels.  cell: the side of a cell, which
 * is also the width of a caption.  Any thread. */
void dr_sheet_layout(dr_sheet_item *item, int count, int cell, int *page_width, int *page_height);

#endif

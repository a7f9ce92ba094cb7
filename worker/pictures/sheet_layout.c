#include "worker/pictures/sheet_layout.h"

#include "base/error.h"

enum {
    COLUMNS_MAX = 10,
    MARGIN = 10,     /* pixels: around the page */
    CAPTION_GAP = 3, /* between a picture and its caption */
    COLUMN_GAP = 14,
    ROW_GAP = 20, /* below the row's longest caption */
};

/* So many columns that the page is about square. */
static int columns_for(int count)
{
    int columns = 1;

    while (columns < COLUMNS_MAX && columns * columns < count)
        columns++;
    return columns;
}

/* Place one row from y on.  Returns its height. */
static int place_row(dr_sheet_item *item, int count, int cell, int y)
{
    int pictures = 0, captions = 0;

    for (int i = 0; i < count; i++) {
        dr_assert(item[i].width <= cell && item[i].height <= cell);
        pictures = item[i].height > pictures ? item[i].height : pictures;
        captions = item[i].caption_height > captions ? item[i].caption_height : captions;
    }
    for (int i = 0; i < count; i++) {
        item[i].x = MARGIN + i * (cell + COLUMN_GAP);
        item[i].y = y + pictures - item[i].height;
        item[i].caption_y = y + pictures + CAPTION_GAP;
    }
    return pictures + CAPTION_GAP + captions;
}

void dr_sheet_layout(dr_sheet_item *item, int count, int cell, int *page_width, int *page_height)
{
    const int columns = columns_for(count);
    int y = MARGIN;

    dr_assert(count > 0);
    for (int i = 0; i < count; i += columns)
        y += place_row(item + i, count - i < columns ? count - i : columns, cell, y) + ROW_GAP;
    *page_width = 2 * MARGIN + columns * cell + (columns - 1) * COLUMN_GAP;
    *page_height = y - ROW_GAP + MARGIN;
}

#include "worker/contact_sheet.h"

#include "worker/files.h"

#include <math.h>
#include <stdlib.h>
#include <vips/vips.h>

enum {
    CELL_MAX = 192, /* pixels: the longer side of a picture on the sheet */
    CELL_MIN = 128, /* and at least, for the label */
    LABEL = 34,     /* height of a label */
    MARGIN = 6,     /* around each */
    COLUMNS_MAX = 10,
};

/* Black text on white, `cell` wide and LABEL high below a margin; what does not fit is cut. */
static VipsImage *draw_label(VipsObject *scope, const char *label, int cell)
{
    VipsImage **t = (VipsImage **)vips_object_local_array(scope, 5);
    char *markup = g_markup_escape_text(label, -1);
    int failed = vips_text(&t[0], markup, "width", cell, "font", "sans 9", "dpi", 96, NULL);

    g_free(markup);
    if (failed) { /* nothing in it leaves ink: spaces, or no font for it */
        vips_error_clear();
        failed = vips_black(&t[0], 1, 1, NULL);
    }
    if (failed || vips_invert(t[0], &t[1], NULL) ||
        vips_crop(t[1], &t[2], 0, 0, VIPS_MIN(t[1]->Xsize, cell), VIPS_MIN(t[1]->Ysize, LABEL), NULL) ||
        vips_embed(t[2], &t[3], 0, MARGIN, cell, MARGIN + LABEL, "extend", VIPS_EXTEND_WHITE, NULL) ||
        vips_colourspace(t[3], &t[4], VIPS_INTERPRETATION_sRGB, NULL))
        return NULL;
    return t[4];
}

static VipsImage *draw_cell(VipsObject *scope, const dr_sheet_picture *picture, int side)
{
    VipsImage **t = (VipsImage **)vips_object_local_array(scope, 6);
    VipsImage *label, *cell;

    if (vips_thumbnail(picture->path, &t[0], side, "height", side, "size", VIPS_SIZE_DOWN, NULL) ||
        vips_colourspace(t[0], &t[1], VIPS_INTERPRETATION_sRGB, NULL) ||
        vips_gravity(t[1], &t[2], VIPS_COMPASS_DIRECTION_CENTRE, side, side, "extend", VIPS_EXTEND_WHITE,
                     NULL))
        return NULL;
    label = draw_label(scope, picture->label, side);
    if (!label || vips_join(t[2], label, &t[3], VIPS_DIRECTION_VERTICAL, NULL) ||
        vips_embed(t[3], &t[4], MARGIN, MARGIN, side + 2 * MARGIN, side + LABEL + 3 * MARGIN, "extend",
                   VIPS_EXTEND_WHITE, NULL))
        return NULL;
    /* In memory: a file per cell open until the end would be one too many. */
    cell = vips_image_copy_memory(t[4]);
    if (cell)
        vips_object_local(scope, cell);
    return cell;
}

/* No larger than the largest picture. */
static int cell_side(const dr_sheet_picture *const *pictures, int count)
{
    int side = CELL_MIN;

    for (int i = 0; i < count; i++) {
        VipsImage *header = vips_image_new_from_file(pictures[i]->path, NULL);
        if (!header)
            continue; /* draw_cell() says why */
        side = VIPS_MAX(side, VIPS_MAX(header->Xsize, header->Ysize));
        g_object_unref(header);
    }
    return VIPS_MIN(side, CELL_MAX);
}

dr_status dr_contact_sheet_write(const char *path, const dr_sheet_picture *pictures, int count, dr_error *err)
{
    const int cells = count < DR_SHEET_PICTURES_MAX ? count : DR_SHEET_PICTURES_MAX;
    const int columns = VIPS_MIN((int)ceil(sqrt(cells)), COLUMNS_MAX);
    VipsImage *scope = vips_image_new(); /* owns what is made on the way */
    VipsArrayDouble *white = vips_array_double_newv(3, 255.0, 255.0, 255.0);
    const dr_sheet_picture *chosen[DR_SHEET_PICTURES_MAX];
    VipsImage *cell[DR_SHEET_PICTURES_MAX], *sheet = NULL;
    void *bytes = NULL;
    size_t size = 0;
    dr_status rc = DR_OK;
    int side;

    dr_assert(count > 0);
    for (int i = 0; i < cells; i++)
        chosen[i] = &pictures[(long)i * count / cells];
    side = cell_side(chosen, cells);
    for (int i = 0; i < cells && !rc; i++) {
        cell[i] = draw_cell(VIPS_OBJECT(scope), chosen[i], side);
        if (!cell[i])
            rc = dr_fail(err, DR_EIO, "contact sheet: %s: %s", chosen[i]->path, vips_error_buffer());
    }
    if (!rc && (vips_arrayjoin(cell, &sheet, cells, "across", columns, "background", white, NULL) ||
                vips_pngsave_buffer(sheet, &bytes, &size, "compression", 6, NULL)))
        rc = dr_fail(err, DR_ENOMEM, "contact sheet: %s", vips_error_buffer());
    vips_error_clear();
    if (!rc)
        rc = dr_file_write(path, bytes, size, err);
    g_free(bytes);
    if (sheet)
        g_object_unref(sheet);
    g_object_unref(scope);
    vips_area_unref(VIPS_AREA(white));
    return rc;
}
